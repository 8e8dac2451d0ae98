"""Layers of TensorFlow.js that make one tensor of several: element by element, side by side, or as products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from tensorhost.runtimes.tfjs.layers_config import LayerConfig
from tensorhost.runtimes.tfjs.layers_graph import MADE_BY_MERGING, Masked, Tensor, Unit
from tensorhost.runtimes.tfjs.layers_maker import Make, Maker

_LEAST_SQUARE_SUM = 1e-7


def _merging(combine: Callable[[Any, list[Any]], Any]) -> Make:
    """Layers that combine tensors element by element; those of lower rank get dimensions after the batch."""

    def make(layer: LayerConfig, maker: Maker) -> Unit:
        tf = maker.tf

        def of_rank(tensor: Any, rank: int) -> Any:
            for _ in range(rank - tensor.shape.rank):
                tensor = tf.expand_dims(tensor, 1)
            return tensor

        def merged(tensors: list[Any]) -> Any:
            rank = max(tensor.shape.rank for tensor in tensors)
            return combine(tf, [of_rank(tensor, rank) for tensor in tensors])

        def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
            if len(inputs) < 2:
                raise layer.settings.unsupported("merges fewer than two inputs")
            return [maker.op(merged, inputs)]

        return Unit(call, _merged_mask)

    return make


def _merged_mask(_inputs: list[Tensor], masks: list[Any]) -> Any:
    return MADE_BY_MERGING if any(mask is not None for mask in masks) else None


def _concatenate(layer: LayerConfig, maker: Maker) -> Unit:
    axis = layer.settings.whole("axis", -1, least=-8)
    tf = maker.tf

    def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
        return [maker.op(lambda tensors: tf.concat(tensors, axis), inputs)]

    def mask(inputs: list[Tensor], masks: list[Any]) -> Any:
        there = [mask for mask in masks if mask is not None]
        if not there:
            return None
        if any(mask is MADE_BY_MERGING for mask in there) or len(inputs[0].shape) != 3 or axis not in {-1, 2}:
            return MADE_BY_MERGING
        return maker.op(lambda all_masks: reduce(tf.logical_and, all_masks), there) if there[1:] else there[0]

    return Unit(call, mask)


def _dot(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    axes = settings.wholes("axes", least=-3)
    if len(axes) > 2:
        raise settings.wrong("axes", "one or two whole numbers")
    normalize = settings.flag("normalize")
    tf = maker.tf

    def product(pair: list[Any]) -> Any:
        left, right = pair
        first, second = axes[0] % left.shape.rank, axes[-1] % right.shape.rank
        if normalize:
            left, right = _normalized(tf, left, first), _normalized(tf, right, second)
        others = (
            "bij"[: left.shape.rank].replace("bij"[first], "k"),
            "bmn"[: right.shape.rank].replace("bmn"[second], "k"),
        )
        kept = "".join(letter for letter in "".join(others) if letter not in "bk")
        result = tf.einsum(f"{others[0]},{others[1]}->b{kept}", left, right)
        return result if kept else tf.expand_dims(result, 1)

    def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
        if len(inputs) != 2 or any(not 2 <= len(tensor.shape) <= 3 for tensor in inputs):
            raise settings.unsupported("multiplies something else than two inputs of 2 or 3 dimensions")
        if 0 in {axes[0] % len(inputs[0].shape), axes[-1] % len(inputs[1].shape)}:
            raise settings.unsupported("multiplies along the batch")
        return [maker.op(product, inputs)]

    return Unit(call)


def _normalized(tf: Any, tensor: Any, axis: int) -> Any:
    return tensor / tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(tensor), axis, keepdims=True), _LEAST_SQUARE_SUM))


def _sum(tf: Any, tensors: list[Any]) -> Any:
    return reduce(tf.add, tensors)


MERGING: Mapping[str, Make] = {
    "Add": _merging(_sum),
    "Average": _merging(lambda tf, tensors: _sum(tf, tensors) * (1.0 / len(tensors))),
    "Concatenate": _concatenate,
    "Dot": _dot,
    "Maximum": _merging(lambda tf, tensors: reduce(tf.maximum, tensors)),
    "Minimum": _merging(lambda tf, tensors: reduce(tf.minimum, tensors)),
    "Multiply": _merging(lambda tf, tensors: reduce(tf.multiply, tensors)),
}
"""How each class of layer is made."""
