"""Request logs, as ``logging_config`` of TensorFlow Serving's model config asks for them."""

from tensorhost.frontends.tfserving.request_log.request_log import LoggedMethod, RequestLog

__all__ = ["LoggedMethod", "RequestLog"]
