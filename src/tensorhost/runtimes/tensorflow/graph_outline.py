"""A graph without its large constants, in which TensorFlow works out whether inputs of some shapes fit.

A Session never asks whether shapes fit each other: it leaves that to operations while they run, and some of them end
the process where the number of dimensions is not what the graph promised, a convolution among them. Building a graph
does ask. So the graph is built once more around inputs of the shapes in question, which takes no memory to speak of:
constants that are too large to be a shape themselves are there as placeholders.

Nobody asks inside loops and branches, though, so a graph that has any takes no other number of dimensions than the
declared ones. What must stay true: nothing is executed here, and no tensor that passes has a number of dimensions less
certain than the declared shapes would make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tensorhost.runtimes.tensorflow.graph_freeze import FrozenGraph
from tensorhost.runtimes.tensorflow.graph_import import empty_like, import_in_pieces
from tensorhost.runtimes.tensorflow.graph_scan import node_name, reached_from

_LARGE_ELEMENTS = 256
"""Constants of more elements are no shapes, axes or paddings: those have an element for each dimension or two."""

_DECLARED_SHAPES = "_output_shapes"
"""Where a graph repeats the shapes it was built with, which would be held against others."""

_MOST_BYTES = 2**30
"""Largest tensor that may come of undeclared shapes: two small inputs can be broadcast to one that fills the memory."""

_MERGES = frozenset({"Merge", "RefMerge"})

Shapes = Mapping[str, Sequence[int | None] | None]
"""Of tensors by name; None for a dimension of any size, or for any number of dimensions."""


class GraphOutline:
    """The outline of a frozen graph.

    Args:
        tf: the ``tensorflow`` module.
        frozen: the graph, of which nothing large is kept.
    """

    def __init__(self, tf: Any, frozen: FrozenGraph) -> None:
        self._tf = tf
        self._graph_def = _without_weights(frozen)
        self._flat: dict[tuple[str, ...], _Flat] = {}

    def check(self, fetches: tuple[str, ...], declared: Shapes, shapes: Mapping[str, Sequence[int]]) -> None:
        """Raise where tensors of these shapes do not fit the graph.

        Args:
            fetches: the tensors that are to be computed.
            declared: shapes that are known to fit, of the tensors that are fed.
            shapes: the shapes in question, of the same tensors.

        Raises:
            ValueError: an operation does not take them; the message says which and why.
        """
        flat = self._flat.get(fetches)
        if flat is None:
            graph_def = _inlined(self._graph_def, fetches, declared)
            flat = self._flat[fetches] = _Flat(graph_def, _ranks(self._tf, graph_def, declared))
        ranks = _ranks(self._tf, flat.graph_def, shapes)
        if flat.has_bodies and any(_rank(declared[name]) not in (None, len(shape)) for name, shape in shapes.items()):
            raise ValueError("the model has loops or branches and takes the declared number of dimensions only")
        for tensor, rank in ranks.items():
            if rank is None and flat.ranks.get(tensor) is not None:
                raise ValueError(f"the number of dimensions of {tensor} cannot be told beforehand")


class _Flat:
    """What one signature needs of the graph, calls of functions replaced by what they do."""

    def __init__(self, graph_def: Any, ranks: dict[str, int | None]) -> None:
        self.graph_def = graph_def
        self.ranks = ranks
        self.has_bodies = bool(graph_def.library.function) or any(node.op in _MERGES for node in graph_def.node)


def _without_weights(frozen: FrozenGraph) -> Any:
    outline = empty_like(frozen.graph_def)
    outline.library.CopyFrom(frozen.graph_def.library)
    for node in frozen.graph_def.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and _elements(tensor.tensor_shape) > _LARGE_ELEMENTS:
            _add_placeholder(outline, node.name, tensor.dtype, [size.size for size in tensor.tensor_shape.dim])
        else:
            outline.node.append(node)
    for name, weight in frozen.weights.items():
        _add_placeholder(outline, name, _type_of(weight), weight.shape)
    for nodes in (outline.node, *(function.node_def for function in outline.library.function)):
        for node in nodes:
            if _DECLARED_SHAPES in node.attr:
                del node.attr[_DECLARED_SHAPES]
    return outline


def _inlined(outline: Any, fetches: Sequence[str], feeds: Iterable[str]) -> Any:
    """The part of the graph behind ``fetches`` without calls of functions, by TensorFlow's own optimiser."""
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.CopyFrom(_with_feeds(outline, dict.fromkeys(feeds)))
    meta_graph.collection_def["train_op"].node_list.value.extend(fetches)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    config.graph_options.rewrite_options.optimizers.append("function")
    flat = tf_optimizer.OptimizeGraph(config, meta_graph)
    reached = reached_from(flat, map(node_name, fetches))
    part = empty_like(outline)
    part.node.extend(reached.nodes)
    part.library.function.extend(reached.functions)
    return part


def _ranks(tf: Any, graph_def: Any, shapes: Shapes) -> dict[str, int | None]:
    """How many dimensions each tensor has, None where that is not certain.

    Raises ValueError where the shapes do not fit, or make a tensor of more than ``_MOST_BYTES`` known beforehand.
    """
    with tf.Graph().as_default() as graph:
        import_in_pieces(tf, _with_feeds(graph_def, shapes))
    tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    for tensor in tensors:
        if (tensor.shape.num_elements() or 0) * tensor.dtype.size > _MOST_BYTES:
            raise ValueError(f"a tensor of shape {tensor.shape} would be made, which is too large")
    return {tensor.name: tensor.shape.rank for tensor in tensors}


def _with_feeds(graph_def: Any, feeds: Shapes) -> Any:
    """The graph with placeholders for what is fed, and without the order of what has no values to pass on."""
    fed = {node_name(name): shape for name, shape in feeds.items()}
    part = empty_like(graph_def)
    part.library.CopyFrom(graph_def.library)
    for node in graph_def.node:
        if node.name in fed:
            dtype = next((node.attr[key].type for key in ("dtype", "T") if key in node.attr), 0)
            _add_placeholder(part, node.name, dtype, fed[node.name])
            continue
        copy = part.node.add()
        copy.CopyFrom(node)
        data = [source for source in node.input if not source.startswith("^")]
        if len(data) != len(node.input):
            del copy.input[:]
            copy.input.extend(data)
    return part


def _add_placeholder(graph_def: Any, name: str, dtype: int, shape: Sequence[int | None] | None) -> None:
    node = graph_def.node.add(name=name, op="Placeholder")
    node.attr["dtype"].type = dtype
    if shape is None:
        node.attr["shape"].shape.unknown_rank = True
        return
    node.attr["shape"].shape.SetInParent()
    for size in shape:
        node.attr["shape"].shape.dim.add().size = -1 if size is None else size


def _rank(shape: Sequence[int | None] | None) -> int | None:
    return None if shape is None else len(shape)


def _elements(shape: Any) -> int:
    count = 1
    for dimension in shape.dim:
        count *= max(int(dimension.size), 0)
    return count


def _type_of(weight: Any) -> int:
    from tensorflow.python.framework import dtypes

    number: int = dtypes.as_dtype(weight.dtype).as_datatype_enum
    return number
