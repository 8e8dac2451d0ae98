"""Layers of TensorFlow.js that see neighbourhoods: convolution, pooling, padding, resizing.

Tensors whose channels come first are turned around, the layer computed with the channels last, and turned back, as
TensorFlow.js does it; TensorFlow on a CPU can do nothing else. Where TensorFlow.js resizes, it samples at the corners
of pixels and not, like Keras, at their middles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tensorhost.runtimes.tfjs.layers_config import LayerConfig
from tensorhost.runtimes.tfjs.layers_graph import Masked, Tensor, Unit
from tensorhost.runtimes.tfjs.layers_maker import Make, Maker, one_to_one
from tensorhost.runtimes.tfjs.layers_settings import Settings

Function = Callable[[Tensor], Tensor]

_PADDINGS = frozenset({"same", "valid"})


def channels_last(maker: Maker, settings: Settings, function: Function) -> Function:
    """``function``, which wants the channels last, for tensors with the channels where the settings say."""
    if not settings.channels_first():
        return function
    tf = maker.tf

    def turned(tensor: Tensor) -> Tensor:
        rank = len(tensor.shape)
        last = maker.op(lambda x: tf.transpose(x, [0, *range(2, rank), 1]), tensor)
        return maker.op(lambda x: tf.transpose(x, [0, rank - 1, *range(1, rank - 1)]), function(last))

    return turned


def convolution_settings(settings: Settings, rank: int) -> dict[str, Any]:
    """Arguments that all convolutions of Keras share."""
    if settings.whole("groups", 1) != 1:
        raise settings.unsupported("has groups, which TensorFlow.js does not know")
    return {
        "kernel_size": settings.spatial("kernel_size", rank),
        "strides": settings.spatial("strides", rank, 1),
        "padding": settings.word("padding", _PADDINGS, "valid"),
        "data_format": "channels_last",
        "use_bias": settings.flag("use_bias", True),
    }


def _convolution(class_name: str, rank: int) -> Make:
    def make(layer: LayerConfig, maker: Maker) -> Unit:
        settings = layer.settings
        if rank == 1 and settings.channels_first():
            raise settings.unsupported("has the channels first, which TensorFlow.js mixes up in one dimension")
        arguments = convolution_settings(settings, rank)
        arguments["dilation_rate"] = settings.spatial("dilation_rate", rank, 1)
        return _convolved(layer, maker, class_name, arguments, ["kernel"])

    return make


def _transposed(class_name: str, rank: int) -> Make:
    def make(layer: LayerConfig, maker: Maker) -> Unit:
        maker.ignores(layer.settings, dilation_rate=[1] * rank, output_padding=None)
        return _convolved(layer, maker, class_name, convolution_settings(layer.settings, rank), ["kernel"])

    return make


def _depthwise(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    maker.ignores(settings, dilation_rate=[1, 1])
    arguments = _with_equal_strides(settings) | {"depth_multiplier": settings.whole("depth_multiplier", 1)}
    return _convolved(layer, maker, "DepthwiseConv2D", arguments, ["depthwise_kernel"])


def _separable(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    arguments = _with_equal_strides(settings) | {
        "depth_multiplier": settings.whole("depth_multiplier", 1),
        "dilation_rate": settings.spatial("dilation_rate", 2, 1),
    }
    if arguments["use_bias"] and settings.channels_first():
        raise settings.unsupported("has a bias and the channels first, which TensorFlow.js mixes up")
    return _convolved(layer, maker, "SeparableConv2D", arguments, ["depthwise_kernel", "pointwise_kernel"])


def _with_equal_strides(settings: Settings) -> dict[str, Any]:
    arguments = convolution_settings(settings, 2)
    if len(set(arguments["strides"])) > 1:
        raise settings.unsupported("has different strides for rows and columns, which TensorFlow does not execute")
    return arguments


def _convolved(
    layer: LayerConfig, maker: Maker, class_name: str, arguments: dict[str, Any], kernels: list[str]
) -> Unit:
    """A convolution of Keras. The activation sees the channels where the file has them, which decides for softmax.

    Only in a separable convolution does TensorFlow.js apply it before it turns the channels back.
    """
    settings = layer.settings
    activated = maker.activated(settings)
    if class_name != "DepthwiseConv2D":
        arguments = arguments | {"filters": settings.whole("filters")}
    weights = maker.weights(layer, *kernels, *(["bias"] if arguments["use_bias"] else []))
    convolve = getattr(maker.keras.layers, class_name)(name=maker.name(), **arguments, **weights)

    if class_name == "SeparableConv2D":
        return Unit(one_to_one(channels_last(maker, settings, lambda x: activated(convolve(x)))))
    convolve_there = channels_last(maker, settings, convolve)
    return Unit(one_to_one(lambda x: activated(convolve_there(x))))


def _pooling(class_name: str, rank: int) -> Make:
    def make(layer: LayerConfig, maker: Maker) -> Unit:
        settings = layer.settings
        size = settings.spatial("pool_size", rank, 2)
        pool = getattr(maker.keras.layers, class_name)(
            size,
            strides=settings.spatial("strides", rank) if settings.has("strides") else size,
            padding=settings.word("padding", _PADDINGS, "valid"),
            data_format="channels_last",
            name=maker.name(),
        )
        if rank == 1:
            maker.ignores(settings, data_format="channels_last")
            return Unit(one_to_one(pool))
        return Unit(one_to_one(channels_last(maker, settings, pool)))

    return make


def _global_pooling(reduction: str, rank: int) -> Make:
    def make(layer: LayerConfig, maker: Maker) -> Unit:
        settings = layer.settings
        maker.ignores(settings, keepdims=False)
        axes = [2, 3] if rank == 2 and settings.channels_first() else list(range(1, rank + 1))
        tf = maker.tf

        def reduced(tensor: Any) -> Any:
            # TensorFlow's mean of whole numbers is a whole number.
            values = tf.cast(tensor, tf.float32) if reduction == "reduce_mean" else tensor
            return getattr(tf, reduction)(values, axes)

        def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
            (tensor,) = inputs
            if len(tensor.shape) != rank + 2:
                raise settings.unsupported(f"needs an input of {rank + 2} dimensions, not {len(tensor.shape)}")
            return [maker.op(reduced, tensor)]

        return Unit(call)

    return make


def _zero_padding(layer: LayerConfig, maker: Maker) -> Unit:
    margins = layer.settings.margins("padding", 1)
    padding = maker.keras.layers.ZeroPadding2D(margins, data_format="channels_last", name=maker.name())
    return Unit(one_to_one(channels_last(maker, layer.settings, padding)))


def _cropping(layer: LayerConfig, maker: Maker) -> Unit:
    margins = layer.settings.margins("cropping")
    cropping = maker.keras.layers.Cropping2D(margins, data_format="channels_last", name=maker.name())
    return Unit(one_to_one(channels_last(maker, layer.settings, cropping)))


def _up_sampling(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    size = settings.spatial("size", 2, 2)
    is_nearest = settings.word("interpolation", {"nearest", "bilinear"}, "nearest") == "nearest"
    tf = maker.tf

    def resize(tensor: Any) -> Any:
        image = tf.compat.v1.image
        known = [None if side is None else side * factor for side, factor in zip(tensor.shape[1:3], size, strict=True)]
        target = known if None not in known else tf.shape(tensor)[1:3] * tf.constant(size)
        larger = (image.resize_nearest_neighbor if is_nearest else image.resize_bilinear)(tensor, target)
        return tf.ensure_shape(larger, [tensor.shape[0], *known, tensor.shape[3]])

    return Unit(one_to_one(channels_last(maker, settings, lambda x: maker.op(resize, x))))


def _center_crop(layer: LayerConfig, maker: Maker) -> Unit:
    """TensorFlow.js samples a box with nearest neighbours, and moves it by a column when it is in the middle."""
    settings = layer.settings
    height, width = settings.whole("height"), settings.whole("width")
    tf = maker.tf

    def crop(tensor: Any, rows: int, columns: int) -> Any:
        top = (rows - height) // 2
        left = 0 if columns == width else max((columns - width) // 2, 1)
        box = [top / rows, left / columns, (height + top) / rows, (width + left) / columns]
        count = tf.shape(tensor)[0]
        boxes = tf.tile(tf.constant([box], tf.float32), [count, 1])
        cropped = tf.image.crop_and_resize(tensor, boxes, tf.range(count), [height, width], method="nearest")
        return tf.cast(cropped, tensor.dtype)

    def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
        (tensor,) = inputs
        rows, columns = tensor.shape[1:3] if len(tensor.shape) == 4 else (None, None)
        if rows is None or columns is None:
            raise settings.unsupported("crops images of unknown size")
        if height > rows or width > columns:
            raise settings.unsupported("crops to more than there is, which TensorFlow.js does not execute")
        return [maker.op(lambda x: crop(x, rows, columns), tensor)]

    return Unit(call)


IMAGES: Mapping[str, Make] = {
    "AveragePooling1D": _pooling("AveragePooling1D", 1),
    "AveragePooling2D": _pooling("AveragePooling2D", 2),
    "AveragePooling3D": _pooling("AveragePooling3D", 3),
    "CenterCrop": _center_crop,
    "Conv1D": _convolution("Conv1D", 1),
    "Conv2D": _convolution("Conv2D", 2),
    "Conv2DTranspose": _transposed("Conv2DTranspose", 2),
    "Conv3D": _convolution("Conv3D", 3),
    "Conv3DTranspose": _transposed("Conv3DTranspose", 3),
    "Cropping2D": _cropping,
    "DepthwiseConv2D": _depthwise,
    "GlobalAveragePooling1D": _global_pooling("reduce_mean", 1),
    "GlobalAveragePooling2D": _global_pooling("reduce_mean", 2),
    "GlobalMaxPooling1D": _global_pooling("reduce_max", 1),
    "GlobalMaxPooling2D": _global_pooling("reduce_max", 2),
    "MaxPooling1D": _pooling("MaxPooling1D", 1),
    "MaxPooling2D": _pooling("MaxPooling2D", 2),
    "MaxPooling3D": _pooling("MaxPooling3D", 3),
    "SeparableConv2D": _separable,
    "UpSampling2D": _up_sampling,
    "ZeroPadding2D": _zero_padding,
}
"""How each class of layer is made."""
