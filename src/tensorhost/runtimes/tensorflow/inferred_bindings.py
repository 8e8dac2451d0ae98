"""The one signature of a graph that does not describe itself: named by the operator, or found by looking.

Element types and shapes are TensorFlow's own, from a copy of the graph that is never run and holds no large weights.
What must stay true: a signature made here can be called; a graph that needs a value nobody can give is refused.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import MisconfiguredModelError, ModelFailedError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Shape, TensorSpec
from tensorhost.runtimes.tensorflow.graph_freeze import FrozenGraph
from tensorhost.runtimes.tensorflow.graph_import import empty_like, import_in_pieces
from tensorhost.runtimes.tensorflow.graph_scan import node_name
from tensorhost.runtimes.tensorflow.signature_defs import Bindings, BoundSignature

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
_NEVER_OUTPUTS = _PLACEHOLDERS | {"PlaceholderWithDefault", "Const", "NoOp"}
_MOST_SUGGESTIONS = 3


def bind_graph(
    tf: Any,
    frozen: FrozenGraph,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    origin: str = "[graph] in model.toml",
) -> Bindings:
    """The signature ``serving_default`` of ``frozen``.

    Args:
        tf: the ``tensorflow`` module.
        frozen: the graph.
        inputs: public name to tensor name (``image`` or ``image:0``); empty to take every placeholder that the
            outputs depend on.
        outputs: the same; empty to take the outputs of all nodes that no other node reads.
        origin: where the names are from, for messages.

    Raises:
        MisconfiguredModelError: a tensor that is not in the graph, with the names most like it; a tensor of an
            element type that no request can carry; a placeholder that is needed and not among the inputs.
        ModelFailedError: nothing in the graph can be an output.
        Exception: what TensorFlow raises for a graph that is not valid.
    """
    graph = _imported(tf, frozen)
    fetches = {name: _tensor(graph, tensor, origin, "outputs") for name, tensor in outputs.items()}
    fetches = fetches or dict(_unread_tensors(graph, frozen.graph_def))
    if not fetches:
        raise ModelFailedError("The graph has no output: every node is read by another one.")
    feeds = {name: _tensor(graph, tensor, origin, "inputs") for name, tensor in inputs.items()}
    reached = _reached(fetches.values(), {tensor.name for tensor in feeds.values()})
    needed = [node.name for node in frozen.graph_def.node if node.op in _PLACEHOLDERS and node.name in reached]
    if not inputs:
        feeds = {name: graph.get_tensor_by_name(f"{name}:0") for name in needed}
    elif needed:
        names = ", ".join(f"'{name}'" for name in needed)
        raise MisconfiguredModelError(
            f"{origin}: the outputs depend on {names} too, which the inputs leave out.", details={"missing": needed}
        )
    signature = Signature(
        DEFAULT_SIGNATURE,
        {name: _spec("input", name, tensor, origin) for name, tensor in feeds.items()},
        {name: _spec("output", name, tensor, origin) for name, tensor in fetches.items()},
    )
    return Bindings(
        (
            BoundSignature(
                signature,
                tuple(tensor.name for tensor in feeds.values()),
                tuple(tensor.name for tensor in fetches.values()),
            ),
        ),
        {},
    )


def _imported(tf: Any, frozen: FrozenGraph) -> Any:
    """A graph like ``frozen``, placeholders of the same shape in place of its large weights."""
    from tensorflow.python.framework import dtypes

    weights = empty_like(frozen.graph_def)
    for name, weight in frozen.weights.items():
        node = weights.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = dtypes.as_dtype(weight.dtype).as_datatype_enum
        for size in weight.shape:
            node.attr["shape"].shape.dim.add().size = size
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(weights, name="")
        import_in_pieces(tf, frozen.graph_def)
    return graph


def _unread_tensors(graph: Any, graph_def: Any) -> Iterator[tuple[str, Any]]:
    """What nobody reads and a response can carry, by public name: ``node``, ``node:1`` for what follows the first."""
    read = {node_name(source) for node in graph_def.node for source in node.input}
    for node in graph_def.node:
        if node.op in _NEVER_OUTPUTS or node.name in read:
            continue
        for tensor in graph.get_operation_by_name(node.name).outputs:
            if _dtype(tensor) is not None:
                yield tensor.name.removesuffix(":0"), tensor


def _reached(fetches: Iterable[Any], fed: set[str]) -> set[str]:
    """Names of the nodes that run for ``fetches``: neither fed themselves nor behind what is."""
    seen: set[str] = set()
    waiting = [tensor.op for tensor in fetches if tensor.name not in fed]
    while waiting:
        operation = waiting.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            waiting.extend(tensor.op for tensor in operation.inputs if tensor.name not in fed)
            waiting.extend(operation.control_inputs)
    return seen


def _tensor(graph: Any, name: str, origin: str, part: str) -> Any:
    """The tensor called ``name`` in ``graph``; a node's name stands for its first output."""
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError, TypeError) as error:
        raise _no_such_tensor(graph, name, origin, part) from error


def _no_such_tensor(graph: Any, name: str, origin: str, part: str) -> MisconfiguredModelError:
    wanted = node_name(name)
    names = _names_like(wanted, [operation.name for operation in graph.get_operations()])
    if wanted in names:
        hint = f"outputs of '{wanted}': {len(graph.get_operation_by_name(wanted).outputs)}"
    else:
        hint = "names like it: " + (", ".join(f"'{like}'" for like in names) or "none")
    return MisconfiguredModelError(
        f"{origin}: {part} names '{name}', which is not in the graph; {hint}.",
        details={"tensor": name, "suggestions": names},
    )


def _names_like(wanted: str, names: list[str]) -> list[str]:
    """At most three of ``names``: ``wanted`` itself, else those that end alike, else those spelt alike."""
    if wanted in names:
        return [wanted]
    by_ending: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_ending[name.rpartition("/")[2]].append(name)
    same_ending = by_ending.get(wanted.rpartition("/")[2], [])
    return (same_ending or difflib.get_close_matches(wanted, names, _MOST_SUGGESTIONS))[:_MOST_SUGGESTIONS]


def _spec(kind: str, name: str, tensor: Any, origin: str) -> TensorSpec:
    dtype = _dtype(tensor)
    if dtype is None:
        raise MisconfiguredModelError(
            f"{origin}: the {kind} '{name}' has the element type {tensor.dtype.name}, which no request can carry."
        )
    shape: Shape | None = None if tensor.shape.rank is None else tuple(tensor.shape)
    return TensorSpec(name, dtype, shape)


def _dtype(tensor: Any) -> DType | None:
    try:
        return DType(tensor.dtype.name)
    except ValueError:
        return None
