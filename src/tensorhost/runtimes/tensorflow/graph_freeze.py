"""Freezing and importing a graph without ever holding the interpreter lock for long.

Copying, serializing and parsing a protocol buffer holds the interpreter lock for the whole of it, and a frozen graph
of 100 MB would stop every request for as long. So large weights never enter the frozen graph: it is frozen with empty
arrays in their stead and imported in pieces, the weights first. What must stay true: the imported graph computes what
``convert_variables_to_constants`` and one ``import_graph_def`` would give, bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorhost.core.tensors import Array
from tensorhost.runtimes.tensorflow.graph_import import PIECE_BYTES, empty_like, import_in_pieces, scopes
from tensorhost.runtimes.tensorflow.graph_rewrite import keep_only, read_before_gathering
from tensorhost.runtimes.tensorflow.graph_scan import reached_from

FETCH_BYTES = 4 * 2**20
"""Most bytes of variables fetched at once, but for a single variable larger than that."""

SET_ASIDE_FROM_BYTES = 1024
"""Weights of at least this many bytes stay out of the frozen graph."""

_MARK = 0x7E_5000_0000
"""The k-th weight set aside is stood in for by an array of shape ``(0, _MARK + k)``, which no real weight has."""

_LOOPS = frozenset({"While", "StatelessWhile"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrozenGraph:
    """A frozen graph in two parts: a GraphDef and, by name, the constants it refers to but does not hold.

    The arrays may lie on TensorFlow's memory and must not be written to.
    """

    graph_def: Any
    weights: dict[str, Array]


def freeze(tf: Any, session: Any, roots: Sequence[str], keep: Collection[str]) -> FrozenGraph:
    """The part of ``session``'s graph that the nodes in ``roots`` depend on, constants in place of variables.

    Args:
        tf: the ``tensorflow`` module.
        session: a Session with initialised variables; it may be closed afterwards.
        roots: names of nodes.
        keep: names of variables that stay variables.

    Raises:
        ValueError, KeyError: TensorFlow cannot freeze this graph.
    """
    graph_def = session.graph.as_graph_def()
    read_before_gathering(graph_def)
    stand_ins = _StandIns(session)
    frozen, weights = _convert(tf, stand_ins, graph_def, roots, keep), {}
    try:
        weights = _take_out(frozen, stand_ins.weights)
    except LookupError as error:  # another TensorFlow, which puts values elsewhere too: let it have them
        _log.debug("freezing in one piece: %s", error)
        frozen = _convert(tf, session, graph_def, roots, keep)
    keep_only(frozen, reached_from(frozen, roots))
    return FrozenGraph(frozen, weights)


def import_frozen(tf: Any, frozen: FrozenGraph) -> None:
    """Import ``frozen`` into the default graph, every node under its own name. ``frozen`` may be imported again."""
    for piece in _pieces(frozen):
        tf.import_graph_def(piece, name="")
    import_in_pieces(tf, frozen.graph_def)


class _StandIns:
    """What ``convert_variables_to_constants`` needs of a Session: fetches variables, hands out stand-ins for them."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.weights: list[Array] = []

    def run(self, fetches: Any) -> list[Any]:
        """The fetched values, the large ones replaced. Raises what ``Session.run`` raises."""
        return [self._set_aside(value) for part in self._parts(fetches) for value in self._session.run(part)]

    def _parts(self, fetches: Sequence[str]) -> Iterator[list[str]]:
        """``fetches`` in their order, a few at a time: fetching copies."""
        part: list[str] = []
        part_bytes = 0
        for fetch in fetches:
            tensor = self._session.graph.get_tensor_by_name(fetch)
            fetch_bytes = (tensor.shape.num_elements() or 0) * tensor.dtype.size
            if part and part_bytes + fetch_bytes > FETCH_BYTES:
                yield part
                part, part_bytes = [], 0
            part.append(fetch)
            part_bytes += fetch_bytes
        if part:
            yield part

    def _set_aside(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.nbytes < SET_ASIDE_FROM_BYTES:
            return value
        self.weights.append(value)
        return np.empty((0, _MARK + len(self.weights) - 1), value.dtype)


def _convert(tf: Any, session: Any, graph_def: Any, roots: Sequence[str], keep: Collection[str]) -> Any:
    return tf.compat.v1.graph_util.convert_variables_to_constants(
        session, graph_def, list(roots), variable_names_blacklist=sorted(keep)
    )


def _take_out(graph_def: Any, weights: Sequence[Array]) -> dict[str, Array]:
    """Remove the constants that stand in for ``weights`` and name the weights by them.

    Raises:
        LookupError: not every weight has exactly one constant.
    """
    found: dict[str, int] = {}
    for position in range(len(graph_def.node) - 1, -1, -1):
        node = graph_def.node[position]
        index = _index(node.attr["value"].tensor.tensor_shape) if node.op == "Const" else None
        if index is not None:
            found[node.name] = index
            del graph_def.node[position]
    if sorted(found.values()) != list(range(len(weights))):
        raise LookupError(f"{len(weights)} weights were set aside and {len(found)} constants stand in for them")
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if node.op in _LOOPS:
                _correct_shapes(node.attr["output_shapes"].list.shape, weights)
    named = {name: weights[index] for name, index in sorted(found.items())}  # scopes before what is in them
    taken = {node.name for node in graph_def.node}
    for name in [name for name in named if not taken.isdisjoint(scopes(name))]:  # cannot be imported before ``taken``
        _add_constant(graph_def, name, named.pop(name))
    return named


def _correct_shapes(shapes: Any, weights: Sequence[Array]) -> None:
    """A loop's shapes name those of the constants that pass through it: those of stand-ins become the weights'."""
    for shape in shapes:
        index = _index(shape)
        if index is not None:
            del shape.dim[:]
            _set_shape(shape, weights[index])


def _index(shape: Any) -> int | None:
    """Which weight a shape stands in for, or None for an ordinary shape."""
    sizes = [int(dimension.size) for dimension in shape.dim]
    return sizes[1] - _MARK if len(sizes) == 2 and sizes[0] == 0 and sizes[1] >= _MARK else None


def _set_shape(shape: Any, weight: Array) -> None:
    for size in weight.shape:
        shape.dim.add().size = size


def _pieces(frozen: FrozenGraph) -> Iterator[Any]:
    """The weights as GraphDefs of constants of at most PIECE_BYTES each, where a single weight is no larger."""
    piece, piece_bytes = empty_like(frozen.graph_def), 0
    for name, weight in frozen.weights.items():
        if piece_bytes and piece_bytes + weight.nbytes > PIECE_BYTES:
            yield piece
            piece, piece_bytes = empty_like(frozen.graph_def), 0
        _add_constant(piece, name, weight)
        piece_bytes += weight.nbytes
    if piece_bytes:
        yield piece


def _add_constant(piece: Any, name: str, weight: Array) -> None:
    from tensorflow.python.framework import dtypes

    dtype = dtypes.as_dtype(weight.dtype).as_datatype_enum
    node = piece.node.add(name=name, op="Const")
    node.attr["dtype"].type = dtype
    tensor = node.attr["value"].tensor
    tensor.dtype = dtype
    _set_shape(tensor.tensor_shape, weight)
    tensor.tensor_content = weight.tobytes()
