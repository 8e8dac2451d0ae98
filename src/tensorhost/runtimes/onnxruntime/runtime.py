"""A model in ONNX form, executed by ONNX Runtime.

A session may be called from several threads at once. What must stay true: outputs are ONNX Runtime's own new arrays,
which share memory with no input.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    OutOfMemoryError,
    RuntimeMissingError,
    TensorhostError,
    UnsupportedModelError,
)
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.base import CalledModel, LoadOptions, Runtime, RuntimeName
from tensorhost.runtimes.cores import described_threads, usable_cores
from tensorhost.runtimes.engine_files import EngineSignature

_NOT_CARRIED = frozenset({DType.STRING, DType.BFLOAT16, DType.COMPLEX64, DType.COMPLEX128})
_QUIET = 4
"""Log fatal errors only: the others are raised as well."""

_LONGEST_REASON = 300
_ordinary = ThreadPoolExecutor(1, thread_name_prefix="onnxruntime sessions")


def prepare() -> None:
    """Start the thread on which sessions, and with them their threads, are made. Raises RuntimeMissingError."""
    onnxruntime()
    _ordinary.submit(int).result()


def onnxruntime() -> Any:
    """The ``onnxruntime`` module. Raises RuntimeMissingError when it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise RuntimeMissingError(
            "This model needs ONNX Runtime: pip install 'tensorhost[onnx]'.", log_detail=str(error)
        ) from error


def refuse_element_types(signature: Signature) -> None:
    """Raise UnsupportedModelError where ONNX Runtime cannot carry an input or output."""
    for name, spec in (*signature.inputs.items(), *signature.outputs.items()):
        if spec.dtype in _NOT_CARRIED:
            raise UnsupportedModelError(f"ONNX Runtime is not given {spec.dtype} tensors, as '{name}' is one.")


class OnnxCall:
    """One signature, ready to call: ``inputs`` and ``outputs`` are the session's names by those of the signature."""

    __slots__ = ("_errors", "_inputs", "_names", "_session", "signature")

    def __init__(
        self, module: Any, session: Any, signature: Signature, inputs: Mapping[str, str], outputs: Mapping[str, str]
    ) -> None:
        self.signature = signature
        self._session = session
        self._errors = onnx_errors(module)
        self._inputs = tuple((name, inputs[name]) for name in signature.inputs)
        self._names = [outputs[name] for name in signature.outputs]

    def __call__(self, inputs: Tensors) -> dict[str, Array]:
        """Run once. Raises ModelFailedError or OutOfMemoryError."""
        try:
            values = self._session.run(self._names, {port: inputs[name] for name, port in self._inputs})
        except self._errors as error:
            raise run_error(error) from error
        outputs = {name: np.asarray(value) for name, value in zip(self.signature.outputs, values, strict=True)}
        for array in outputs.values():
            array.flags.writeable = False
        return outputs


def load_engine(engine: EngineSignature, weights_bytes: int, options: LoadOptions) -> Runtime:
    """Load a signature that was written as an ONNX file.

    Raises:
        ModelFailedError: ONNX Runtime refuses the file.
        RuntimeMissingError: ONNX Runtime is not installed.
        OutOfMemoryError: the model does not fit.
    """
    module = onnxruntime()
    try:
        session = _ordinary.submit(_session, module, engine.path, options).result()
        call = OnnxCall(module, session, engine.signature, engine.inputs, engine.outputs)
    except onnx_errors(module) as error:
        raise load_error(error) from error
    path = f"ONNX Runtime, float32, {described_threads(options.intra_op_threads)}"
    return CalledModel(RuntimeName.ONNXRUNTIME.value, [call], {}, weights_bytes, path)


def _session(module: Any, path: Path, options: LoadOptions) -> Any:
    made = module.SessionOptions()
    made.intra_op_num_threads = options.intra_op_threads or usable_cores()
    made.inter_op_num_threads = 1
    made.log_severity_level = _QUIET
    # Threads that wait by spinning take the cores from the event loop and from other models.
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return module.InferenceSession(str(path), made, providers=["CPUExecutionProvider"])


def onnx_errors(module: Any) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises."""
    state = module.capi.onnxruntime_pybind11_state
    own = [each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception)]
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def load_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a session was made."""
    if isinstance(error, MemoryError):
        return OutOfMemoryError("The model does not fit in memory.", log_detail=str(error))
    return ModelFailedError(f"ONNX Runtime cannot take the model: {_reason(error)}", log_detail=str(error))


def run_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a model ran."""
    if isinstance(error, MemoryError) or "Failed to allocate" in str(error):
        return OutOfMemoryError("The model ran out of memory.", log_detail=str(error))
    if "INVALID_ARGUMENT" in str(error) or "out of data bounds" in str(error) or "out of bounds" in str(error):
        return InvalidRequestError(f"The model refused the input: {_reason(error)}", log_detail=str(error))
    return ModelFailedError(f"The model failed while running: {_reason(error)}", log_detail=str(error))


def _reason(error: Exception) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{line[:_LONGEST_REASON]}…" if len(line) > _LONGEST_REASON else line
