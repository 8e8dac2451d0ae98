"""Recurrent layers of TensorFlow.js: cells of Keras in Keras' loop, forwards, backwards, both.

Where a mask is in force, the cell is wrapped in one that does what TensorFlow.js does with a step that is masked: it
shows the state, and keeps it. (Keras shows what it showed before, which differs as long as nothing was.)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from tensorhost.runtimes.tfjs.layers_config import LayerConfig
from tensorhost.runtimes.tfjs.layers_graph import Masked, Tensor, Unit, first_mask, no_mask, visible_mask
from tensorhost.runtimes.tfjs.layers_maker import Make, Maker
from tensorhost.runtimes.tfjs.layers_settings import Settings

_CELL_OF = {"SimpleRNN": "SimpleRNNCell", "GRU": "GRUCell", "LSTM": "LSTMCell"}
_MERGE_MODES = frozenset({"concat", "sum", "mul", "ave"})


def _cell(layer: LayerConfig, maker: Maker, kind: str) -> Any:
    """A cell of Keras: ``kind`` is SimpleRNNCell, GRUCell or LSTMCell."""
    settings = layer.settings
    use_bias = settings.flag("use_bias", True)
    weights = maker.weights(layer, "kernel", "recurrent_kernel", *(["bias"] if use_bias else []))
    arguments: dict[str, Any] = {"use_bias": use_bias, "name": maker.name(), **weights}
    units = settings.whole("units")
    if kind == "SimpleRNNCell":
        activation = maker.activation(settings, default="tanh")
        return maker.keras.layers.SimpleRNNCell(units, activation=activation, **arguments)
    arguments |= gates(settings, maker)
    if kind == "GRUCell":
        return maker.keras.layers.GRUCell(units, reset_after=settings.flag("reset_after"), **arguments)
    return maker.keras.layers.LSTMCell(units, unit_forget_bias=False, **arguments)


def gates(settings: Settings, maker: Maker) -> dict[str, Any]:
    """The activations of a cell with gates, as arguments for Keras."""
    return {
        "activation": maker.activation(settings, default="tanh"),
        "recurrent_activation": maker.activation(settings, "recurrent_activation", "hard_sigmoid"),
    }


def _cells(layer: LayerConfig, maker: Maker) -> list[Any]:
    """The cells of a recurrent layer, the first to see the input first."""
    scope = maker.scope or (layer.name,)
    if layer.kind != "RNN":
        return [_cell(layer, maker, _CELL_OF[layer.kind])]
    inner = layer.parts
    if len(inner) == 1 and inner[0].kind == "StackedRNNCells":
        inner = inner[0].parts
    elif len(inner) == 1:
        return [_cell(inner[0], maker.under(*scope), inner[0].kind)]
    if any(cell.kind == "StackedRNNCells" for cell in inner):
        raise layer.settings.unsupported("has stacked cells within stacked cells")
    return [_cell(cell, maker.under(*scope, f"RNNCell_{index}"), cell.kind) for index, cell in enumerate(inner)]


def _recurrent(layer: LayerConfig, maker: Maker) -> Unit:
    return _recurrent_direction(layer, maker, reverse=False)


def _recurrent_direction(layer: LayerConfig, maker: Maker, *, reverse: bool) -> Unit:
    settings = layer.settings
    check_recurrent(layer, maker)
    cells = _cells(layer, maker)
    cell = cells[0] if len(cells) == 1 else maker.keras.layers.StackedRNNCells(cells, name=maker.name())
    loop = partial(
        maker.keras.layers.RNN,
        return_sequences=settings.flag("return_sequences"),
        return_state=True,
        go_backwards=settings.flag("go_backwards") != reverse,
    )
    plain = loop(cell, name=maker.name())
    with_mask = loop(_masked_cell(maker, cell), name=maker.name())
    returns_state = settings.flag("return_state")
    tf = maker.tf

    def with_mask_as_feature(pair: list[Any]) -> Any:
        sequence, mask = pair
        return tf.concat([sequence, tf.cast(mask, sequence.dtype)[..., None]], -1)

    def call(inputs: list[Tensor], masked: Masked | None) -> list[Tensor]:
        sequence, *states = inputs
        mask = visible_mask(layer, masked)
        initial = _grouped(settings, cells, states) if states else None
        if not plain.built:  # through the mask's cell it would be built for one feature too many
            plain.build(tuple(sequence.shape))
        if mask is None:
            outputs = plain(sequence, initial_state=initial)
        else:
            outputs = with_mask(maker.op(with_mask_as_feature, [sequence, mask]), initial_state=initial)
        result, *nested = outputs
        return [result, *_flat(maker, cells, nested)] if returns_state else [result]

    return Unit(call, first_mask if settings.flag("return_sequences") else no_mask)


def check_recurrent(layer: LayerConfig, maker: Maker) -> None:
    """Raise UnsupportedModelError for a layer that remembers from one call of the model to the next."""
    settings = layer.settings
    maker.ignores(settings, time_major=False)
    if settings.flag("stateful"):
        raise settings.unsupported("is stateful: each answer would depend on the requests before")


def _states_of(cell: Any) -> int:
    return len(cell.state_size) if isinstance(cell.state_size, list | tuple) else 1


def _grouped(settings: Settings, cells: list[Any], states: list[Tensor]) -> list[Any]:
    """States as Keras has them, by cell, from those of TensorFlow.js, where the last cell's come first."""
    if len(states) != sum(_states_of(cell) for cell in cells):
        raise settings.unsupported(f"gets {len(states)} initial states, which is not the number it has")
    if len(cells) == 1:
        return states
    left = iter(states)
    groups = [[next(left) for _ in range(_states_of(cell))] for cell in reversed(cells)]
    return [group if len(group) > 1 else group[0] for group in reversed(groups)]


