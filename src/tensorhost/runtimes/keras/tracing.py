"""A Keras model in memory becomes a runtime: whatever file it came from.

The model is traced once for inference and written to a temporary SavedModel, without Keras and its bookkeeping, that
the SavedModel loader reads: one way to freeze, to fill vocabulary tables and to call, for both formats. Where that
cannot be written, the traced function is called directly.

Names: an input is called what the author called its ``Input`` (or the key where inputs are a dictionary), an output
what the author called its layer (or its key); ``output_0``, ``output_1`` where names are missing or not distinct.
There is one signature, ``serving_default``, and no second spelling of any name. The batch dimension is the model's
own: a fixed one stays fixed.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Shape, Tensors, TensorSpec
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.tensorflow.errors import load_error
from tensorhost.runtimes.tensorflow.function_calls import Function, FunctionRuntime
from tensorhost.runtimes.tensorflow.saved_model import load_saved_model
from tensorhost.runtimes.tensorflow.signature_defs import Bindings, BoundSignature

_COLLECT_FROM_BYTES = 32 * 2**20
"""Weights from which on the Keras model is out of memory before the SavedModel gets in."""


class _Traced(NamedTuple):
    """A Keras model as one function: public signature, the function, and the objects that own its state."""

    signature: Signature
    function: Any
    owner: Any
    weights_bytes: int


def serve_keras_model(tf: Any, keras: Any, make: Callable[[], Any], options: LoadOptions) -> Runtime:
    """A runtime that computes what the Keras model does in inference.

    Args:
        tf, keras: the modules.
        make: gives the model; called once. Nothing else may hold the model, or its memory stays taken.
        options: thread counts.

    Raises:
        ModelFailedError: the model cannot be traced or has inputs no request can carry.
        OutOfMemoryError: it does not fit.
    """
    try:
        traced = _trace(tf, keras, make())
        with tempfile.TemporaryDirectory(prefix="tensorhost-") as folder:
            if not _export(tf, traced, Path(folder)):
                return _function_runtime(tf, traced)
            signature = traced.signature
            # Looking through a process with TensorFlow for garbage takes longer than loading a small model.
            collect = traced.weights_bytes >= _COLLECT_FROM_BYTES
            del traced
            keras.backend.clear_session(free_memory=collect)
            return load_saved_model(Path(folder), options, lambda bindings: _rename(bindings, signature))
    finally:
        keras.backend.clear_session(free_memory=False)


def _trace(tf: Any, keras: Any, model: Any) -> _Traced:
    """The model's inference call as one function from ``input_0…`` to ``output_0…``."""
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise ModelFailedError("The Keras model has no defined input; save it after it was built with an Input.")
    specs = [_input_spec(name, tensor) for name, tensor in zip(_input_names(keras, model), tensors, strict=True)]
    structure = tensors[0] if isinstance(model, keras.Sequential) else model.input
    names: list[str] = []

    def call(*arguments: Any) -> dict[str, Any]:
        result = model(keras.tree.pack_sequence_as(structure, arguments), training=False)
        flat = keras.tree.flatten(result)
        names[:] = _output_names(model, result, len(flat))
        return {f"output_{index}": tensor for index, tensor in enumerate(flat)}

    arguments = [tf.TensorSpec(spec.shape, spec.dtype.value, name=f"input_{index}") for index, spec in enumerate(specs)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function = tf.function(call, input_signature=arguments, autograph=False).get_concrete_function()
    except Exception as error:  # tracing runs the model's own layers
        raise load_error(tf, error) from error
    outputs = [function.structured_outputs[f"output_{index}"] for index in range(len(names))]
    signature = Signature(
        DEFAULT_SIGNATURE,
        {spec.name: spec for spec in specs},
        {name: _output_spec(name, tensor) for name, tensor in zip(names, outputs, strict=True)},
    )
    weights_bytes = sum(
        int(variable.shape.num_elements() or 0) * variable.dtype.size for variable in function.variables
    )
    return _Traced(signature, function, model, weights_bytes)


def _input_names(keras: Any, model: Any) -> list[str]:
    structure = None if isinstance(model, keras.Sequential) else model.input
    if isinstance(structure, Mapping) and len(structure) == len(model.inputs):
        return [str(key) for key in sorted(structure)]
    return [str(tensor.name) for tensor in model.inputs]


def _output_names(model: Any, result: Any, count: int) -> list[str]:
    if isinstance(result, Mapping) and len(result) == count:
        return [str(key) for key in sorted(result)]
    names = [str(name) for name in getattr(model, "output_names", ())]
    return names if len(names) == count == len(set(names)) else [f"output_{index}" for index in range(count)]


def _input_spec(name: str, tensor: Any) -> TensorSpec:
    if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
        raise ModelFailedError(f"The input '{name}' is not a dense tensor, which no request can carry.")
    return TensorSpec(name, _dtype("input", name, str(tensor.dtype)), tuple(tensor.shape))


def _output_spec(name: str, tensor: Any) -> TensorSpec:
    shape: Shape | None = None if tensor.shape.rank is None else tuple(tensor.shape)
    return TensorSpec(name, _dtype("output", name, tensor.dtype.name), shape)


def _dtype(kind: str, name: str, dtype: str) -> DType:
    try:
        return DType(dtype)
    except ValueError as error:
        raise ModelFailedError(f"The {kind} '{name}' has the element type {dtype}, which no request can carry.") from (
            error
        )


def _export(tf: Any, traced: _Traced, folder: Path) -> bool:
    """Write the traced function as a SavedModel; False where something it holds cannot be written."""
    module = tf.Module()
    module.state = list(traced.function.variables)
    tracked = tf.train.TrackableView(traced.owner).descendants()
    module.tables = [item for item in tracked if isinstance(item, tf.saved_model.experimental.TrackableResource)]
    try:
        tf.saved_model.save(module, str(folder), signatures={DEFAULT_SIGNATURE: traced.function})
    except (tf.errors.OpError, AssertionError, ValueError, TypeError, RuntimeError, OSError):
        return False
    return True


def _rename(bindings: Bindings, signature: Signature) -> Bindings:
    """The one signature under its public names: the exported ones are numbered in the same order."""
    bound = next(bound for bound in bindings.bound if bound.signature.name == DEFAULT_SIGNATURE)
    return Bindings((BoundSignature(signature, bound.feeds, bound.fetches),), {})


def _function_runtime(tf: Any, traced: _Traced) -> Runtime:
    names = list(traced.signature.inputs)
    outputs = list(traced.signature.outputs)
    function = traced.function

    def call(inputs: Tensors) -> Mapping[str, Any]:
        values = function(*(tf.constant(inputs[name]) for name in names))
        return {name: values[f"output_{index}"] for index, name in enumerate(outputs)}

    functions: dict[str, Function] = {DEFAULT_SIGNATURE: call}
    signatures = {DEFAULT_SIGNATURE: traced.signature}
    return FunctionRuntime(tf, signatures, functions, {}, traced.weights_bytes, traced.owner)
