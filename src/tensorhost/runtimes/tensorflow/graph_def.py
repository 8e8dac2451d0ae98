"""Loading a frozen TensorFlow 1 graph: a ``.pb`` file that holds a GraphDef and nothing else.

The file says neither what to feed nor what to fetch; ``model.toml`` does, or else they are looked for. Its large
constants are taken out while it is read. What must stay true: what is served is what its outputs and its tables depend
on, and nothing else of the file is held.
"""

from __future__ import annotations

import logging
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.core.errors import ModelFailedError, TensorhostError, UnsupportedModelError
from tensorhost.core.tensors import Array
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.tensorflow.errors import load_error
from tensorhost.runtimes.tensorflow.frozen_graph import FrozenModel, load_frozen
from tensorhost.runtimes.tensorflow.graph_file import read_graph
from tensorhost.runtimes.tensorflow.graph_freeze import SET_ASIDE_FROM_BYTES, FrozenGraph
from tensorhost.runtimes.tensorflow.graph_import import scopes
from tensorhost.runtimes.tensorflow.graph_rewrite import (
    forget_cluster_devices,
    keep_functional_control_flow,
    keep_only,
    pad_pointwise_convolutions,
)
from tensorhost.runtimes.tensorflow.graph_scan import (
    TABLE_FILLING,
    VARIABLE_OPS,
    Reached,
    node_name,
    parameter_bytes,
    reached_from,
    refuse_endless_recursion,
)
from tensorhost.runtimes.tensorflow.inferred_bindings import bind_graph
from tensorhost.runtimes.tensorflow.op_packages import refuse_unknown_operations
from tensorhost.runtimes.tensorflow.process import tensorflow
from tensorhost.runtimes.tensorflow.signature_defs import Bindings

_log = logging.getLogger(__name__)


def load_graph_def(path: Path, options: LoadOptions) -> Runtime:
    """Load the frozen graph in the file ``path``.

    Args:
        path: the file.
        options: thread counts; ``graph_inputs`` and ``graph_outputs``, empty to take every placeholder and what no
            node reads.

    Raises:
        ModelFailedError: the file is cut short, damaged or no graph.
        UnsupportedModelError: the graph is not frozen or too large.
        MisconfiguredModelError: the inputs or outputs asked for do not fit the graph.
        RuntimeMissingError: TensorFlow is not installed.
        OutOfMemoryError: the model does not fit.
    """
    tf = tensorflow(options)
    frozen = _read(tf, path)
    refuse_unknown_operations(Reached(tuple(frozen.graph_def.node), tuple(frozen.graph_def.library.function)))
    refuse_endless_recursion(reached_from(frozen.graph_def, [node.name for node in frozen.graph_def.node]))
    try:
        bindings = bind_graph(tf, frozen, options.graph_inputs, options.graph_outputs)
    except TensorhostError:
        raise
    except Exception as error:  # the border of a load attempt: a damaged graph raises anything
        raise load_error(tf, error) from error
    if not (options.graph_inputs and options.graph_outputs):
        found = bindings.bound[0].signature
        names = (list(found.inputs), list(found.outputs))
        _log.info("inputs and outputs of %s were found by looking at the graph: %s -> %s", path, *names)
    return load_frozen(tf, _model(frozen, bindings), options)


def _model(frozen: FrozenGraph, bindings: Bindings) -> FrozenModel:
    """``frozen`` without what neither the signature nor its tables need."""
    graph_def = frozen.graph_def
    fill_tables = [node.name for node in graph_def.node if node.op.startswith(TABLE_FILLING)]
    tensors = [name for bound in bindings.bound for name in (*bound.feeds, *bound.fetches)]
    reached = reached_from(graph_def, [*fill_tables, *map(node_name, tensors)])
    _refuse_variables(reached.nodes)
    used = {node_name(source) for node in reached.nodes for source in node.input} | set(map(node_name, tensors))
    kept = {node.name for node in reached.nodes}
    for index in range(len(graph_def.node) - 1, -1, -1):
        if graph_def.node[index].name not in kept:
            del graph_def.node[index]
    keep_only(graph_def, reached)
    weights = {name: weight for name, weight in frozen.weights.items() if name in used}

    def initialise(session: Any) -> None:
        session.run(fill_tables)

    weights_bytes = parameter_bytes(reached) + sum(weight.nbytes for weight in weights.values())
    return FrozenModel(FrozenGraph(graph_def, weights), bindings, initialise, weights_bytes)


def _refuse_variables(nodes: Any) -> None:
    names = sorted(node.name for node in nodes if node.op in VARIABLE_OPS)
    if names:
        raise UnsupportedModelError(
            f"The graph is not frozen: it has {len(names)} variables, such as '{names[0]}', whose values are not in "
            "the file. Freeze it, or export a SavedModel.",
            details={"variables": len(names)},
        )


def _read(tf: Any, path: Path) -> FrozenGraph:
    """The graph in the file, rewritten, its large constants apart. Raises ModelFailedError."""
    weights: dict[str, Array] = {}

    def take_out(node: Any) -> None:
        weight = _weight(node)
        if weight is not None:
            weights[node.name] = weight
            node.attr["value"].tensor.ClearField("tensor_content")

    graph_def = read_graph(tf, path, take_out)
    if not graph_def.node or not all(node.name and node.op for node in graph_def.node):
        raise ModelFailedError("The file holds no TensorFlow graph.")
    if len({node.name for node in graph_def.node}) < len(graph_def.node):
        raise ModelFailedError("The graph file is damaged: two nodes have the same name.")
    keep_functional_control_flow(graph_def)
    forget_cluster_devices(graph_def)
    pad_pointwise_convolutions(graph_def)
    return _apart(graph_def, weights)


def _weight(node: Any) -> Array | None:
    """The value of a large constant, where it lies in the file as it lies in memory."""
    from tensorflow.python.framework import dtypes

    if node.op != "Const" or node.input:
        return None
    tensor = node.attr["value"].tensor
    content = tensor.tensor_content
    if len(content) < SET_ASIDE_FROM_BYTES:
        return None
    shape = [int(dimension.size) for dimension in tensor.tensor_shape.dim]
    try:
        dtype = np.dtype(dtypes.as_dtype(tensor.dtype).as_numpy_dtype)
    except TypeError:  # no element type, in a damaged graph: TensorFlow refuses it
        return None
    if dtype.fields or dtype.hasobject or min(shape, default=0) < 0:
        return None
    if prod(shape) * dtype.itemsize != len(content):
        return None
    return np.frombuffer(content, dtype).reshape(shape)


def _apart(graph_def: Any, weights: dict[str, Array]) -> FrozenGraph:
    """Take the constants in ``weights`` out of the graph, but for those that cannot be imported before all others."""
    rest = {node.name for node in graph_def.node} - weights.keys()
    fixed = {name for name in weights if not rest.isdisjoint(scopes(name))}  # TensorFlow would rename the scope's node
    for index in range(len(graph_def.node) - 1, -1, -1):
        node = graph_def.node[index]
        if node.name in fixed:
            node.attr["value"].tensor.tensor_content = weights[node.name].tobytes()
        elif node.name in weights:
            del graph_def.node[index]
    return FrozenGraph(graph_def, {name: weights[name] for name in sorted(weights.keys() - fixed)})
