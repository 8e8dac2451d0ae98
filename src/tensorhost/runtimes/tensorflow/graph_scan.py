"""Reading a GraphDef: what a signature reaches, how big its parameters are, whether it changes its own state or ends.

Works on the protocol buffer alone; nothing is run. What must stay true: in doubt a graph counts as changing state,
since an unfrozen graph is always right and a wrongly frozen one is silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.contents import shown

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Operations that call the function in their attribute ``f``, whatever their inputs are."""

REF_VARIABLE_OPS = frozenset({"Variable", "VariableV2", "TemporaryVariable"})
VARIABLE_OPS = REF_VARIABLE_OPS | {"VarHandleOp"}
_READS = frozenset(
    {
        "ReadVariableOp",
        "ResourceGather",
        "ResourceGatherNd",
        "VariableShape",
        "DisableCopyOnRead",
        "LookupTableFind",
        "LookupTableFindV2",
        "LookupTableSize",
        "LookupTableSizeV2",
    }
)
TABLE_FILLING = ("InitializeTable", "LookupTableImport")
"""How operations begin that are run when a graph is loaded."""

_PER_CALL_STATE = ("TensorArray", "Stack")  # made and used up within one run


@dataclass(frozen=True, slots=True)
class Reached:
    """Nodes and functions that some outputs depend on."""

    nodes: tuple[Any, ...]
    functions: tuple[Any, ...]

    def all_nodes(self) -> Iterator[Any]:
        """Every node, those in function bodies included."""
        return chain(self.nodes, *(function.node_def for function in self.functions))


def reached_from(graph_def: Any, node_names: Iterable[str]) -> Reached:
    """The part of ``graph_def`` that the nodes in ``node_names`` depend on. Unknown names are ignored."""
    nodes = {node.name: node for node in graph_def.node}
    seen: dict[str, Any] = {}
    waiting = list(node_names)
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen[name] = nodes[name]
            waiting.extend(node_name(source) for source in nodes[name].input)
    called = (name for node in seen.values() for name in functions_named_by(node))
    return Reached(tuple(seen.values()), functions_from(graph_def, called))


def functions_from(graph_def: Any, names: Iterable[str]) -> tuple[Any, ...]:
    """The functions of ``graph_def`` in ``names`` and all they call. Unknown names are ignored."""
    library = {function.signature.name: function for function in graph_def.library.function}
    found: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in library and name not in found:
            found[name] = library[name]
            waiting.extend(called for node in library[name].node_def for called in functions_named_by(node))
    return tuple(found.values())


def node_name(source: str) -> str:
    """The node of a tensor or control input: ``^a``, ``a:1`` and ``a`` are all ``a``."""
    return source.removeprefix("^").split(":", 1)[0]


def functions_named_by(node: Any) -> Iterator[str]:
    """The functions ``node`` may call: its operation and what its attributes name, however deep in each other."""
    yield node.op
    waiting = list(node.attr.values())
    while waiting:
        value = waiting.pop()
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                waiting.extend(function.attr.values())


def callee(node: Any) -> str:
    """The function that ``node`` calls whatever its inputs are, or, where it calls none, its operation."""
    return str(node.attr["f"].func.name if node.op in CALLS else node.op)


def refuse_endless_recursion(reached: Reached) -> None:
    """Raise ModelFailedError for a function whose calls lead back to where they came from, whatever its input.

    TensorFlow 2.21 overflows its stack on such a graph and takes the process along. A call that a condition guards
    may end, so it is left alone.
    """
    calls = {function.signature.name: {callee(node) for node in function.node_def} for function in reached.functions}
    waiting = {name: called & calls.keys() for name, called in calls.items()}
    callers: dict[str, list[str]] = {name: [] for name in waiting}
    for name, called in waiting.items():
        for each in called:
            callers[each].append(name)
    ended = [name for name, called in waiting.items() if not called]
    while ended:
        name = ended.pop()
        del waiting[name]
        for caller in callers[name]:
            waiting[caller].discard(name)
            if not waiting[caller]:
                ended.append(caller)
    if waiting:
        raise ModelFailedError(
            f"A call of the graph's function '{shown(min(waiting))}' never ends: functions call each other in a circle."
        )


def changes_state(reached: Reached) -> str | None:
    """The operation that may change state kept between calls, or None when there is none."""
    return next((str(node.op) for node in _changing(reached)), None)


def changes_more_than(reached: Reached, own_variables: frozenset[str]) -> str | None:
    """The same for a model's initialiser, which may fill tables and assign to ``own_variables`` that only it reads."""
    for node in _changing(reached):
        assigns_own = node.op == "AssignVariableOp" and node_name(node.input[0]) in own_variables
        if not assigns_own and not node.op.startswith(TABLE_FILLING):
            return str(node.op)
    return None


def variables_in(reached: Reached) -> frozenset[str]:
    """Names of the nodes outside function bodies that hold variables."""
    return frozenset(node.name for node in reached.nodes if node.op in VARIABLE_OPS)


def _changing(reached: Reached) -> Iterator[Any]:
    registry = _op_registry()
    for node in reached.all_nodes():
        if node.op in _READS or node.op.startswith(_PER_CALL_STATE):
            continue
        definition = registry.get(node.op)
        if definition is not None and any(_takes_handle(argument) for argument in definition.input_arg):
            yield node


def parameter_bytes(reached: Reached) -> int:
    """Bytes of the constants and the variables of known shape; strings count as stored in the file."""
    return sum(_node_bytes(node) for node in reached.all_nodes())


def shape_of(shape: Any) -> tuple[int | None, ...] | None:
    """A TensorShapeProto as sizes with None where unknown; None for unknown rank."""
    if shape.unknown_rank:
        return None
    return tuple(None if dimension.size < 0 else int(dimension.size) for dimension in shape.dim)


def _takes_handle(argument: Any) -> bool:
    from tensorflow.core.framework import types_pb2

    return bool(argument.is_ref) or argument.type == types_pb2.DT_RESOURCE


def _node_bytes(node: Any) -> int:
    if node.op == "Const":
        tensor = node.attr["value"].tensor
        if tensor.tensor_content:
            return len(tensor.tensor_content)
        if tensor.string_val:
            return int(tensor.ByteSize())
        return prod(int(dimension.size) for dimension in tensor.tensor_shape.dim) * _item_bytes(tensor.dtype)
    if node.op in VARIABLE_OPS:
        shape = shape_of(node.attr["shape"].shape)
        if shape is not None and None not in shape:
            return prod(size for size in shape if size is not None) * _item_bytes(node.attr["dtype"].type)
    return 0


def _item_bytes(dtype: int) -> int:
    from tensorflow.python.framework import dtypes

    try:
        return int(dtypes.as_dtype(dtype).base_dtype.size)
    except TypeError:  # no element type, in a damaged graph: refused when it is imported
        return 0


def _op_registry() -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry
