"""Loading a TensorFlow.js graph model: JSON and weights become a frozen graph, served like any other.

The order: read the graph, find inputs and outputs, join the graph that fills tables, prune, check, fill in the
constants, write out what only TensorFlow.js has. What must stay true: nothing of a file reaches TensorFlow before it
was checked, so that a model from a stranger can compute and nothing else.
"""

from __future__ import annotations

from typing import Any

from tensorhost.core.errors import TensorhostError
from tensorhost.core.tensors import Array
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.tensorflow.errors import load_error
from tensorhost.runtimes.tensorflow.frozen_graph import FrozenModel, load_frozen
from tensorhost.runtimes.tensorflow.graph_freeze import FrozenGraph, import_frozen
from tensorhost.runtimes.tensorflow.graph_import import empty_like
from tensorhost.runtimes.tensorflow.graph_rewrite import keep_only, pad_pointwise_convolutions
from tensorhost.runtimes.tensorflow.graph_scan import Reached, reached_from
from tensorhost.runtimes.tensorflow.process import tensorflow
from tensorhost.runtimes.tfjs.constants import fill_constants, set_aside, total_bytes
from tensorhost.runtimes.tfjs.graph_checks import check_names, check_reached
from tensorhost.runtimes.tfjs.graph_json import parse_graph
from tensorhost.runtimes.tfjs.graph_signature import (
    Endpoints,
    bind,
    check_fed,
    complete,
    declared_signature,
    find_endpoints,
    is_complete,
)
from tensorhost.runtimes.tfjs.model_json import ModelJson
from tensorhost.runtimes.tfjs.own_operations import expand_own_operations
from tensorhost.runtimes.tfjs.tables import add_initializer, captured_tables, isolate_tables
from tensorhost.runtimes.tfjs.weights import read_weights


def load_graph_model(model: ModelJson, options: LoadOptions) -> Runtime:
    """Load a graph model.

    Args:
        model: the file's topology and manifest.
        options: thread counts.

    Raises:
        ModelFailedError: graph, signature or weights are damaged, or an operation is not allowed.
        RuntimeMissingError: TensorFlow is not installed.
        OutOfMemoryError: the model does not fit.
    """
    tf = tensorflow(options)
    return load_frozen(tf, read_graph_model(tf, model), options)


def read_graph_model(tf: Any, model: ModelJson) -> FrozenModel:
    """The frozen graph of ``model`` with its signature. Raises what ``load_graph_model`` raises."""
    weights = read_weights(model)
    graph_def = parse_graph(tf, model.topology, "modelTopology")
    check_names(graph_def)
    filling = _join_initializer(tf, graph_def, model, weights)
    endpoints = find_endpoints(graph_def, model.document)
    graph_def, reached = _prune(graph_def, [*endpoints.nodes, *filling])
    check_reached(reached)
    check_fed(endpoints, reached)
    frozen, weights_bytes = _freeze(graph_def, weights)
    if not is_complete(endpoints):
        endpoints = _complete(tf, endpoints, frozen)
    return FrozenModel(frozen, bind(endpoints), lambda session: _fill_tables(session, filling), weights_bytes)


def _join_initializer(tf: Any, graph_def: Any, model: ModelJson, weights: dict[str, Array]) -> list[str]:
    """Add the initializer's nodes to the graph and its constants to ``weights``; the nodes that fill tables."""
    document = model.document
    if not document.get("modelInitializer"):
        return []
    initializer = parse_graph(tf, document["modelInitializer"], "modelInitializer")
    outputs = declared_signature({"signature": document.get("initializerSignature")})["outputs"]
    captured = captured_tables(graph_def, initializer, declared_signature(document)["inputs"], outputs)
    added = add_initializer(graph_def, initializer, captured)
    weights.update({name: weights[told] for name, told in added.constants.items() if told in weights})
    return added.filling


def _prune(graph_def: Any, roots: list[str]) -> tuple[Any, Reached]:
    """What ``roots`` depend on, in the order of the file, and the same as nodes and functions."""
    names = {node.name for node in reached_from(graph_def, roots).nodes}
    part = empty_like(graph_def)
    part.node.extend(node for node in graph_def.node if node.name in names)
    part.library.CopyFrom(graph_def.library)
    keep_only(part, reached_from(graph_def, roots))
    return part, reached_from(part, roots)


def _freeze(graph_def: Any, weights: dict[str, Array]) -> tuple[FrozenGraph, int]:
    """The graph ready to be imported, and the bytes of its parameters."""
    constants = fill_constants(graph_def.node, weights)
    weights_bytes = total_bytes(constants.values())
    for function in graph_def.library.function:
        weights_bytes += total_bytes(fill_constants(function.node_def, weights, function.signature.name).values())
    expand_own_operations(graph_def)
    isolate_tables(graph_def)
    pad_pointwise_convolutions(graph_def)
    return set_aside(graph_def, constants), weights_bytes


def _complete(tf: Any, endpoints: Endpoints, frozen: FrozenGraph) -> Endpoints:
    """What the file does not say about its outputs, as TensorFlow infers it."""
    try:
        with tf.Graph().as_default() as graph:
            import_frozen(tf, frozen)
        return complete(endpoints, graph)
    except TensorhostError:
        raise
    except Exception as error:  # border of a load attempt: a damaged graph raises anything
        raise load_error(tf, error) from error


def _fill_tables(session: Any, filling: list[str]) -> None:
    if filling:
        session.run([session.graph.get_operation_by_name(name) for name in filling])
