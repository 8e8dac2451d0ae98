"""A SavedModel's SignatureDefs as signatures and the graph tensors behind them.

What must stay true: a signature that cannot cross the wire is left out with its reason and never costs the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.ids import version_key
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.runtimes.tensorflow.graph_scan import shape_of

INIT_SIGNATURE = "__saved_model_init_op"
HIDDEN_SIGNATURES = frozenset({INIT_SIGNATURE, "__saved_model_train_op"})
"""Signatures that no request calls."""


@dataclass(frozen=True, slots=True)
class BoundSignature:
    """A signature and, in the order of its inputs and outputs, the graph tensors to feed and to fetch."""

    signature: Signature
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bindings:
    """What a model offers: the signatures, the default one first, and those left out, with the reason."""

    bound: tuple[BoundSignature, ...]
    refused: Mapping[str, str]


class _UnservableError(Exception):
    """This signature cannot be served; the text says why."""


def bind_signatures(signature_defs: Mapping[str, Any]) -> Bindings:
    """Every signature in ``signature_defs``, inputs and outputs in natural order of their names.

    The natural order is ours: a SavedModel keeps inputs and outputs in a map, which has none.
    """
    bound: list[BoundSignature] = []
    refused: dict[str, str] = {}
    visible = signature_defs.keys() - HIDDEN_SIGNATURES
    for name in sorted(visible, key=lambda key: (key != DEFAULT_SIGNATURE, version_key(key))):
        try:
            bound.append(_bind(name, signature_defs[name]))
        except _UnservableError as reason:
            refused[name] = str(reason)
    return Bindings(tuple(bound), refused)


def _bind(name: str, definition: Any) -> BoundSignature:
    inputs = {key: definition.inputs[key] for key in sorted(definition.inputs, key=version_key)}
    outputs = {key: definition.outputs[key] for key in sorted(definition.outputs, key=version_key)}
    if not outputs:
        raise _UnservableError("it has no outputs")
    return BoundSignature(
        Signature(
            name,
            {key: _spec("input", key, info) for key, info in inputs.items()},
            {key: _spec("output", key, info) for key, info in outputs.items()},
            definition.method_name,
        ),
        tuple(info.name for info in inputs.values()),
        tuple(info.name for info in outputs.values()),
    )


def _spec(kind: str, key: str, info: Any) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise _UnservableError(f"{kind} '{key}' is not a dense tensor")
    return TensorSpec(key, _dtype_of(kind, key, info.dtype), shape_of(info.tensor_shape))


def _dtype_of(kind: str, key: str, dtype: int) -> DType:
    from tensorflow.python.framework import dtypes

    try:
        return DType(dtypes.as_dtype(dtype).name)
    except (TypeError, ValueError) as error:
        reason = f"{kind} '{key}' has the element type {_dtype_name(dtype)}, which no request can carry"
        raise _UnservableError(reason) from error


def _dtype_name(dtype: int) -> str:
    from tensorflow.core.framework import types_pb2

    try:
        return str(types_pb2.DataType.Name(dtype)).removeprefix("DT_").lower()
    except ValueError:
        return f"number {dtype}"
