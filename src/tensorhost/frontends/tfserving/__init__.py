"""TensorFlow Serving's protocols: REST under ``/v1/``, and the services its gRPC clients call."""
