"""Models of TensorFlow.js: read by our own loader, executed by TensorFlow."""
