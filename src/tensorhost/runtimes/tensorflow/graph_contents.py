"""What a TensorFlow graph is made of and could do besides computing, by looking at the operations it would execute.

Works on the protocol buffer alone; nothing is run. What must stay true: every node that loading or calling the model
could execute is looked at (signatures, initialiser, restoring variables, what TensorFlow's own loader calls besides),
and in doubt there is a finding.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.contents import MAX_PARAMETERS, Contents, most_frequent_first, shown, worst_first
from tensorhost.runtimes.tensorflow.graph_file import read_graph
from tensorhost.runtimes.tensorflow.graph_findings import findings_in
from tensorhost.runtimes.tensorflow.graph_origins import GraphPart
from tensorhost.runtimes.tensorflow.graph_scan import (
    TABLE_FILLING,
    VARIABLE_OPS,
    Reached,
    functions_from,
    node_name,
    reached_from,
    shape_of,
)
from tensorhost.runtimes.tensorflow.meta_graph import assets_of, initialiser_of, read_meta_graph
from tensorhost.runtimes.tensorflow.process import tensorflow
from tensorhost.runtimes.tensorflow.signature_defs import HIDDEN_SIGNATURES

_NO_WEIGHTS = ("DT_INT32", "DT_INT64", "DT_BOOL", "DT_STRING")
"""Element types of what holds sizes, axes, counters and words, not weights."""

_CALLED_BY_LOADER = frozenset({"_create_resource", "_initialize"})
"""Functions of an object that ``tf.saved_model.load`` calls by itself."""

_DEVICE_FORM = "api_implements"
"""Attribute of functions that TensorFlow puts in each other's place, whichever suits the device."""


def examine_saved_model(path: Path, options: LoadOptions) -> Contents:
    """What is in the SavedModel in the folder ``path``.

    Raises:
        ModelFailedError: the file is damaged or holds no graph to serve.
        RuntimeMissingError: TensorFlow is not installed.
    """
    # What the model's own settings import would run here, before anybody could refuse the model.
    tf = tensorflow(replace(options, model_modules=()))
    meta_graph = read_meta_graph(tf, path, options.tags)
    parts = _parts(meta_graph, path)
    return _contents(parts, served=parts[:2])


def examine_graph_def(path: Path, options: LoadOptions) -> Contents:
    """What is in the frozen graph in the file ``path``: as much as ``options.graph_outputs`` need, or all of it.

    Raises:
        ModelFailedError: the file is damaged or larger than a graph can be.
        RuntimeMissingError: TensorFlow is not installed.
    """
    tf = tensorflow(replace(options, model_modules=()))
    graph_def = read_graph(tf, path, _drop_value)
    return examine_graph(graph_def, options.graph_inputs.values(), options.graph_outputs.values())


def _drop_value(node: Any) -> None:
    """Forget the value of a numeric constant."""
    if node.op == "Const":
        node.attr["value"].tensor.ClearField("tensor_content")


