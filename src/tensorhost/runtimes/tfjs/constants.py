"""Putting the weights of the manifest back into the constants of a graph.

A converter moves the contents of every constant into the manifest, and casts what TensorFlow.js does not have: 64-bit
integers to int32, float64 and float16 to float32. The element type in the node is the truth; contents are cast back.
What must stay true: large weights of the graph itself never enter the protocol buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError
from tensorhost.core.tensors import Array
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.graph_freeze import SET_ASIDE_FROM_BYTES, FrozenGraph
from tensorhost.runtimes.tensorflow.graph_import import scopes


def fill_constants(nodes: Iterable[Any], weights: Mapping[str, Array], function: str = "") -> dict[str, Array]:
    """Give the constants among ``nodes`` their types, shapes and contents; the contents, by the nodes' names.

    Constants of a function's body are named in the manifest as in the body, or with the function's name in front.
    Those of a graph that are large get no contents in the node; ``set_aside`` takes them out.

    Raises:
        ModelFailedError: a constant is not in the manifest, or has another type there.
    """
    filled: dict[str, Array] = {}
    for node in nodes:
        if node.op != "Const":
            continue
        array = weights.get(node.name)
        if array is None:
            array = weights.get(f"{function}/{node.name}")
        if array is None:
            raise ModelFailedError(f"The constant '{shown(node.name)}' is not in the weights manifest.")
        filled[node.name] = _declare(node, array)
        if function or not _is_large(filled[node.name]):
            _add_contents(node, filled[node.name])
    return filled


def set_aside(graph_def: Any, constants: Mapping[str, Array]) -> FrozenGraph:
    """``graph_def`` without its large constants, and these by name."""
    large = {name for name, array in constants.items() if _is_large(array)}
    others = {node.name for node in graph_def.node if node.name not in large}
    weights: dict[str, Array] = {}
    for position in range(len(graph_def.node) - 1, -1, -1):
        node = graph_def.node[position]
        if node.op != "Const" or node.name not in large:
            continue
        if others.isdisjoint(scopes(node.name)):
            weights[node.name] = constants[node.name]
            del graph_def.node[position]
        else:  # weights are imported first, which would take the name of a node in whose scope they are
            _add_contents(node, constants[node.name])
    return FrozenGraph(graph_def, {name: weights[name] for name in sorted(weights)})


def total_bytes(constants: Iterable[Array]) -> int:
    """Bytes of the values; of strings, their characters."""
    return sum(sum(map(len, array.reshape(-1))) if array.dtype.hasobject else array.nbytes for array in constants)


def _declare(node: Any, array: Array) -> Array:
    """Write type and shape of ``array`` into ``node``; ``array`` as the type that the node declares."""
    from tensorflow.python.framework import dtypes

    declared = node.attr["dtype"].type or dtypes.as_dtype(array.dtype).as_datatype_enum
    try:
        array = _cast(array, DType(dtypes.as_dtype(declared).name))
    except (TypeError, ValueError) as error:  # no type at all, or one that no constant has
        raise ModelFailedError(
            f"The constant '{shown(node.name)}' has another element type in the graph than in the weights manifest."
        ) from error
    node.attr["dtype"].type = declared
    tensor = node.attr["value"].tensor
    tensor.dtype = declared
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size
    return array


def _cast(array: Array, dtype: DType) -> Array:
    """``array`` as ``dtype``, which may differ from its own type in size only."""
    if array.dtype == dtype.numpy:
        return array
    stored = DType.of(array)
    if stored is DType.STRING or _kind(stored) != _kind(dtype):
        raise TypeError(f"{stored} does not stand for {dtype}")
    return array.astype(dtype.numpy)


def _kind(dtype: DType) -> tuple[bool, bool, bool]:
    return dtype.is_integer, dtype.is_floating, dtype.is_complex


def _is_large(array: Array) -> bool:
    return not array.dtype.hasobject and array.nbytes >= SET_ASIDE_FROM_BYTES


def _add_contents(node: Any, array: Array) -> None:
    tensor = node.attr["value"].tensor
    if array.dtype.hasobject:
        tensor.string_val.extend(array.reshape(-1))
    else:
        tensor.tensor_content = array.tobytes()
