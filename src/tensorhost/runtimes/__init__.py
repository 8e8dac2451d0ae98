"""One module per way of executing a model. TensorFlow and its kin are imported here only, and only when needed."""
