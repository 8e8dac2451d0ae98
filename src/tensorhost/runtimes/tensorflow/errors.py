"""What TensorFlow raises, turned into tensorhost's errors: short words for the client, the rest for the log.

A model that finds an argument invalid or out of range while it runs was fed values it cannot take: a serialized
Example that does not parse, an index outside a vocabulary, a broken JPEG, sizes that do not fit each other. Shapes
and dtypes were checked against the signature before, so what is left is the client's input: InvalidRequestError,
with TensorFlow's own sentence minus node names and paths. So is a sentence that quotes bytes which are no text, which
TensorFlow fails to hand over as one. Everything else is ModelFailedError and says only its kind.
"""

from __future__ import annotations

import re
from typing import Any

from tensorhost.core.errors import InvalidRequestError, ModelFailedError, OutOfMemoryError, TensorhostError
from tensorhost.runtimes.tensorflow.op_packages import unknown_operations

_LONGEST_MESSAGE = 300
_MARKS = re.compile(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:\w*\]|\[\d+ derived errors? ignored\.?\]|, node name: [\w./>-]+")
_PATH = re.compile(r"(?:file:)?(?<![\w.)\]])/(?:[^\s'\",;:]+/)*[^\s'\",;:]+")


def run_error(tf: Any, error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a model ran."""
    log_detail = f"{type(error).__name__}: {error}"
    if is_out_of_memory(tf, error):
        return OutOfMemoryError("The model ran out of memory.", log_detail=log_detail)
    if isinstance(error, tf.errors.InvalidArgumentError | tf.errors.OutOfRangeError | UnicodeDecodeError):
        return InvalidRequestError(f"The model refused the input: {first_line(error)}", log_detail=log_detail)
    return ModelFailedError(f"The model failed while running ({_kind(tf, error)}).", log_detail=log_detail)


def load_error(tf: Any, error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a model was loaded."""
    log_detail = f"{type(error).__name__}: {error}"
    if is_out_of_memory(tf, error):
        return OutOfMemoryError("The model does not fit in memory.", log_detail=log_detail)
    if (match := re.search(r"Op type not registered '([\w>/.]+)'", str(error))) is not None:
        return unknown_operations([match[1]], log_detail)
    return ModelFailedError(
        f"The model cannot be loaded ({_kind(tf, error)}): {first_line(error)}", log_detail=log_detail
    )


def is_out_of_memory(tf: Any, error: Exception) -> bool:
    """Whether ``error`` says that memory ran out."""
    return isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)


def first_line(error: Exception) -> str:
    """The first sentence of a TensorFlow message, without node names and file-system paths."""
    text = error.message if hasattr(error, "message") and isinstance(error.message, str) else str(error)
    if isinstance(error, UnicodeDecodeError):
        text = bytes(error.object).decode("utf-8", "replace")
    text = _PATH.sub("(path)", _MARKS.sub("", text)).strip()
    line = text.splitlines()[0].strip() if text else "no reason given"
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"


def _kind(tf: Any, error: Exception) -> str:
    """``NotFoundError`` as ``not found``; other errors than TensorFlow's as ``invalid model``."""
    if not isinstance(error, tf.errors.OpError):
        return "invalid model"
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()
