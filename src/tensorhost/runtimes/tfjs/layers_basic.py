"""Layers of TensorFlow.js that see one tensor, but neither its neighbourhoods nor time: dense, activations, shapes.

Each function makes one class of layer, so that it computes what TensorFlow.js computes, also where that is not what
Keras does: Softmax without an axis works along axis 1, Flatten with the channels first moves them last, a setting that
TensorFlow.js does not know changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.runtimes.tfjs.layers_config import LayerConfig
from tensorhost.runtimes.tfjs.layers_graph import Masked, Tensor, Unit, first_mask, visible_mask
from tensorhost.runtimes.tfjs.layers_maker import Make, Maker, one_to_one

_MASKED_OUT = -1e9


def _dense(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    use_bias = settings.flag("use_bias", True)
    dense = maker.keras.layers.Dense(
        settings.whole("units"),
        activation=maker.activation(settings),
        use_bias=use_bias,
        name=maker.name(),
        **maker.weights(layer, "kernel", *(["bias"] if use_bias else [])),
    )
    return Unit(one_to_one(dense), first_mask)


def _activation(layer: LayerConfig, maker: Maker) -> Unit:
    function = maker.activation(layer.settings)
    return Unit(one_to_one(lambda x: maker.op(function, x)), first_mask)


def _relu(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    maker.ignores(settings, negative_slope=0, threshold=0)
    nn = maker.tf.nn
    if not settings.has("max_value"):
        return Unit(one_to_one(lambda x: maker.op(nn.relu, x)), first_mask)
    most = settings.number("max_value")
    return Unit(one_to_one(lambda x: maker.op(lambda y: maker.tf.minimum(nn.relu(y), most), x)), first_mask)


def _leaky_relu(layer: LayerConfig, maker: Maker) -> Unit:
    slope = layer.settings.number("alpha", 0.3)
    return Unit(one_to_one(lambda x: maker.op(lambda y: maker.tf.nn.leaky_relu(y, slope), x)))


def _elu(layer: LayerConfig, maker: Maker) -> Unit:
    if layer.settings.number("alpha", 1.0) != 1.0:
        raise layer.settings.unsupported("has another alpha than 1, which TensorFlow.js does not execute")
    return Unit(one_to_one(lambda x: maker.op(maker.tf.nn.elu, x)))


def _thresholded_relu(layer: LayerConfig, maker: Maker) -> Unit:
    theta = layer.settings.number("theta", 1.0)
    return Unit(one_to_one(lambda x: maker.op(lambda y: y * maker.tf.cast(y > theta, y.dtype), x)))


def _prelu(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    shared = settings.wholes("shared_axes") if settings.has("shared_axes") else None
    prelu = maker.keras.layers.PReLU(shared_axes=shared, name=maker.name(), **maker.weights(layer, "alpha"))
    return Unit(one_to_one(prelu), first_mask)


def _softmax(layer: LayerConfig, maker: Maker) -> Unit:
    """Along axis 1 if the file names none; values where the mask in force is 0 become next to nothing."""
    axes = layer.settings.wholes("axis", (1,), least=-1)
    tf = maker.tf

    def softmax(tensor: Any) -> Any:
        if len(axes) == 1:
            return tf.nn.softmax(tensor, axes[0])
        return tf.exp(tensor - tf.reduce_logsumexp(tensor, axes, keepdims=True))

    def hidden(pair: list[Any]) -> Any:
        tensor, mask = pair
        return tensor + (1.0 - tf.cast(mask, tensor.dtype)) * _MASKED_OUT

    def call(inputs: list[Tensor], masked: Masked | None) -> list[Tensor]:
        (tensor,) = inputs
        mask = visible_mask(layer, masked)
        return [maker.op(softmax, tensor if mask is None else maker.op(hidden, [tensor, mask]))]

    return Unit(call)


def _batch_normalization(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    axes = settings.wholes("axis", (-1,), least=-8)
    if len(axes) != 1:
        raise settings.wrong("axis", "one whole number")
    center, scale = settings.flag("center", True), settings.flag("scale", True)
    names = [*(["gamma"] if scale else []), *(["beta"] if center else []), "moving_mean", "moving_variance"]
    norm = maker.keras.layers.BatchNormalization(
        axis=axes[0],
        epsilon=settings.number("epsilon", 1e-3),
        center=center,
        scale=scale,
        name=maker.name(),
        **maker.weights(layer, *names),
    )
    return Unit(one_to_one(lambda x: norm(x, training=False)), first_mask)


def _layer_normalization(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    axes = settings.wholes("axis", (-1,), least=-8)
    if len(axes) > 1 and list(axes) != sorted(axes):
        raise settings.unsupported("has axes out of order, which TensorFlow.js mixes up")
    center, scale = settings.flag("center", True), settings.flag("scale", True)
    norm = maker.keras.layers.LayerNormalization(
        axis=list(axes),
        epsilon=settings.number("epsilon", 1e-3),
        center=center,
        scale=scale,
        name=maker.name(),
        **maker.weights(layer, *(["gamma"] if scale else []), *(["beta"] if center else [])),
    )
    return Unit(one_to_one(norm), first_mask)


def _unchanged(_layer: LayerConfig, _maker: Maker) -> Unit:
    """Layers that only do something in training."""
    return Unit(one_to_one(lambda x: x), first_mask)


def _flatten(layer: LayerConfig, maker: Maker) -> Unit:
    is_first = layer.settings.channels_first()
    tf = maker.tf

    def flatten(tensor: Any) -> Any:
        if is_first and tensor.shape.rank > 2:
            tensor = tf.transpose(tensor, [0, *range(2, tensor.shape.rank), 1])
        size = tensor.shape[1:].num_elements()
        return tf.reshape(tensor, [-1, size] if size else [tf.shape(tensor)[0], -1])

    return Unit(one_to_one(lambda x: maker.op(flatten, x)))


def _reshape(layer: LayerConfig, maker: Maker) -> Unit:
    shape = tuple(-1 if size is None else size for size in layer.settings.shape("target_shape"))
    return Unit(one_to_one(maker.keras.layers.Reshape(shape, name=maker.name())))


def _permute(layer: LayerConfig, maker: Maker) -> Unit:
    return Unit(one_to_one(maker.keras.layers.Permute(layer.settings.wholes("dims"), name=maker.name())))


def _repeat_vector(layer: LayerConfig, maker: Maker) -> Unit:
    return Unit(one_to_one(maker.keras.layers.RepeatVector(layer.settings.whole("n"), name=maker.name())))


def _rescaling(layer: LayerConfig, maker: Maker) -> Unit:
    scale, offset = layer.settings.number("scale"), layer.settings.number("offset", 0.0)
    tf = maker.tf
    return Unit(one_to_one(lambda x: maker.op(lambda y: tf.cast(y, tf.float32) * scale + offset, x)))


def _category_encoding(layer: LayerConfig, maker: Maker) -> Unit:
    settings = layer.settings
    mode = settings.word("output_mode", {"multi_hot", "one_hot", "count", "int"}, "multi_hot")
    size = settings.whole("num_tokens")
    tf = maker.tf

    def encode(tensor: Any) -> Any:
        index = tf.cast(tensor, tf.int32)
        if mode == "int":
            return index
        # Looking up zeros makes TensorFlow refuse an index that is out of range; a one-hot alone would not.
        checked = tf.one_hot(index, size) + tf.expand_dims(tf.gather(tf.zeros([size]), index), -1)
        return tf.reduce_sum(checked, 1) if mode == "count" else tf.reduce_max(checked, 1)

    def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
        (tensor,) = inputs
        if mode != "int" and (len(tensor.shape) != 2 or (mode == "one_hot" and tensor.shape[1] != 1)):
            raise settings.unsupported("encodes an input of more dimensions than TensorFlow.js does")
        return [maker.op(encode, tensor)]

    return Unit(call)


BASIC: Mapping[str, Make] = {
    "Activation": _activation,
    "AlphaDropout": _unchanged,
    "BatchNormalization": _batch_normalization,
    "CategoryEncoding": _category_encoding,
    "Dense": _dense,
    "Dropout": _unchanged,
    "ELU": _elu,
    "Flatten": _flatten,
    "GaussianDropout": _unchanged,
    "GaussianNoise": _unchanged,
    "LayerNormalization": _layer_normalization,
    "LeakyReLU": _leaky_relu,
    "PReLU": _prelu,
    "Permute": _permute,
    "ReLU": _relu,
    "RepeatVector": _repeat_vector,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "SpatialDropout1D": _unchanged,
    "ThresholdedReLU": _thresholded_relu,
}
"""How each class of layer is made."""
