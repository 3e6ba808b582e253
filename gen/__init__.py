"""From an ONNX file to Verilog: import, integer graph, plan, elaboration, reports."""
