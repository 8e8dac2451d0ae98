"""Models that Keras saved: read by Keras 3, executed by TensorFlow."""
