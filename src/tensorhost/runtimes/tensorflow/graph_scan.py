"""Reading a GraphDef: what a signature reaches, how big its parameters are, whether it changes its own state.

Works on the protocol buffer alone; nothing is run. What must stay true: in doubt a graph counts as changing state,
since an unfrozen graph is always right and a wrongly frozen one is silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

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
_TABLE_FILLING = ("InitializeTable", "LookupTableImport")
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
    library = {function.signature.name: function for function in graph_def.library.function}
    seen: dict[str, Any] = {}
    waiting = list(node_names)
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen[name] = nodes[name]
            waiting.extend(node_name(source) for source in nodes[name].input)
    functions: dict[str, Any] = {}
    unread = list(seen.values())
    while unread:
        for called in functions_named_by(unread.pop()):
            if called in library and called not in functions:
                functions[called] = library[called]
                unread.extend(library[called].node_def)
    return Reached(tuple(seen.values()), tuple(functions.values()))


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


def changes_state(reached: Reached) -> str | None:
    """The operation that may change state kept between calls, or None when there is none."""
    return next((str(node.op) for node in _changing(reached)), None)


def changes_more_than(reached: Reached, own_variables: frozenset[str]) -> str | None:
    """The same for a model's initialiser, which may fill tables and assign to ``own_variables`` that only it reads."""
    for node in _changing(reached):
        assigns_own = node.op == "AssignVariableOp" and node_name(node.input[0]) in own_variables
        if not assigns_own and not node.op.startswith(_TABLE_FILLING):
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

    return int(dtypes.as_dtype(dtype).base_dtype.size)


def _op_registry() -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry
