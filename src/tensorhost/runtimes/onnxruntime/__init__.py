"""ONNX Runtime: recurrent networks on CPUs."""
