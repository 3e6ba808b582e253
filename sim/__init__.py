"""Integer reference, Amaranth and compiled simulation, and the ONNX Runtime oracle."""
