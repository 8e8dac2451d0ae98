"""How a functional layers model says which layer takes its inputs from where. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tfjs.layers_settings import MAX_SIZE, snake_case

_TENSORS_AMONG_SETTINGS = frozenset({"initial_state", "constants", "mask"})


@dataclass(frozen=True, slots=True)
class Reference:
    """One output of one call of a layer: ``layer`` is its key, the calls and the outputs are counted from 0."""

    layer: str
    call: int
    output: int


def calls_of(nodes: Any, name: str) -> tuple[tuple[Reference, ...], ...]:
    """What the layer ``name`` is called with, for each call, from its ``inbound_nodes``.

    Raises:
        UnsupportedModelError: a call takes tensors in another way than as inputs.
        ModelFailedError: the nodes are not lists of ``[layer, call, output]``.
    """
    field = f"inbound_nodes of the layer '{shown(name)}'"
    calls = []
    for node in [] if nodes is None else list_of(nodes, field):
        sources = list_of(node, field)
        if not sources:
            raise ModelFailedError(f"The layer '{shown(name)}' is called with no inputs.")
        calls.append(tuple(reference_to(source, f"The layer '{shown(name)}'") for source in sources))
    return tuple(calls)


def reference_to(value: Any, owner: str) -> Reference:
    """``[layer, call, output]``, maybe with the settings of the call, which TensorFlow.js leaves alone.

    Raises the errors of ``calls_of``, beginning with ``owner``.
    """
    if isinstance(value, list) and len(value) in {3, 4} and isinstance(value[0], str):
        layer, call, output = value[:3]
        if _is_index(call) and _is_index(output):
            _check_call(value[3] if len(value) == 4 else None, owner)
            return Reference(layer, call, output)
    raise ModelFailedError(f"{owner} takes its inputs from something that is not [layer, call, output].")


def object_of(value: Any, owner: str) -> dict[str, Any]:
    """``value``, if it is an object, its keys in snake case."""
    if not isinstance(value, dict):
        raise ModelFailedError(f"{owner} must be an object in the file.")
    return {snake_case(key): item for key, item in value.items()}


def list_of(value: Any, owner: str) -> list[Any]:
    """``value``, if it is a list."""
    if not isinstance(value, list):
        raise ModelFailedError(f"{owner} must be a list in the file.")
    return value


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE


def _check_call(settings: Any, owner: str) -> None:
    if isinstance(settings, dict):
        for key, value in settings.items():
            if value is not None and snake_case(key) in _TENSORS_AMONG_SETTINGS:
                raise UnsupportedModelError(f"{owner} is called with {snake_case(key)} among its settings.")
