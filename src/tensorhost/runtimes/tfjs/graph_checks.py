"""Checks on a graph from a stranger before TensorFlow sees it.

TensorFlow reports some of these faults in words nobody understands, and some it survives only by luck. What must stay
true: a graph that got through uses allowed operations only, in function bodies too, and takes TensorFlow no longer
to build than its size suggests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.graph_scan import Reached, functions_named_by, node_name
from tensorhost.runtimes.tfjs.operations import ALLOWED

MAX_CALLED_NODES = 1_000_000
"""Most nodes, each function counted as often as it is called. Functions that call functions twice double each time."""

MAX_CALL_DEPTH = 100
"""Most functions inside each other."""

_MOST_LISTED = 20
_BACK_EDGE = "NextIteration"


class _Extent(NamedTuple):
    """How far a function goes: its nodes with those of all it calls, and how deep the calls are."""

    nodes: int
    depth: int


def check_names(graph_def: Any) -> None:
    """Raise ModelFailedError unless nodes and functions have names of their own."""
    _check_distinct((node.name for node in graph_def.node), "node", "the graph")
    _check_distinct((function.signature.name for function in graph_def.library.function), "function", "the graph")
    for function in graph_def.library.function:
        _check_distinct(
            (node.name for node in function.node_def), "node", f"the function '{shown(function.signature.name)}'"
        )


def check_reached(reached: Reached) -> None:
    """Raise unless what is executed is whole and allowed.

    Raises:
        UnsupportedModelError: an operation that TensorFlow.js models cannot have.
        ModelFailedError: an edge to nowhere, a cycle that is no loop, a function that is missing or calls itself.
    """
    _check_operations(reached)
    _check_edges(reached.nodes, set(), "the graph")
    for function in reached.functions:
        _check_function(function)
    _check_calls(reached)


def _check_distinct(names: Iterable[str], what: str, where: str) -> None:
    for name, count in Counter(names).items():
        if not name:
            raise ModelFailedError(f"A {what} of {where} has no name.")
        if count > 1:
            raise ModelFailedError(f"The {what} '{shown(name)}' is in {where} {count} times.")


def _check_operations(reached: Reached) -> None:
    others = sorted({str(node.op) for node in reached.all_nodes()} - ALLOWED)
    unknown = [shown(name) or "a nameless operation" for name in others[:_MOST_LISTED]]
    if unknown:
        raise UnsupportedModelError(
            f"The model uses {', '.join(unknown)}, which TensorFlow.js cannot execute. Only operations that it can are "
            "allowed in its models, since others could read files or run code.",
            details={"operations": unknown},
        )


def _check_edges(nodes: Iterable[Any], arguments: set[str], where: str) -> None:
    """Every node reads nodes that are there, and but for loops none reads what depends on it (Kahn's algorithm)."""
    by_name = {node.name: node for node in nodes}
    unread = {}
    readers: dict[str, list[str]] = {name: [] for name in by_name}
    for name, node in by_name.items():
        sources = {node_name(source) for source in node.input} - arguments
        for source in sources:
            if source not in by_name:
                raise ModelFailedError(
                    f"The node '{shown(name)}' of {where} reads '{shown(source)}', which is not there."
                )
        awaited = [source for source in sources if by_name[source].op != _BACK_EDGE]
        unread[name] = len(awaited)
        for source in awaited:
            readers[source].append(name)
    ready = [name for name, count in unread.items() if not count]
    while ready:
        for reader in readers[ready.pop()]:
            unread[reader] -= 1
            if not unread[reader]:
                ready.append(reader)
    stuck = next((name for name, count in unread.items() if count), None)
    if stuck is not None:
        raise ModelFailedError(f"The node '{shown(stuck)}' of {where} depends on itself.")


def _check_function(function: Any) -> None:
    where = f"the function '{shown(function.signature.name)}'"
    arguments = {argument.name for argument in function.signature.input_arg}
    _check_edges(function.node_def, arguments, where)
    there = arguments.union(node.name for node in function.node_def)
    for result in function.signature.output_arg:
        if node_name(function.ret.get(result.name, "")) not in there:
            raise ModelFailedError(f"Nothing in {where} is its result '{shown(result.name)}'.")


def _check_calls(reached: Reached) -> None:
    """Every function is there, none calls itself, and all calls together are not too many nodes."""
    calls = {function.signature.name: list(_called(function.node_def)) for function in reached.functions}
    sizes = {function.signature.name: len(function.node_def) for function in reached.functions}
    from_graph = list(_called(reached.nodes))
    for name in (*from_graph, *(name for called in calls.values() for name in called)):
        if name not in calls:
            raise ModelFailedError(f"The graph calls the function '{shown(name)}', which is not there.")
    extents: dict[str, _Extent] = {}
    for start in calls:
        _measure(start, calls, sizes, extents)
    if len(reached.nodes) + sum(extents[name].nodes for name in from_graph) > MAX_CALLED_NODES:
        raise ModelFailedError(f"The graph's functions call each other into more than {MAX_CALLED_NODES} nodes.")
    if max((extent.depth for extent in extents.values()), default=0) > MAX_CALL_DEPTH:
        raise ModelFailedError(f"The graph's functions call each other more than {MAX_CALL_DEPTH} deep.")


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    """The functions that attributes of ``nodes`` name, each as often as it is named."""
    return (name for node in nodes for name in functions_named_by(node) if name and name != node.op)


def _measure(start: str, calls: dict[str, list[str]], sizes: dict[str, int], extents: dict[str, _Extent]) -> None:
    """Put into ``extents`` how far ``start`` and all that it calls go."""
    open_calls: set[str] = set()
    stack = [start]
    while stack:
        name = stack[-1]
        missing = dict.fromkeys(called for called in calls[name] if called not in extents)
        if missing and name not in extents:
            open_calls.add(name)
            if not open_calls.isdisjoint(missing):
                raise ModelFailedError(f"The function '{shown(name)}' of the graph calls itself.")
            stack.extend(missing)
            continue
        stack.pop()
        open_calls.discard(name)
        called = [extents[called] for called in calls[name]]
        extents[name] = _Extent(
            sizes[name] + sum(extent.nodes for extent in called),
            1 + max((extent.depth for extent in called), default=0),
        )
