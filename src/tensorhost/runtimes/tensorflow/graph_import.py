"""Importing a GraphDef in pieces, so that no single call holds the interpreter lock for long.

TensorFlow imports some 20 to 40 nodes a millisecond and holds the lock meanwhile: a graph of thousands of nodes stops
every request. So nodes are imported a few at a time, sources before what reads them. What must stay true: the graph
has the nodes, names and edges one import would give; only wishes for colocation, which are hints, are dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from typing import Any

from tensorhost.runtimes.tensorflow.graph_scan import node_name

PIECE_BYTES = 2 * 2**20
"""Most bytes imported at once, but for a single node larger than that."""

PIECE_NODES = 100
"""Most nodes imported at once, but for those that must go together."""


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
    readers = _readers(nodes)
    tail = _tail(nodes, readers)
    batch: list[Any] = []
    batch_bytes = 0
    for unit in _units([node for node in nodes if node.name not in tail], readers):
        unit_bytes = sum(node.ByteSize() for node in unit)
        if batch and (len(batch) + len(unit) > PIECE_NODES or batch_bytes + unit_bytes > PIECE_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch += unit
        batch_bytes += unit_bytes
    for rest in (batch, [node for node in nodes if node.name in tail]):
        if rest:
            yield rest


def _tail(nodes: Sequence[Any], readers: dict[str, list[str]]) -> set[str]:
    """Nodes to be imported in one piece, after all others: those that are waited for but may have no output, and
    all that comes after them. A piece can refer to what was imported before only by its tensors.
    """
    awaited = {node_name(source) for node in nodes for source in node.input if source.startswith("^")}
    waiting = [node.name for node in nodes if node.name in awaited and not _has_output(node)]
    tail: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in tail:
            tail.add(name)
            waiting.extend(readers[name])
    return tail


def _has_output(node: Any) -> bool:
    """Whether the node surely has an output; unknown operations and functions may have none."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(node.op)
    return definition is not None and any(
        not (output.number_attr or output.type_list_attr) for output in definition.output_arg
    )


def _readers(nodes: Sequence[Any]) -> dict[str, list[str]]:
    """By node, the nodes that must not be imported before it, each once.

    They are those that read it and those whose names begin with its own: TensorFlow would rename it after them.
    """
    names = {node.name for node in nodes}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for name in {node_name(source) for source in node.input} | names.intersection(scopes(node.name)):
            readers[name].append(node.name)
    return readers


def scopes(name: str) -> list[str]:
    """The scopes a name is in: ``a/b/c`` is in ``a`` and ``a/b``."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _units(nodes: Sequence[Any], readers: dict[str, list[str]]) -> Iterator[list[Any]]:
    """``nodes`` in groups that must be imported together, such as loops; each after all that it depends on.

    The groups are the strongly connected components, by Kosaraju's algorithm.
    """
    by_name = {node.name: node for node in nodes}
    sources: dict[str, list[str]] = defaultdict(list)
    for name in by_name:
        for reader in readers[name]:
            sources[reader].append(name)
    seen: set[str] = set()
    finished = [name for start in by_name for name in _visit(start, readers, seen, by_name)]
    seen = set()
    for name in reversed(finished):
        if unit := [by_name[member] for member in _visit(name, sources, seen, by_name)]:
            yield unit


def _visit(start: str, edges: dict[str, list[str]], seen: set[str], within: Container[str]) -> list[str]:
    """The unseen nodes reached from ``start``, depth first, each after those reached from it."""
    finished: list[str] = []
    stack = [(start, False)]
    while stack:
        name, done = stack.pop()
        if done:
            finished.append(name)
        elif name in within and name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack.extend((reader, False) for reader in edges[name])
    return finished


def _forget_colocation(graph_def: Any) -> None:
    """Drop wishes to be placed where another node is, which an import refuses for nodes imported before."""
    for node in graph_def.node:
        if "_class" in node.attr:
            del node.attr["_class"]
