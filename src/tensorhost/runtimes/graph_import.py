"""Importing a GraphDef in pieces, so that no single call holds the interpreter lock for long.

TensorFlow imports some 20 to 40 nodes a millisecond and holds the lock meanwhile: a graph of thousands of nodes stops
every request. So nodes are imported a few at a time, sources before what reads them. What must stay true: the graph
has the nodes, names and edges one import would give; only wishes for colocation, which are hints, are dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tensorhost.runtimes.graph_scan import node_name

PIECE_BYTES = 2 * 2**20
"""Most bytes imported at once, but for a single node larger than that."""

PIECE_NODES = 100
"""Most nodes imported at once, but for those that cannot be told apart (see ``_tail``)."""


def import_in_pieces(tf: Any, graph_def: Any, producer_op_list: Any = None) -> None:
    """Import ``graph_def`` into the default graph, every node under its own name.

    Args:
        tf: the ``tensorflow`` module.
        graph_def: may read nodes that are in the default graph already. Default attributes are added to it.
        producer_op_list: what TensorFlow the graph comes from knew, to drop attributes this one does not.

    Raises:
        ValueError: the graph is not valid.
        KeyError: a node reads one that is nowhere.
    """
    graph = tf.compat.v1.get_default_graph()
    names = {function.signature.name for function in graph_def.library.function}
    functions_first = any(node.op in names for node in graph_def.node)
    if functions_first:
        _import_library(tf, graph_def)
    for nodes in _batches(graph_def.node):
        piece = empty_like(graph_def)
        piece.node.extend(nodes)
        _forget_colocation(piece)
        tf.import_graph_def(piece, name="", input_map=_sources(graph, nodes), producer_op_list=producer_op_list)
    # A call of a known function makes TensorFlow work out the shapes in all of its body, in one go. Nobody here asks.
    if not functions_first:
        _import_library(tf, graph_def)


def empty_like(graph_def: Any) -> Any:
    """A GraphDef without nodes, of the same versions: a graph takes on the oldest of all it imports."""
    empty = type(graph_def)()
    empty.versions.CopyFrom(graph_def.versions)
    return empty


def _import_library(tf: Any, graph_def: Any) -> None:
    for function in graph_def.library.function:
        piece = empty_like(graph_def)
        piece.library.function.append(function)
        name = function.signature.name
        piece.library.gradient.extend(g for g in graph_def.library.gradient if g.function_name == name)
        tf.import_graph_def(piece, name="")


def _sources(graph: Any, nodes: Sequence[Any]) -> dict[str, Any]:
    """What ``nodes`` read from nodes imported before: tensors by their name as a source."""
    inside = {node.name for node in nodes}
    outside = {source for node in nodes for source in node.input if node_name(source) not in inside}
    # A control input, too, is mapped by a tensor of its node.
    tensors = {source: f"{node_name(source)}:0" if source.startswith("^") else _tensor(source) for source in outside}
    return {
        source if source.startswith("^") else tensor: graph.get_tensor_by_name(tensor)
        for source, tensor in tensors.items()
    }


def _tensor(source: str) -> str:
    return source if ":" in source else f"{source}:0"


def _batches(nodes: Sequence[Any]) -> Iterator[list[Any]]:
    """The nodes in groups to be imported one after the other."""
    tail = _tail(nodes)
    batch: list[Any] = []
    batch_bytes = 0
    for node in _sorted([node for node in nodes if node.name not in tail]):
        node_bytes = node.ByteSize()
        if batch and (len(batch) >= PIECE_NODES or batch_bytes + node_bytes > PIECE_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(node)
        batch_bytes += node_bytes
    for rest in (batch, [node for node in nodes if node.name in tail]):
        if rest:
            yield rest


def _tail(nodes: Sequence[Any]) -> set[str]:
    """Nodes to be imported in one piece, after all others, with all that depends on them.

    They are loops of TensorFlow 1 and nodes that others wait for but that may have no output: a piece can refer to
    what was imported before only by its tensors.
    """
    awaited = {node_name(source) for node in nodes for source in node.input if source.startswith("^")}
    waiting = [node.name for node in nodes if node.op in _LOOP_ENDS or (node.name in awaited and not _has_output(node))]
    readers = _readers(nodes)
    tail: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in tail:
            tail.add(name)
            waiting.extend(readers[name])
    return tail


_LOOP_ENDS = frozenset({"NextIteration", "RefNextIteration"})


def _has_output(node: Any) -> bool:
    """Whether the node surely has an output; unknown operations and functions may have none."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(node.op)
    return definition is not None and any(
        not (output.number_attr or output.type_list_attr) for output in definition.output_arg
    )


def _sorted(nodes: Sequence[Any]) -> Iterable[Any]:
    """``nodes``, which hold no cycle, each after those it reads."""
    by_name = {node.name: node for node in nodes}
    missing = {node.name: len({node_name(source) for source in node.input} & by_name.keys()) for node in nodes}
    readers = _readers(nodes)
    ready = [name for name, count in missing.items() if count == 0]
    for name in ready:
        for reader in readers[name]:
            missing[reader] -= 1
            if missing[reader] == 0:
                ready.append(reader)
    return [by_name[name] for name in ready]


def _readers(nodes: Sequence[Any]) -> dict[str, list[str]]:
    """By node, the nodes that depend on it, each once."""
    readers: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for name in {node_name(source) for source in node.input}:
            readers[name].append(node.name)
    return readers


def _forget_colocation(graph_def: Any) -> None:
    """Drop wishes to be placed where another node is, which an import refuses for nodes imported before."""
    for node in graph_def.node:
        if "_class" in node.attr:
            del node.attr["_class"]
