"""A signature of a frozen graph as a file of its own, for runtimes that read TensorFlow graphs.

Only what the outputs depend on is written, and each output under a name of its own, since readers take the ends of a
graph for its outputs: one that is used inside the graph as well, or is asked for twice, would be lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.tensorflow.export import part_of
from tensorhost.runtimes.tensorflow.graph_import import scopes
from tensorhost.runtimes.tensorflow.graph_scan import node_name
from tensorhost.runtimes.tensorflow.session import ServedGraph
from tensorhost.runtimes.tensorflow.signature_defs import BoundSignature

_PLACEHOLDER = "Placeholder"
_WIDE = ("DT_INT64", "DT_UINT32", "DT_UINT64", "DT_DOUBLE")
_NARROW = (-(2**31), 2**31 - 1)
_HARMLESS = frozenset(
    {
        "Const",
        "Identity",
        "Shape",
        "ShapeN",
        "Size",
        "Rank",
        "ArgMax",
        "ArgMin",
        "Gather",
        "GatherV2",
        "StridedSlice",
        "Pack",
        "ExpandDims",
        "Squeeze",
        "Reshape",
        "ConcatV2",
    }
)
"""Operations whose 64-bit results are positions and sizes, or were so before."""

_CAST = "Cast"
_FLOATS = ("DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16")

_LOOPS = frozenset({"While", "StatelessWhile", "Enter"})


def has_loop(served: ServedGraph, signature: str) -> bool:
    """Whether the signature's graph repeats a part of itself, as recurrent networks do."""
    part, _ = _part(served, signature)
    nodes = [*part.node, *(node for function in part.library.function for node in function.node_def)]
    return any(node.op in _LOOPS for node in nodes)


def wide_arithmetic(served: ServedGraph, signature: str) -> str:
    """The first operation that computes with more than 32 bits; empty where none does."""
    from tensorflow.core.framework import types_pb2
    from tensorflow.python.framework import tensor_util

    wide = {types_pb2.DataType.Value(name) for name in _WIDE}
    part, _ = _part(served, signature)
    nodes = [*part.node, *(node for function in part.library.function for node in function.node_def)]
    floats = {types_pb2.DataType.Value(name) for name in _FLOATS}
    for node in nodes:
        if node.op == "Const" and node.attr["dtype"].type in wide:
            values = tensor_util.MakeNdarray(node.attr["value"].tensor)
            if values.size and (values.min() < _NARROW[0] or values.max() > _NARROW[1]):
                return "A constant"
        if node.op == _CAST:
            is_wide = node.attr["DstT"].type in wide and node.attr["SrcT"].type in floats
        else:
            is_wide = node.op not in _HARMLESS and "T" in node.attr and node.attr["T"].type in wide
        if is_wide:
            return str(node.op)
    return ""


def write_graph(tf: Any, served: ServedGraph, signature: str, folder: Path, name: str) -> EngineFile:
    """Write ``name`` in ``folder``, a GraphDef; the names are those of its tensors.

    Raises UnsupportedModelError where an input is no placeholder.
    """
    part, bound = _part(served, signature)
    nodes = {node.name: node for node in part.node}
    for feed in bound.feeds:
        node = nodes.get(node_name(feed))
        if node is None or node.op != _PLACEHOLDER:
            raise UnsupportedModelError("An input is no placeholder of the graph.")
    prefix = _free_prefix(nodes)
    outputs = {}
    for number, (output, fetch) in enumerate(zip(bound.signature.outputs, bound.fetches, strict=True)):
        dtype = served.session.graph.get_tensor_by_name(fetch).dtype
        added = part.node.add(name=f"{prefix}_{number}", op="Identity", input=[fetch.removesuffix(":0")])
        added.attr["T"].type = tf.as_dtype(dtype).as_datatype_enum
        outputs[output] = f"{added.name}:0"
    (folder / name).write_bytes(part.SerializeToString())
    return EngineFile(name, dict(zip(bound.signature.inputs, bound.feeds, strict=True)), outputs)


def _part(served: ServedGraph, signature: str) -> tuple[Any, BoundSignature]:
    bound = served.bound(signature)
    return part_of(served, [node_name(name) for name in (*bound.feeds, *bound.fetches)])[0], bound


def _free_prefix(nodes: Any) -> str:
    taken = {scope for name in nodes for scope in (name, *scopes(name))}
    prefix = "output"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    return prefix
