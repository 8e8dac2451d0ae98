"""Where a value in a graph comes from: a constant, a request, one of the model's own files, or a computation.

Follows a string (the name of a file, as a rule) backwards through operations that hand on what they get, through
calls of functions, and through variables. Works on the protocol buffer alone; nothing is run. What must stay true: in
doubt a value counts as computed, and the work is bounded by the size of the graph, however it is knotted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from tensorhost.runtimes.tensorflow.graph_scan import CALLS, Reached, functions_named_by, node_name

_HANDS_ON = {
    **dict.fromkeys(
        ("EnsureShape", "ExpandDims", "Identity", "PlaceholderWithDefault", "Reshape", "Squeeze"), slice(1)
    ),
    "ConcatV2": slice(-1),
    "Pack": slice(None),
}
"""Operations whose values are those of some of their inputs."""

_FIRST_ARGUMENT = {
    **dict.fromkeys(CALLS, 0),
    **dict.fromkeys(("If", "StatelessIf", "Case", "StatelessCase"), 1),
}
"""Operations that call functions with their own inputs, in order, from this one on. Loops are none of them: what they
pass on may have changed since the first round."""

_ASSIGNS = frozenset(
    {"AssignVariableOp", "ResourceScatterUpdate", "ResourceScatterNdUpdate", "ResourceStridedSliceAssign"}
)
"""Operations that put their last input into the variable that is their first."""

_ANY = ""
_STATED = frozenset({"Const", "Placeholder", "PlaceholderV2"})
_MOST_VALUES = 16
"""Strings of one constant that are looked at; one with more counts as computed besides."""

_MOST_STEPS, _MOST_STEPS_IN_ALL = 2_000, 50_000
"""Tensors looked at for one answer, and for all of one graph; a value further away counts as computed."""

_MOST_STEPS_TO_VARIABLE = 100


class OriginKind(Enum):
    """Who decides on a value: the model's saved files, one that points out of its folder, the graph, whoever sends a
    request, or nobody knows."""

    OWN_FILE = "own file"
    OUTSIDE_FILE = "outside file"
    CONSTANT = "constant"
    REQUEST = "request"
    COMPUTED = "computed"


class Origin(NamedTuple):
    """Where a value comes from; ``value`` is that of a constant."""

    kind: OriginKind
    value: bytes = b""


_COMPUTED = Origin(OriginKind.COMPUTED)


@dataclass(frozen=True)
class GraphPart:
    """A part of a graph that is executed as one: the signatures, the initialiser, or restoring the variables.

    Attributes:
        reached: its nodes and functions.
        requested: nodes outside functions that a request feeds.
        own_files: nodes outside functions that the loader feeds with paths of the model's own files.
        outside_files: those that it feeds with paths out of the model's folder, whatever else it feeds them with.
    """

    reached: Reached
    requested: frozenset[str] = field(default_factory=frozenset)
    own_files: frozenset[str] = field(default_factory=frozenset)
    outside_files: frozenset[str] = field(default_factory=frozenset)

    def places(self) -> Iterator[tuple[str | None, Any]]:
        """Every node with the function it is in; None outside functions."""
        yield from ((None, node) for node in self.reached.nodes)
        for function in self.reached.functions:
            yield from ((function.signature.name, node) for node in function.node_def)

    @cached_property
    def bodies(self) -> Mapping[str | None, Mapping[str, Any]]:
        """Nodes by name, by function."""
        bodies: dict[str | None, dict[str, Any]] = {None: {}}
        for scope, node in self.places():
            bodies.setdefault(scope, {})[node.name] = node
        return bodies

    @cached_property
    def functions(self) -> Mapping[str, Any]:
        """Functions by name."""
        return {function.signature.name: function for function in self.reached.functions}

    @cached_property
    def callers(self) -> Mapping[str, Sequence[tuple[str | None, Any]]]:
        """Nodes that may call a function, with the function they are in, by function."""
        callers: dict[str, list[tuple[str | None, Any]]] = {name: [] for name in self.functions}
        for scope, node in self.places():
            for called in set(functions_named_by(node)) & callers.keys():
                callers[called].append((scope, node))
        return callers


class _Place(NamedTuple):
    """A tensor: its part (by number), the function it is in, and its name there."""

    part: int
    scope: str | None
    source: str


class Origins:
    """Answers where values in some parts of one graph come from. The parts share variables."""

    def __init__(self, parts: Sequence[GraphPart]) -> None:
        self._parts = parts
        self._steps = 0

    def of(self, part: int, scope: str | None, source: str) -> frozenset[Origin]:
        """Everything that may decide on the tensor ``source`` in part number ``part``; never empty."""
        found: set[Origin] = set()
        start = (_Place(part, scope, source), True)
        seen = {start}
        waiting = [start]
        while waiting:
            if len(seen) > _MOST_STEPS or self._steps > _MOST_STEPS_IN_ALL:
                return frozenset(found | {_COMPUTED})
            self._steps += 1
            place, exact = waiting.pop()
            origins, following, still_exact = self._step(place)
            found.update(origin if exact or origin.kind is OriginKind.REQUEST else _COMPUTED for origin in origins)
            for earlier in following:
                if (state := (earlier, exact and still_exact)) not in seen:
                    seen.add(state)
                    waiting.append(state)
        return frozenset(found) or frozenset({_COMPUTED})

    def _step(self, place: _Place) -> tuple[Sequence[Origin], Sequence[_Place], bool]:
        """What is known of ``place``, the tensors it depends on, and whether it is a copy of those."""
        part = self._parts[place.part]
        node = part.bodies.get(place.scope, {}).get(node_name(place.source))
        if origins := _stated(part, place, node):
            return origins, (), True
        if copied := self._before(part, place, node):
            return (), copied, True
        if node is not None and node.op == "ReadVariableOp" and (assigned := self._assigned(place, node)):
            return (), assigned, True
        return (_COMPUTED,), list(self._involved(part, place, node)), False

    def _involved(self, part: GraphPart, place: _Place, node: Any) -> Iterator[_Place]:
        """The tensors that ``place`` may be computed from: the inputs of its node, or of the calls of its function."""
        callers = [(place.scope, node)] if node is not None else part.callers.get(place.scope or "", ())
        for scope, caller in callers:
            yield from (_Place(place.part, scope, name) for name in _data_inputs(caller))

    def _leaves(self, begin: _Place) -> Iterator[Any]:
        """The nodes, or None, that ``begin`` gets its value from unchanged."""
        seen = {begin}
        waiting = [begin]
        while waiting:
            place = waiting.pop()
            part = self._parts[place.part]
            node = part.bodies.get(place.scope, {}).get(node_name(place.source))
            following = self._before(part, place, node) if len(seen) <= _MOST_STEPS_TO_VARIABLE else []
            if not following:
                yield node
            for earlier in following:
                if earlier not in seen:
                    seen.add(earlier)
                    waiting.append(earlier)

    def _before(self, part: GraphPart, place: _Place, node: Any) -> list[_Place]:
        """The tensors that ``place`` is a copy of; none where that cannot be told of all of them."""
        if node is None:
            return self._arguments(part, place)
        if node.op in _HANDS_ON:
            return [place._replace(source=name) for name in _data_inputs(node)[_HANDS_ON[node.op]]]
        if node.op in CALLS and (function := part.functions.get(node.attr["f"].func.name)) is not None:
            index = _output_index(place.source)
            if index < len(function.signature.output_arg):
                result = function.ret[function.signature.output_arg[index].name]
                return [_Place(place.part, function.signature.name, result)]
        return []

    def _arguments(self, part: GraphPart, place: _Place) -> list[_Place]:
        """What an argument of a function stands for, wherever the function is called."""
        function = part.functions.get(place.scope or "")
        names = [argument.name for argument in function.signature.input_arg] if function else []
        if place.source not in names:
            return []
        index = names.index(place.source)
        found: list[_Place] = []
        for scope, call in part.callers[place.scope or ""]:
            inputs = _data_inputs(call)
            first = _first_argument(call, place.scope)
            if first is None or first + index >= len(inputs):
                return []
            found.append(_Place(place.part, scope, inputs[first + index]))
        return found

    def _assigned(self, place: _Place, read: Any) -> list[_Place]:
        """What may have been put into the variable that ``read`` reads; none where that cannot be told."""
        variables = self._variables(place, read)
        if not variables or _ANY in self._assignments or any(name not in self._assignments for name in variables):
            return []
        return [value for variable in variables for value in self._assignments[variable]]

    def _variables(self, place: _Place, node: Any) -> set[str]:
        """The variables that the first input of ``node`` may be a handle of; empty where that cannot be told."""
        variables: set[str] = set()
        for source in _data_inputs(node)[:1]:
            for leaf in self._leaves(place._replace(source=source)):
                if leaf is None or leaf.op != "VarHandleOp":
                    return set()
                variables.add(leaf.attr["shared_name"].s.decode("utf-8", "replace") or leaf.name)
        return variables

    @cached_property
    def _assignments(self) -> Mapping[str, Sequence[_Place]]:
        """By variable, the tensors that are put into it anywhere; under ``_ANY`` those put into nobody knows which."""
        assignments: dict[str, list[_Place]] = {}
        for number, part in enumerate(self._parts):
            for scope, node in part.places():
                if node.op in _ASSIGNS and (inputs := _data_inputs(node)):
                    place = _Place(number, scope, inputs[-1])
                    for variable in self._variables(place, node) or {_ANY}:
                        assignments.setdefault(variable, []).append(place)
        return assignments


def _stated(part: GraphPart, place: _Place, node: Any) -> list[Origin]:
    """What the graph itself says of a tensor; nothing where it is copied or computed from others."""
    if place.scope is None:
        name = node_name(place.source)
        if name in part.outside_files:
            return [Origin(OriginKind.OUTSIDE_FILE)]
        if name in part.own_files:
            return [Origin(OriginKind.OWN_FILE)]
        if name in part.requested:
            return [Origin(OriginKind.REQUEST)]
    if node is None or node.op not in _STATED:
        return []
    if node.op != "Const":
        return [Origin(OriginKind.REQUEST)]
    values = list(node.attr["value"].tensor.string_val[: _MOST_VALUES + 1])
    constants = [Origin(OriginKind.CONSTANT, value) for value in values[:_MOST_VALUES]]
    return constants if constants and len(values) <= _MOST_VALUES else [*constants, _COMPUTED]


def _first_argument(call: Any, function: str | None) -> int | None:
    """The input of ``call`` that becomes the first argument of ``function``; None where it is not called so."""
    if call.op == function:
        return 0
    named = {
        name for value in call.attr.values() for name in (value.func.name, *(each.name for each in value.list.func))
    }
    return _FIRST_ARGUMENT.get(call.op) if function in named else None


def _data_inputs(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]


def _output_index(source: str) -> int:
    """The number of an output: 1 for ``call:1``, and for ``call:output:1`` inside functions."""
    last = source.rsplit(":", 1)[-1] if ":" in source else "0"
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 10 else 0
