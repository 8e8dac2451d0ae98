"""OpenVINO: convolution networks on CPUs, and SavedModels where TensorFlow is not installed."""
