"""Writing a loaded model in another format: as a SavedModel, and a SavedModel as a TensorFlow Lite file.

It only writes. Whether what was written computes the same is for the caller to find out. Imports TensorFlow when it is
called, not before.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tensorhost.core.errors import InvalidRequestError, ModelFailedError, TensorhostError, UnsupportedModelError
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Runtime
from tensorhost.runtimes.noise import standard_error_into

_UNSUPPORTED = re.compile(r"^(?:TF Select|Custom) ops: (.+)$", re.MULTILINE)
_MOST_DETAIL = 20_000
_WRITTEN = "a SavedModel (a folder) or a .tflite file"
_OTHER_SUFFIXES = frozenset({".keras", ".h5", ".hdf5", ".pb", ".pbtxt", ".json", ".onnx", ".zip", ".tar", ".gz"})


def written_format(target: Path) -> ModelFormat:
    """The format that the name of ``target`` asks for. Raises InvalidRequestError for one that is not written."""
    suffix = target.suffix.lower()
    if suffix == ".tflite":
        return ModelFormat.TFLITE
    if suffix in _OTHER_SUFFIXES:
        raise InvalidRequestError(f"'{target.name}' names a kind of file that is not written; what is: {_WRITTEN}.")
    return ModelFormat.SAVED_MODEL


def refuse_source(source: ModelFormat) -> None:
    """Raise UnsupportedModelError for a format nothing can be made of."""
    if source is ModelFormat.TFLITE:
        raise UnsupportedModelError(
            "A TensorFlow Lite file cannot be converted: it no longer holds the TensorFlow graph it was made from. "
            "Convert the model it was made from."
        )


def write_saved_model(runtime: Runtime, folder: Path, options: LoadOptions, signature: str | None = None) -> None:
    """Write what ``runtime`` serves as a SavedModel. Of a model that keeps variables, before the first call.

    Args:
        runtime: the loaded model.
        folder: where to; it must not exist.
        options: how TensorFlow is set up.
        signature: the only one to be written; None for all.

    Raises:
        UnsupportedModelError: the model runs in a way that cannot be written.
        ModelFailedError: TensorFlow cannot write it.
    """
    from tensorhost.runtimes.tensorflow.errors import load_error
    from tensorhost.runtimes.tensorflow.export import export_saved_model
    from tensorhost.runtimes.tensorflow.process import tensorflow
    from tensorhost.runtimes.tensorflow.session import SessionRuntime

    if not isinstance(runtime, SessionRuntime):
        ways = ", ".join(sorted({runtime.call_path(name) for name in runtime.signatures}))
        raise UnsupportedModelError(
            f"The model is executed in a way that cannot be written as a SavedModel ({runtime.name}: {ways})."
        )
    tf = tensorflow(options)
    served = runtime.served_graph
    if signature is not None:
        served = served.only(signature)
    try:
        export_saved_model(tf, served, folder)
    except TensorhostError:
        raise
    except Exception as error:  # the border of an attempt: a graph that runs may still not be writable
        reason = load_error(tf, error)
        raise ModelFailedError(
            "TensorFlow cannot write this model as a SavedModel; the log has its reason.", log_detail=reason.log_detail
        ) from error


def write_tflite(saved_model: Path, file: Path, options: LoadOptions, *, int8_weights: bool = False) -> None:
    """Convert the SavedModel in the folder ``saved_model`` to a TensorFlow Lite file.

    Args:
        saved_model: what to convert.
        file: where to.
        options: how TensorFlow is set up.
        int8_weights: keep weights in 8 bits and compute with what that leaves of them; else in full precision.

    Raises:
        UnsupportedModelError: TensorFlow Lite lacks operations that the model needs; the message names them.
        ModelFailedError: any other failure of the converter.
    """
    from tensorhost.runtimes.tensorflow.process import tensorflow

    tf = tensorflow(options)
    with tempfile.TemporaryFile() as said:
        try:
            with standard_error_into(said):  # the converter prints pages, on success too
                converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
                if int8_weights:
                    converter.optimizations = [tf.lite.Optimize.DEFAULT]
                content = converter.convert()
        except Exception as error:  # the border of an attempt: the converter raises anything
            said.seek(0)
            raise _converter_error(f"{error}\n{said.read().decode('utf-8', 'replace')}") from error
    file.write_bytes(content)


def _converter_error(text: str) -> TensorhostError:
    operations = sorted({name.strip() for match in _UNSUPPORTED.finditer(text) for name in match[1].split(",")})
    if operations:
        return UnsupportedModelError(
            f"TensorFlow Lite has no operation for {', '.join(operations)}, which the model needs; "
            "it can be converted to a SavedModel only.",
            details={"operations": operations},
            log_detail=text[:_MOST_DETAIL],
        )
    reason = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    return ModelFailedError(
        f"TensorFlow Lite's converter refuses the model: {_sentence(reason)}", log_detail=text[:_MOST_DETAIL]
    )


def _sentence(reason: str) -> str:
    from tensorhost.runtimes.tensorflow.errors import first_line

    return first_line(ValueError(reason))
