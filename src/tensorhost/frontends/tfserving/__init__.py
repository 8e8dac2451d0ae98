"""TensorFlow Serving's API over gRPC and REST: its messages, codes and texts in front of the engine.

What both wires mean the same by is here once: which model (``admitting``, ``versions``), what is asked of it
(``inference``, ``example_results``), what is told of it (``model_status``, ``metadata``), how it fails (``faults``,
``statuses``), how calls are counted (``serving_metrics``) and logged (``request_log``). ``services`` has what gRPC adds
to it, ``rest`` what REST does; ``monitoring`` writes the metrics.
"""

from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.frontends.tfserving.rest import RestApp
from tensorhost.frontends.tfserving.services import rpcs

__all__ = ["RequestLog", "RestApp", "rpcs"]
