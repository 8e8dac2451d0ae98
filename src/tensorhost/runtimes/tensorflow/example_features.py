"""Which features a graph parses out of serialized Examples: enough to make some up for warm-up.

Looked for anywhere behind a signature, in the bodies of functions too. What must stay true: it is a hint, so whatever
is not understood is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.runtimes.base import ExampleFeature
from tensorhost.runtimes.tensorflow.graph_scan import node_name, reached_from, shape_of
from tensorhost.runtimes.tensorflow.signature_defs import Bindings

_FREE_SIZE = 4
"""Values of a feature that may have any number."""

_MOST_VALUES = 2**20


def features_by_signature(graph_def: Any, bindings: Bindings) -> dict[str, tuple[ExampleFeature, ...]]:
    """The features that signatures with strings among their inputs parse, for those that parse any."""
    found = {
        bound.signature.name: _features(graph_def, bound.fetches)
        for bound in bindings.bound
        if any(spec.dtype.is_string for spec in bound.signature.inputs.values())
    }
    return {name: features for name, features in found.items() if features}


def _features(graph_def: Any, fetches: Sequence[str]) -> tuple[ExampleFeature, ...]:
    """The dense features that operations behind ``fetches`` parse, each once, in the order in which they are found."""
    reached = reached_from(graph_def, map(node_name, fetches))
    bodies = [reached.nodes, *(function.node_def for function in reached.functions)]
    found = {feature.name: feature for body in bodies for feature in _parsed_in(body)}
    return tuple(found.values())


def _parsed_in(body: Sequence[Any]) -> Iterator[ExampleFeature]:
    constants = {node.name: node.attr["value"].tensor for node in body if node.op == "Const"}
    for node in body:
        if node.op not in ("ParseExample", "ParseExampleV2", "ParseSingleExample"):
            continue
        names = _names(node, constants)
        types, shapes = node.attr["Tdense"].list.type, node.attr["dense_shapes"].list.shape
        if not len(names) == len(types) == len(shapes):
            continue
        for name, number, shape in zip(names, types, shapes, strict=True):
            size = _values(shape)
            dtype = _TYPES.get(number)
            if dtype is not None and size <= _MOST_VALUES:
                yield ExampleFeature(name, dtype, size)


_TYPES = {1: DType.FLOAT32, 7: DType.STRING, 9: DType.INT64}
"""What an Example can hold, by TensorFlow's numbers."""


def _names(node: Any, constants: dict[str, Any]) -> list[str]:
    """The names of the dense features; none where they are no constants."""
    if node.op == "ParseSingleExample":
        return [key.decode("utf-8", "replace") for key in node.attr["dense_keys"].list.s]
    if node.op == "ParseExampleV2":
        sources = node.input[3:4]
    else:
        first = 2 + node.attr["Nsparse"].i
        sources = node.input[first : first + node.attr["Ndense"].i]
    tensors = [constants.get(node_name(source)) for source in sources]
    if any(tensor is None for tensor in tensors):
        return []
    return [key.decode("utf-8", "replace") for tensor in tensors for key in _strings(tensor)]


def _strings(tensor: Any) -> list[bytes]:
    from tensorflow.python.framework import tensor_util

    try:
        return [bytes(value) for value in tensor_util.MakeNdarray(tensor).reshape(-1)]
    except (TypeError, ValueError):
        return []


def _values(shape: Any) -> int:
    count = 1
    for size in shape_of(shape) or ():
        count *= _FREE_SIZE if size is None else size
    return count
