"""Gateware: streams, rings, ROMs, requantisers, lanes, layers and adapters."""
