"""The tables of a graph model, which a graph of its own fills: ``modelInitializer``.

In TensorFlow.js a table of the initializer and one of the graph are the same if their nodes have the same name, or if
both signatures give them the same ``resourceId``. Here both graphs become one, with one node for each such table. The
functions of the initializer repeat those of the graph with other bodies and are left out. What must stay true: tables
of two models, or of two loads of one, never meet.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.graph_scan import node_name, reached_from
from tensorhost.runtimes.tfjs.graph_checks import check_names
from tensorhost.runtimes.tfjs.operations import TABLE_FILLING, TABLES


class Initializer(NamedTuple):
    """What was added to a graph: the nodes that fill tables, and its constants by their names in the manifest."""

    filling: list[str]
    constants: dict[str, str]


def add_initializer(graph_def: Any, initializer: Any, captured: Mapping[str, str]) -> Initializer:
    """Add to ``graph_def`` what fills its tables.

    Args:
        graph_def: the graph; the placeholders in ``captured`` are taken out of it.
        initializer: the graph that fills tables; what does not serve that is left out, the rest added under a scope
            of its own.
        captured: the graph's placeholders that stand for tables, by name, to the initializer's nodes they stand for.

    Raises:
        ModelFailedError: a name is missing or double.
    """
    check_names(initializer)
    filling = [node.name for node in initializer.node if node.op in TABLE_FILLING]
    nodes = reached_from(initializer, [*filling, *captured.values()]).nodes
    shared = {node.name for node in graph_def.node if node.op in TABLES}
    scope = _free_scope(graph_def)
    names = {
        node.name: node.name if node.op in TABLES and node.name in shared else f"{scope}/{node.name}" for node in nodes
    }
    for node in nodes:
        if names[node.name] in shared:
            continue
        added = graph_def.node.add()
        added.CopyFrom(node)
        added.name = names[node.name]
        added.input[:] = [_renamed(source, names) for source in node.input]
    _replace(graph_def, {placeholder: names.get(table, table) for placeholder, table in captured.items()})
    constants = {names[node.name]: node.name for node in nodes if node.op == "Const"}
    return Initializer([names[name] for name in filling], constants)


def captured_tables(
    graph_def: Any, initializer: Any, inputs: Mapping[str, Any], made: Mapping[str, Any]
) -> dict[str, str]:
    """Placeholders of the graph that stand for a table, to the initializer's node that makes it.

    Args:
        graph_def: the graph.
        initializer: the graph that fills tables.
        inputs: the inputs of the graph's signature.
        made: the outputs of the initializer's signature: tables, or the nodes that fill them.

    Raises:
        ModelFailedError: the initializer makes no such resource.
    """
    nodes = {node.name: node for node in initializer.node}
    tables: dict[str, str] = {}
    for key, info in made.items():
        node = nodes.get(node_name(str(info.get("name")))) or nodes.get(key)
        if node is not None and node.op in TABLE_FILLING and node.input:
            node = nodes.get(node_name(node.input[0]))
        if node is not None and node.op in TABLES:
            tables[str(info.get("resourceId"))] = node.name
    placeholders = {node.name for node in graph_def.node if node.op == "Placeholder"}
    captured: dict[str, str] = {}
    for key, info in inputs.items():
        name = node_name(str(info.get("name")))
        if info.get("resourceId") is None or name not in placeholders:
            continue
        if str(info["resourceId"]) not in tables:
            raise ModelFailedError(
                f"The signature's input '{shown(key)}' is a resource that modelInitializer does not make."
            )
        captured[name] = tables[str(info["resourceId"])]
    return captured


def isolate_tables(graph_def: Any) -> None:
    """Make the names under which tables are found unique to this load."""
    mark = uuid.uuid4().hex
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if node.op in TABLES:
                name = node.attr["shared_name"].s.decode(errors="replace") or node.name
                node.attr["shared_name"].s = f"{name}-{mark}".encode()


def _free_scope(graph_def: Any) -> str:
    taken = {node.name.split("/", 1)[0] for node in graph_def.node}
    return next(name for name in (f"initializer_{number}" for number in count()) if name not in taken)


def _renamed(source: str, names: Mapping[str, str]) -> str:
    """``source`` with its node under its new name; that of no node as it is."""
    name = node_name(source)
    mark = "^" if source.startswith("^") else ""
    return mark + names.get(name, name) + source.removeprefix(mark)[len(name) :]


def _replace(graph_def: Any, replacements: Mapping[str, str]) -> None:
    """Read from the nodes on the right where those on the left were read, and take these out."""
    if not replacements:
        return
    kept = [node for node in graph_def.node if node.name not in replacements]
    for node in kept:
        node.input[:] = [_renamed(source, replacements) for source in node.input]
    del graph_def.node[:]
    graph_def.node.extend(kept)