def _flat(maker: Maker, cells: list[Any], nested: list[Any]) -> list[Tensor]:
    """The inverse of ``_grouped``."""
    if len(cells) == 1:
        return list(maker.keras.tree.flatten(nested))
    return [state for group in reversed(nested) for state in maker.keras.tree.flatten(group)]


def _masked_cell(maker: Maker, cell: Any) -> Any:
    """``cell`` for inputs that have the mask as one more feature, the last."""
    keras = maker.keras
    base = keras.layers.Layer

    class MaskedCell(base):  # type: ignore[misc, valid-type]  # Keras has no types
        """Computes ``cell`` where the mask is 1 and keeps the states where it is 0."""

        def __init__(self) -> None:
            super().__init__(name=maker.name())
            self.cell = cell
            self.state_size = cell.state_size
            self.output_size = cell.output_size

        def build(self, _shape: Any) -> None:
            self.built = True

        def get_initial_state(self, batch_size: Any = None) -> Any:
            return self.cell.get_initial_state(batch_size=batch_size)

        def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, Any]:  # noqa: FBT001, FBT002
            step, mask = inputs[..., :-1], inputs[..., -1:]
            output, after = self.cell(step, states, training=training)
            before = keras.tree.flatten(states)
            kept = [new * mask + old * (1.0 - mask) for new, old in zip(keras.tree.flatten(after), before, strict=True)]
            shown = keras.tree.flatten(states[-1] if isinstance(cell, keras.layers.StackedRNNCells) else states)[0]
            return output * mask + shown * (1.0 - mask), keras.tree.pack_sequence_as(states, kept)

    return MaskedCell()


def _bidirectional(layer: LayerConfig, maker: Maker) -> Unit:
    (inner,) = layer.parts
    settings = layer.settings
    if inner.kind not in {*_CELL_OF, "RNN"}:
        raise settings.unsupported(f"wraps a layer of the class {inner.kind}")
    mode = "" if settings.is_null("merge_mode") else settings.word("merge_mode", _MERGE_MODES, "concat")
    scope = maker.scope or (layer.name,)
    forward = _recurrent_direction(inner, maker.under(*scope, f"forward_{inner.name}"), reverse=False)
    backward = _recurrent_direction(inner, maker.under(*scope, f"backward_{inner.name}"), reverse=True)
    returns_sequences = inner.settings.flag("return_sequences")
    tf = maker.tf

    def call(inputs: list[Tensor], masked: Masked | None) -> list[Tensor]:
        sequence, *states = inputs
        half = len(states) // 2
        there, *there_states = forward.call([sequence, *states[:half]], masked)
        back, *back_states = backward.call([sequence, *states[half:]], masked)
        if returns_sequences:
            back = maker.op(lambda x: tf.reverse(x, [1]), back)
        outputs = [maker.op(lambda pair: _merge(tf, mode, *pair), [there, back])] if mode else [there, back]
        return [*outputs, *there_states, *back_states]

    return Unit(call, first_mask if returns_sequences else no_mask)


def _merge(tf: Any, mode: str, there: Any, back: Any) -> Any:
    if mode == "concat":
        return tf.concat([there, back], -1)
    if mode == "mul":
        return there * back
    return there + back if mode == "sum" else 0.5 * (there + back)


RECURRENT: Mapping[str, Make] = {
    "Bidirectional": _bidirectional,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "SimpleRNN": _recurrent,
}
"""How each class of layer is made."""
