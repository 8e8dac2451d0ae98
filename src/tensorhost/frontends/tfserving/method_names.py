"""The check of method names that TensorFlow Serving makes when asked to. Pure.

A SavedModel records for each signature the method it was made for. TensorFlow 2 writes ``predict`` for all of them, so
the check is off by default, there as here. Formats that record nothing pass it.
"""

from __future__ import annotations

from tensorhost.core.signatures import Signature
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import unfit_signature

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

_WORDS = {CLASSIFY: "classification", REGRESS: "regression"}


def check_method_name(signature: Signature, method: str) -> None:
    """Raise ServingError unless ``signature`` was made for ``method``; Predict may ask those of all three."""
    recorded = signature.method_name
    if not recorded or recorded == method:
        return
    if method == PREDICT:
        if recorded not in _WORDS:
            raise unfit_signature(
                f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. "
                f"Was: {recorded}",
                RpcStatus.INTERNAL,
            )
        return
    raise unfit_signature(f"Expected {_WORDS[method]} signature method_name to be {method}. Was: {recorded}")
