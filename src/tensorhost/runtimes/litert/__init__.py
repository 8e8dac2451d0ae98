"""TensorFlow Lite models, executed by LiteRT; works without TensorFlow."""
