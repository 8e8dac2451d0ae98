"""TensorFlow Serving's REST API, under ``/v1/``."""

from tensorhost.frontends.tfserving.rest.app import RestApp

__all__ = ["RestApp"]
