"""What LiteRT raises, turned into tensorhost's errors: its own sentence for the client, the rest for the log.

LiteRT raises ValueError and RuntimeError for everything, with source lines of its own and the reasons joined without
spaces. A call that fails where shapes are set, or because of a condition on values, was given something the model
cannot take, since names, dtypes and shapes were checked against the signature before: InvalidRequestError. Anything
else is ModelFailedError.
"""

from __future__ import annotations

import re

from tensorhost.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    OutOfMemoryError,
    TensorhostError,
    UnsupportedModelError,
)

LITERT_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, MemoryError)
"""What a LiteRT interpreter raises."""

_LONGEST_REASON = 300
_SOURCE_LINE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:cc|cpp|h)(?::\d+)?:?\s*")
_PATH = re.compile(r"(?<![\w.)])/(?:[^\s'\",;:]+/)*[^\s'\",;:]+")
_NODE = re.compile(r"\s*Node number \d+ \((\w+)\) failed to (?:invoke|prepare)\.?")
_UNRESOLVED = re.compile(r"unresolved custom op: (?P<custom>\S+?)\.?(?:\s|$)|Node number \d+ \((?P<flex>Flex\w+)\)")
_OPERATION = re.compile(r"builtin opcode '(\w+)' version '(\d+)'")
_ON_VALUES = re.compile(r"was not true| != |out of (?:bound|range)|index|overflow", re.IGNORECASE)
_MEMORY = re.compile(r"alloc\w* (?:memory|failed)|failed to allocate|out of memory", re.IGNORECASE)


def damaged(what: str) -> ModelFailedError:
    """The error of a file that is not a whole, consistent model; ``what`` finishes the sentence."""
    return ModelFailedError(f"The .tflite file is damaged: {what}.")


def load_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while an interpreter was made."""
    text = str(error)
    log_detail = f"{type(error).__name__}: {error}"
    if _is_out_of_memory(error):
        return OutOfMemoryError("The model does not fit in memory.", log_detail=log_detail)
    if (match := _UNRESOLVED.search(text)) is not None:
        return _missing_operation(match["custom"] or match["flex"], log_detail)
    if (match := _OPERATION.search(text)) is not None:
        return UnsupportedModelError(
            f"The model needs version {match[2]} of the operation {match[1]}, which the installed LiteRT lacks; "
            "a newer ai-edge-litert may have it.",
            details={"operation": match[1]},
            log_detail=log_detail,
        )
    return ModelFailedError(f"LiteRT cannot load the model: {reason(error)}", log_detail=log_detail)


def _missing_operation(name: str, log_detail: str) -> UnsupportedModelError:
    if name.startswith("Flex"):
        message = (
            f"The model needs TensorFlow's own operation {name.removeprefix('Flex')}, which LiteRT does not have; "
            "convert it without SELECT_TF_OPS, or serve the SavedModel it was made from."
        )
    else:
        message = (
            f"The model needs the custom operation {name}, which LiteRT does not have; "
            "convert it to built-in operations, or serve the model it was made from."
        )
    return UnsupportedModelError(message, details={"operation": name}, log_detail=log_detail)


def shape_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while an interpreter was fitted to the shapes of a call."""
    return _call_error(error, refused=True)


def run_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a model ran."""
    return _call_error(error, refused=_ON_VALUES.search(_SOURCE_LINE.sub("", str(error))) is not None)


def _call_error(error: Exception, *, refused: bool) -> TensorhostError:
    log_detail = f"{type(error).__name__}: {error}"
    if _is_out_of_memory(error):
        return OutOfMemoryError("The model ran out of memory.", log_detail=log_detail)
    if (match := _UNRESOLVED.search(str(error))) is not None:
        return _missing_operation(match["custom"] or match["flex"], log_detail)
    if refused:
        return InvalidRequestError(f"The model refused the input: {reason(error)}", log_detail=log_detail)
    return ModelFailedError(f"The model failed while running: {reason(error)}", log_detail=log_detail)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None


def reason(error: Exception) -> str:
    """LiteRT's sentences without its source lines, paths and node numbers; the operation that failed at the end."""
    text = str(error)
    operations = _NODE.findall(text)
    text = _PATH.sub("(path)", _SOURCE_LINE.sub(" ", _NODE.sub(" ", text)))
    text = " ".join(re.sub(r"\.(?=[A-Za-z])", ". ", text).split()) or "no reason given"
    if len(text) > _LONGEST_REASON:
        text = f"{text[:_LONGEST_REASON]}…"
    return f"{text.rstrip('.')} (in {operations[0]})." if operations else f"{text.rstrip('.')}."
