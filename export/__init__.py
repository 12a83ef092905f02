"""From a torch model to a bundle: ONNX graphs, int8, parity gates, model card."""
