"""Which operations of a graph do more than compute, and on what: findings in plain words.

What must stay true: an operation is let off only where every value its file name may have is known to be harmless.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tensorhost.runtimes.contents import Finding, FindingKind, shown
from tensorhost.runtimes.tensorflow.capabilities import CAPABILITIES, HARMLESS, Capability
from tensorhost.runtimes.tensorflow.graph_origins import GraphPart, Origin, OriginKind, Origins
from tensorhost.runtimes.tensorflow.op_packages import package_of

_MOST_TARGETS = 3
_COMPUTED = Origin(OriginKind.COMPUTED)
_FILES = (FindingKind.READS_FILES, FindingKind.WRITES_FILES)
_FILE = ("a file", "name")
_PLACE = ("a place", "address")

_DOES = {
    FindingKind.READS_FILES: "Reads",
    FindingKind.WRITES_FILES: "Writes",
    FindingKind.USES_NETWORK: "Exchanges data with",
}
_WITHOUT_TARGET = {
    FindingKind.READS_FILES: "Reads files.",
    FindingKind.WRITES_FILES: "Writes files.",
    FindingKind.USES_NETWORK: "Exchanges data with other processes or machines.",
    FindingKind.RUNS_PYTHON: "Calls Python code in the server's process.",
    FindingKind.UNKNOWN_CODE: "Runs code that is not part of the graph and cannot be examined.",
    FindingKind.ENDS_PROCESS: "Ends the server's process.",
}


def findings_in(parts: Sequence[GraphPart]) -> list[Finding]:
    """One finding for each operation in ``parts`` that could do more than compute. Needs TensorFlow imported."""
    origins = Origins(parts)
    places: dict[str, set[tuple[str | None, str]]] = defaultdict(set)
    values: dict[str, set[Origin]] = defaultdict(set)
    for number, part in enumerate(parts):
        for scope, node in part.places():
            capability = CAPABILITIES.get(node.op)
            if capability is None:
                continue
            found = _values(origins, number, scope, node, capability)
            if not _is_harmless(node.op, capability, found):
                places[node.op].add((scope, node.name))
                values[node.op] |= found
    known = [
        Finding(CAPABILITIES[op].kind, op, len(nodes), _explain(CAPABILITIES[op], values[op]))
        for op, nodes in places.items()
    ]
    return [*known, *_unknown(parts)]


def _values(origins: Origins, number: int, scope: str | None, node: Any, capability: Capability) -> set[Origin]:
    """Where the argument that ``capability`` names gets its value; nothing where there is no such argument."""
    definition = _op_registry().get(node.op)
    if not capability.argument or definition is None:
        return set()
    # By the operation's own definition: a node may carry attributes that the operation does not have.
    names = [argument.name for argument in definition.input_arg]
    if capability.argument not in names:
        return _attribute(node, capability.argument)
    inputs = [name for name in node.input if not name.startswith("^")]
    index = names.index(capability.argument)
    return set(origins.of(number, scope, inputs[index])) if index < len(inputs) else {_COMPUTED}


def _attribute(node: Any, name: str) -> set[Origin]:
    """The strings of an attribute; nothing for one left out, whose default is harmless for all those that may be."""
    if name not in node.attr:
        return set()
    value = node.attr[name]
    if value.placeholder:  # a parameter of the function it is in
        return {_COMPUTED}
    return {Origin(OriginKind.CONSTANT, text) for text in (value.list.s if value.HasField("list") else [value.s])}


def _is_harmless(op: str, capability: Capability, values: Iterable[Origin]) -> bool:
    if op in HARMLESS and _op_registry().get(op) is not None:
        return all(value.kind is OriginKind.CONSTANT and HARMLESS[op](value.value) for value in values)
    kinds = {value.kind for value in values}
    return capability.kind is FindingKind.READS_FILES and kinds == {OriginKind.OWN_FILE}


def _explain(capability: Capability, values: Iterable[Origin]) -> str:
    verb = _DOES.get(capability.kind)
    targets = list(_targets(_FILE if capability.kind in _FILES else _PLACE, values))
    if verb is None or not targets:
        return _WITHOUT_TARGET[capability.kind]
    named = targets[:_MOST_TARGETS] + (["others"] if len(targets) > _MOST_TARGETS else [])
    listed = ", ".join(named[:-1])
    return f"{verb} {listed} and {named[-1]}." if listed else f"{verb} {named[0]}."


def _targets(words: tuple[str, str], values: Iterable[Origin]) -> Iterator[str]:
    """What an operation works on, worst first."""
    thing, name = words
    kinds = {value.kind for value in values}
    if OriginKind.REQUEST in kinds:
        yield f"{thing} whose {name} comes with the request"
    if OriginKind.OUTSIDE_FILE in kinds:
        yield "a file that the model names and that lies outside its folder"
    if OriginKind.COMPUTED in kinds:
        yield f"{thing} whose {name} is made up while the model runs"
    for constant in sorted(value.value for value in values if value.kind is OriginKind.CONSTANT):
        yield f"'{shown(constant.decode('utf-8', 'replace'))}'"


def _unknown(parts: Sequence[GraphPart]) -> Iterator[Finding]:
    """Operations that TensorFlow does not know, with the modules and libraries loaded so far."""
    registry = _op_registry()
    places: dict[str, set[tuple[str | None, str]]] = defaultdict(set)
    for part in parts:
        for scope, node in part.places():
            if node.op not in part.functions and node.op not in CAPABILITIES and registry.get(node.op) is None:
                places[node.op].add((scope, node.name))
    for op, nodes in places.items():
        package = package_of(op)
        cure = f"it comes with {package}: --import {package}" if package else "it needs --import or --custom-op-library"
        yield Finding(FindingKind.UNKNOWN_CODE, shown(op), len(nodes), f"Not an operation of TensorFlow's own; {cure}.")


def _op_registry() -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry
