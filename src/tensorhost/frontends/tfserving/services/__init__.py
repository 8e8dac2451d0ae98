"""The gRPC services of TensorFlow Serving: from the bytes of a request to those of its response."""