def examine_graph(graph_def: Any, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> Contents:
    """What is in ``graph_def``, a GraphDef. Needs TensorFlow imported.

    Args:
        graph_def: the graph.
        inputs: tensors that requests feed, besides placeholders.
        outputs: tensors that requests fetch; none for every node.
    """
    wanted = [node_name(name) for name in outputs]
    names = [node.name for node in graph_def.node if not wanted or node.op.startswith(TABLE_FILLING)]
    names += wanted
    part = GraphPart(reached_from(graph_def, names), frozenset(node_name(name) for name in inputs))
    return _contents([part], served=[part])


def _parts(meta_graph: Any, folder: Path) -> list[GraphPart]:
    """What is executed: by requests, by the initialiser, by restoring variables, by TensorFlow's own loader."""
    graph_def = meta_graph.graph_def
    initialiser, saver = initialiser_of(meta_graph), meta_graph.saver_def
    called = [definition for name, definition in meta_graph.signature_def.items() if name not in HIDDEN_SIGNATURES]
    feeds = {node_name(name) for definition in called for name in _tensors(definition.inputs)}
    fetches = {node_name(name) for definition in called for name in _tensors(definition.outputs)}
    parts = [
        GraphPart(reached_from(graph_def, feeds | fetches), requested=frozenset(feeds)),
        GraphPart(
            reached_from(graph_def, [initialiser] if initialiser else []),
            own_files=frozenset(node_name(asset.tensor_info.name) for asset in assets_of(meta_graph)),
            outside_files=_outside_assets(meta_graph, folder),
        ),
        GraphPart(
            reached_from(graph_def, [node_name(saver.restore_op_name)]),
            own_files=frozenset({node_name(saver.filename_tensor_name)} - {""}),
        ),
    ]
    by_loader = _object_functions(meta_graph)
    known = {name for part in parts for name in part.functions}
    known -= {name for name in by_loader if _is_called_otherwise(meta_graph, name)}
    return [*parts, GraphPart(Reached((), functions_from(graph_def, by_loader - known)))]


def _tensors(infos: Any) -> Iterator[str]:
    for info in infos.values():
        yield info.name
        yield from (component.name for component in info.composite_tensor.components)


def _outside_assets(meta_graph: Any, folder: Path) -> frozenset[str]:
    """Nodes that the loader feeds with paths that lead out of the model's folder, links followed."""
    return frozenset(
        node_name(asset.tensor_info.name) for asset in assets_of(meta_graph) if not _is_inside(folder, asset.filename)
    )


def _is_inside(folder: Path, asset: str) -> bool:
    try:
        file = Path(os.path.realpath(folder / "assets" / asset))
    except ValueError:  # a zero byte in the name
        return False
    return file.is_relative_to(os.path.realpath(folder))


def _object_functions(meta_graph: Any) -> set[str]:
    """Functions that ``tf.saved_model.load`` may call: those that make and fill resources, restore saved objects, or
    are other forms of a function for other devices."""
    nodes = meta_graph.object_graph_def.nodes
    called = {child.node_id for node in nodes for child in node.children if child.local_name in _CALLED_BY_LOADER}
    called |= {saveable.restore_function for node in nodes for saveable in node.saveable_objects.values()}
    library = meta_graph.graph_def.library.function
    names = {function.signature.name for function in library if _DEVICE_FORM in function.attr}
    for number in called:
        if 0 <= number < len(nodes):
            names.update(nodes[number].function.concrete_functions)
            names.add(nodes[number].bare_concrete_function.concrete_function_name)
    return names - {""}


def _is_called_otherwise(meta_graph: Any, function: str) -> bool:
    """Whether TensorFlow's own loader may call ``function`` with values that the graph's own call of it does not have:
    constants and variables of the saved objects, besides assets and tables."""
    objects = meta_graph.object_graph_def
    numbers = objects.concrete_functions[function].bound_inputs if function in objects.concrete_functions else ()
    kinds = {objects.nodes[number].WhichOneof("kind") for number in numbers if 0 <= number < len(objects.nodes)}
    return not kinds.isdisjoint({"constant", "variable"})


def _contents(parts: Sequence[GraphPart], served: Sequence[GraphPart]) -> Contents:
    """Findings of all ``parts``; operations and parameters of the ``served`` ones."""
    from tensorflow.core.framework import types_pb2

    nodes = {(scope, node.name): node for part in served for scope, node in part.places()}
    functions = {name for part in served for name in part.functions}
    counts = Counter(shown(node.op) for node in nodes.values() if node.op not in functions)
    no_weights = frozenset(types_pb2.DataType.Value(name) for name in _NO_WEIGHTS)
    parameters = sum(_parameters_of(node, no_weights) for node in nodes.values())
    known = parameters if parameters < MAX_PARAMETERS else None
    return Contents(most_frequent_first(counts), known, worst_first(findings_in(parts)))


def _parameters_of(node: Any, no_weights: frozenset[int]) -> int:
    """Numbers in a variable, or in a constant that can be a weight."""
    if node.op in VARIABLE_OPS:
        shape = shape_of(node.attr["shape"].shape)
        dtype = node.attr["dtype"].type
    elif node.op == "Const":
        shape = shape_of(node.attr["value"].tensor.tensor_shape) or None
        dtype = node.attr["value"].tensor.dtype
    else:
        return 0
    if shape is None or dtype in no_weights:
        return 0
    return prod(0 if size is None else size for size in shape)
