"""Layers of TensorFlow.js around recurrent ones: embeddings, masks, a layer for each step, recurrent convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.runtimes.tfjs.layers_config import LayerConfig
from tensorhost.runtimes.tfjs.layers_graph import PER_STEP, Masked, Tensor, Unit, first_mask, no_mask, visible_mask
from tensorhost.runtimes.tfjs.layers_images import convolution_settings
from tensorhost.runtimes.tfjs.layers_maker import Make, Maker, one_to_one
from tensorhost.runtimes.tfjs.layers_recurrent import check_recurrent, gates


def time_distributed(layer: LayerConfig, maker: Maker, make_inner: Make) -> Unit:
    """The inner layer on all steps of all rows at once: no layer mixes rows when it does not train.

    ``make_inner`` makes the layer that is called for each step, of whatever class it is.
    """
    (inner,) = layer.parts
    unit = make_inner(inner, maker.under(*(maker.scope or (layer.name,))))
    tf = maker.tf

    def unfolded(pair: list[Any]) -> Any:
        steps, whole = pair
        return tf.reshape(steps, tf.concat([tf.shape(whole)[:2], tf.shape(steps)[1:]], 0))

    def call(inputs: list[Tensor], masked: Masked | None) -> list[Tensor]:
        (tensor,) = inputs
        if len(tensor.shape) < 3:
            raise layer.settings.unsupported("needs an input with a dimension for time")
        folded = maker.op(lambda x: tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0)), tensor)
        inside = Masked(PER_STEP) if masked is not None and masked.mask is not None else None
        (result,) = unit.call([folded], inside)
        return [maker.op(unfolded, [result, tensor])]

    return Unit(call, first_mask)


def _embedding(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    tf = maker.tf
    embed = maker.keras.layers.Embedding(
        settings.whole("input_dim"),
        settings.whole("output_dim"),
        mask_zero=False,
        name=maker.name(),
        **maker.weights(layer, "embeddings"),
    )

    def mask(inputs: list[Tensor], _masks: list[Any]) -> Any:
        return maker.op(lambda x: tf.not_equal(x, tf.zeros([], x.dtype)), inputs[0])

    return Unit(one_to_one(embed), mask if settings.flag("mask_zero") else no_mask)


def _masking(layer: LayerConfig, maker: Maker) -> Unit:
    value = layer.settings.number("mask_value", 0.0)
    tf = maker.tf

    def is_step(tensor: Any) -> Any:
        return tf.reduce_any(tf.not_equal(tensor, tf.cast(value, tensor.dtype)), -1)

    def mask(inputs: list[Tensor], _masks: list[Any]) -> Any:
        return maker.op(is_step, inputs[0])

    return Unit(one_to_one(lambda x: maker.op(lambda y: y * tf.cast(is_step(y), y.dtype)[..., None], x)), mask)


def _conv_lstm(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    check_recurrent(layer, maker)
    arguments = convolution_settings(settings, 2)
    weights = maker.weights(layer, "kernel", "recurrent_kernel", *(["bias"] if arguments["use_bias"] else []))
    if settings.flag("return_state"):
        raise settings.unsupported("returns its states, whose shapes TensorFlow.js gets wrong")
    loop = maker.keras.layers.ConvLSTM2D(
        settings.whole("filters"),
        dilation_rate=settings.spatial("dilation_rate", 2, 1),
        unit_forget_bias=False,
        return_sequences=settings.flag("return_sequences"),
        go_backwards=settings.flag("go_backwards"),
        name=maker.name(),
        **arguments,
        **gates(settings, maker),
        **weights,
    )

    is_first = settings.channels_first()
    tf = maker.tf

    def call(inputs: list[Tensor], masked: Masked | None) -> list[Tensor]:
        if visible_mask(layer, masked) is not None or len(inputs) != 1:
            raise settings.unsupported("gets a mask or initial states, which TensorFlow.js does not execute")
        if not is_first:
            return [loop(inputs[0])]
        result = loop(maker.op(lambda x: tf.transpose(x, [0, 1, 3, 4, 2]), inputs[0]))
        to_first = [0, 1, 4, 2, 3] if len(result.shape) == 5 else [0, 3, 1, 2]
        return [maker.op(lambda x: tf.transpose(x, to_first), result)]

    return Unit(call)


SEQUENCES: Mapping[str, Make] = {
    "ConvLSTM2D": _conv_lstm,
    "Embedding": _embedding,
    "Masking": _masking,
}
"""How each class of layer is made. TimeDistributed is made by ``time_distributed``."""
