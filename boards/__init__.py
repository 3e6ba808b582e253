"""FPGA devices and boards."""
