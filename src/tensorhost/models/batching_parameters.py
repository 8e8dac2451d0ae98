"""TensorFlow Serving's BatchingParameters in the words of this server's settings. Pure.

The same message configures a whole server (``--batching_parameters_file``) and one version (``batching_params.pbtxt``
in its folder).
"""

from __future__ import annotations

from typing import Any

MESSAGE = "tensorflow.serving.BatchingParameters"
FILE_NAME = "batching_params.pbtxt"

SETTINGS = (
    "max_batch_size",
    "batch_timeout_ms",
    "max_queue_rows",
    "num_batch_threads",
    "allowed_batch_sizes",
    "pad_variable_length_inputs",
    "split_large_requests",
    "max_execution_batch_size",
)
"""What ``batching_settings`` may set."""

_MAX_BATCH_SIZE = 1000
_MAX_ENQUEUED_BATCHES = 10
"""What TensorFlow's batch scheduler takes where the message says nothing."""


def batching_settings(parameters: Any) -> dict[str, Any]:
    """Settings, by name, that mean what ``parameters``, a BatchingParameters, mean; None stands for an empty one.

    Values are not checked here: the settings have limits, and say which of them was left. What the message calls
    ``thread_pool_name`` names threads in logs of TensorFlow's, and is left out.
    """
    rows = _wrapped(parameters, "max_batch_size", _MAX_BATCH_SIZE)
    found: dict[str, Any] = {
        "max_batch_size": rows,
        "batch_timeout_ms": _wrapped(parameters, "batch_timeout_micros", 0) / 1000,
        # A queue of no batches is one, there as here.
        "max_queue_rows": (_wrapped(parameters, "max_enqueued_batches", _MAX_ENQUEUED_BATCHES) or 1) * rows,
        "allowed_batch_sizes": tuple(getattr(parameters, "allowed_batch_sizes", ())),
        "pad_variable_length_inputs": bool(getattr(parameters, "pad_variable_length_inputs", False)),
        "split_large_requests": bool(_wrapped(parameters, "enable_large_batch_splitting", 0)),
    }
    if found["split_large_requests"]:
        found["max_execution_batch_size"] = _wrapped(parameters, "max_execution_batch_size", rows)
    if threads := _wrapped(parameters, "num_batch_threads", 0):
        found["num_batch_threads"] = threads
    return found


def _wrapped(parameters: Any, name: str, default: int) -> int:
    """The number in a field that may be absent."""
    if parameters is None or not parameters.HasField(name):
        return default
    return int(getattr(parameters, name).value)
