"""Executing the graph of a layers model, in the order and with the masks of TensorFlow.js.

It is executed twice: on symbolic tensors of Keras, which makes the layers, and on those of TensorFlow while it traces.
Models within the model are not models of Keras: their layers are called again for each call. Layers hand masks on as
TensorFlow.js has it, not as Keras has it: the mask of a layer's first input reaches every layer executed after it,
until another takes its place, whichever way the tensors flow. No tensor carries a mask of Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tfjs.layers_classes import INPUT
from tensorhost.runtimes.tfjs.layers_config import LayerConfig, ModelConfig

MAX_CALLS = 16384
"""Most calls of layers in all, those within models counted each time the model is called."""

Tensor = Any
"""A symbolic tensor of Keras, or one of TensorFlow."""

MADE_BY_MERGING = object()
"""In place of a mask: what TensorFlow.js computes when masks are merged fits no layer that uses masks."""

PER_STEP = object()
"""In place of a mask: one for whole sequences, seen from within a layer that is called for each step of them."""


@dataclass(slots=True)
class Masked:
    """The mask that layers get to see from here on: a tensor, None, or one of the two stand-ins."""

    mask: Any


@dataclass(slots=True)
class Calls:
    """How many calls of layers there were: models that call models that call models add up to many."""

    count: int = 0

    def add(self) -> None:
        """Count one; raise ModelFailedError when there are too many."""
        self.count += 1
        if self.count > MAX_CALLS:
            raise ModelFailedError(f"The model calls its layers more than {MAX_CALLS} times.")


Call = Callable[[list[Tensor], Masked | None], list[Tensor]]
MaskOf = Callable[[list[Tensor], list[Any]], Any]


def no_mask(_inputs: list[Tensor], _masks: list[Any]) -> Any:
    """The mask of the outputs of a layer that does not hand masks on."""
    return None


def first_mask(_inputs: list[Tensor], masks: list[Any]) -> Any:
    """The mask of the outputs of a layer that hands on that of its (first) input."""
    return masks[0]


def visible_mask(layer: LayerConfig, masked: Masked | None) -> Any:
    """The mask that a layer sees which uses masks, or None.

    Raises:
        UnsupportedModelError: TensorFlow.js gives it one that fits no sequence.
    """
    mask = None if masked is None else masked.mask
    if mask is MADE_BY_MERGING:
        raise layer.settings.unsupported("gets a mask that went through a merging layer, which TensorFlow.js garbles")
    if mask is PER_STEP:
        raise layer.settings.unsupported("lies in a TimeDistributed whose input is masked")
    return mask


@dataclass(frozen=True, slots=True)
class Unit:
    """A layer that can be called: outputs from inputs and the mask in force, and the mask of the outputs."""

    call: Call
    mask: MaskOf = no_mask


Make = Callable[[LayerConfig], Unit]


class Graph:
    """A model whose layers are made once and can be called any number of times.

    Args:
        config: the model.
        make: gives the unit of a layer that is not an input; called once for each that is reached.
        calls: counts the calls of this model and of those around it.
    """

    def __init__(self, config: ModelConfig, make: Make, calls: Calls) -> None:
        self._config = config
        self._make = make
        self._calls = calls
        self._units: dict[str, Unit] = {}
        self._order = list(_execution_order(config))

    def __call__(self, inputs: Sequence[Tensor], masked: Masked | None = None) -> list[Tensor]:
        """The outputs for ``inputs``; ``masked`` is the mask in force, changed when another comes into force."""
        config = self._config
        if len(inputs) != len(config.inputs):
            raise ModelFailedError(f"A model with {len(config.inputs)} inputs is called with {len(inputs)}.")
        values = {(key, 0): [tensor] for key, tensor in zip(config.inputs, inputs, strict=True)}
        masks: dict[tuple[str, int], Any] = {}
        for key, call in self._order:
            sources = config.layers[key].calls[call]
            arguments = [_output(values, source.layer, source.call, source.output) for source in sources]
            coming = [masks.get((source.layer, source.call)) for source in sources]
            if any(mask is not None for mask in coming):
                masked = masked or Masked(None)
                masked.mask = coming[0]
            self._calls.add()
            unit = self._unit(key)
            values[key, call] = unit.call(arguments, masked)
            masks[key, call] = unit.mask(arguments, coming)
        return [_output(values, output.layer, output.call, output.output) for output in config.outputs]

    def _unit(self, key: str) -> Unit:
        if key not in self._units:
            self._units[key] = self._make(self._config.layers[key])
        return self._units[key]


def _output(values: dict[tuple[str, int], list[Tensor]], key: str, call: int, output: int) -> Tensor:
    tensors = values.get((key, call))
    if tensors is None:
        raise ModelFailedError(f"The input layer '{shown(key)}' is not among the inputs of its model.")
    if output >= len(tensors):
        raise ModelFailedError(f"A layer takes output {output} of '{shown(key)}', which has {len(tensors)}.")
    return tensors[output]


def _execution_order(config: ModelConfig) -> Iterator[tuple[str, int]]:
    """The calls that the outputs need, each after those it needs itself; of its inputs the last comes first.

    That is the order in which TensorFlow.js executes them, which decides what mask a layer sees.
    """
    done: set[tuple[str, int]] = set()
    for output in config.outputs:
        entered: set[tuple[str, int]] = set()
        stack = [(output.layer, output.call)]
        while stack:
            node = stack[-1]
            layer = config.layers[node[0]]
            if node in done or layer.kind == INPUT:
                stack.pop()
                continue
            if node in entered:
                stack.pop()
                done.add(node)
                yield node
                continue
            entered.add(node)
            needed = [(source.layer, source.call) for source in layer.calls[node[1]]]
            waiting = [source for source in needed if source not in done]
            if any(source in entered for source in waiting):
                raise ModelFailedError(f"The layer '{shown(layer.name)}' is part of a circle.")
            stack.extend(waiting)
