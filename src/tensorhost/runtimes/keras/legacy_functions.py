"""What Keras 2 had and Keras 3 has not, registered with Keras under tensorhost's own package name.

Two things only: Keras 2's ``hard_sigmoid``, and a layer that calls one of TensorFlow's own functions, for models that
used such functions between their layers. What must stay true: nothing but the functions of the list below can be
called, and each computes and does nothing else.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from tensorhost.runtimes.keras.package import keras_module

PACKAGE = "tensorhost"
HARD_SIGMOID = f"{PACKAGE}>hard_sigmoid"
TENSORFLOW_CALL = f"{PACKAGE}>TensorFlowCall"
TIME_DISTRIBUTED = f"{PACKAGE}>TimeDistributed"

_OPERATORS = {"__operators__.add": "math.add", "__operators__.eq": "math.equal", "__operators__.ne": "math.not_equal"}
_GET_ITEM = "__operators__.getitem"
_ELEMENT_BY_ELEMENT = (
    "abs acos acosh add add_n asin asinh atan atan2 atanh ceil cos cosh cumprod cumsum divide divide_no_nan equal erf "
    "exp expm1 floor floordiv floormod greater greater_equal is_finite is_inf is_nan l2_normalize less less_equal log "
    "log1p log_sigmoid logical_and logical_not logical_or logical_xor maximum minimum mod multiply multiply_no_nan "
    "negative not_equal pow reciprocal reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max "
    "reduce_mean reduce_min reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul segment_max "
    "segment_mean segment_sum sigmoid sign sin sinh softplus softsign sqrt square squared_difference subtract tan tanh "
    "top_k truediv xdivy xlogy argmax argmin"
)
_OF_NEURAL_NETWORKS = (
    "avg_pool avg_pool2d bias_add conv1d conv2d conv3d crelu depthwise_conv2d depth_to_space elu gelu l2_normalize "
    "leaky_relu local_response_normalization log_softmax max_pool max_pool2d relu relu6 selu sigmoid silu "
    "softmax softplus softsign space_to_depth swish tanh"
)
_ON_ARRAYS = (
    "argsort batch_to_space boolean_mask broadcast_to cast clip_by_value concat convert_to_tensor cumsum einsum "
    "expand_dims eye fill gather gather_nd identity meshgrid norm one_hot ones ones_like pad range rank repeat reshape "
    "reverse roll searchsorted sequence_mask shape size slice sort space_to_batch split squeeze stack "
    "stop_gradient strided_slice tensordot tile transpose unstack where zeros zeros_like "
    "linalg.band_part linalg.diag linalg.diag_part linalg.einsum linalg.inv linalg.l2_normalize linalg.matmul "
    "linalg.matvec linalg.norm linalg.normalize linalg.tensordot linalg.trace "
    "image.central_crop image.flip_left_right image.flip_up_down image.grayscale_to_rgb image.resize "
    "image.rgb_to_grayscale image.rot90 image.per_image_standardization signal.frame signal.rfft signal.stft "
    "signal.hamming_window signal.hann_window "
    "compat.v1.gather compat.v1.nn.softmax compat.v1.shape compat.v1.size compat.v1.squeeze compat.v1.transpose "
    "compat.v1.concat compat.v1.expand_dims compat.v1.reduce_mean compat.v1.reduce_sum compat.v1.reduce_max "
    "compat.v1.image.resize_bilinear compat.v1.image.resize_nearest_neighbor compat.v1.pad"
)
TENSORFLOW_FUNCTIONS = frozenset(
    [_GET_ITEM, *_OPERATORS]
    + [f"math.{name}" for name in _ELEMENT_BY_ELEMENT.split()]
    + [f"nn.{name}" for name in _OF_NEURAL_NETWORKS.split()]
    + _ON_ARRAYS.split()
)
"""TensorFlow functions, without ``tf.``, that a model of Keras 2 may call between its layers."""


@functools.cache
def register_legacy_functions() -> None:
    """Make ``HARD_SIGMOID`` and ``TENSORFLOW_CALL`` known to Keras; may be called as often as one likes.

    Raises RuntimeMissingError when Keras is not installed.
    """
    keras = keras_module()
    register = keras.saving.register_keras_serializable(PACKAGE)
    register(_hard_sigmoid(keras))
    register(_tensorflow_call(keras))
    register(_time_distributed(keras))


def tensorflow_function(tf: Any, name: str) -> Any:
    """The function called ``name``, one of ``TENSORFLOW_FUNCTIONS``.

    Args:
        tf: the ``tensorflow`` module.
        name: as Keras 2 wrote it, such as ``math.multiply``.

    Raises:
        ValueError: a name that is not in the list.
    """
    if name not in TENSORFLOW_FUNCTIONS:
        raise ValueError(f"{name} is not a function that a model may call")
    if name == _GET_ITEM:
        return _get_item
    return functools.reduce(getattr, _OPERATORS.get(name, name).split("."), tf)


def filled(template: Any, tensors: Sequence[Any]) -> Any:
    """The template with the tensors in their places."""
    if isinstance(template, (list, tuple)):
        return [filled(item, tensors) for item in template]
    if not isinstance(template, dict):
        return template
    if "tensor" in template:
        return tensors[template["tensor"]]
    return slice(*filled(template["slice"], tensors)) if "slice" in template else ...


def _get_item(tensor: Any, slice_spec: Any) -> Any:
    return tensor[tuple(slice_spec)] if isinstance(slice_spec, list) else tensor[slice_spec]


def _hard_sigmoid(keras: Any) -> Any:
    def hard_sigmoid(x: Any) -> Any:
        """Keras 2's definition, clip(0.2 x + 0.5, 0, 1); that of Keras 3 is relu6(x + 3) / 6."""
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    return hard_sigmoid


def _tensorflow_call(keras: Any) -> Any:
    import tensorflow as tf  # after Keras, which needs it too

    class TensorFlowCall(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """A layer without weights that calls one TensorFlow function; see ``legacy_calls`` for its settings."""

        def __init__(self, function: str, arguments: Any, keywords: Any, **settings: Any) -> None:
            super().__init__(**{**settings, "autocast": False})
            self.function, self.arguments, self.keywords = function, arguments, keywords
            self._compute = tensorflow_function(tf, function)
            self.built = True

        def call(self, tensors: Any) -> Any:
            arguments = filled(self.arguments, tensors)
            return self._compute(*arguments, **{key: filled(value, tensors) for key, value in self.keywords.items()})

        def get_config(self) -> dict[str, Any]:
            call = {"function": self.function, "arguments": self.arguments, "keywords": self.keywords}
            return {**super().get_config(), **call}

    return TensorFlowCall


def _time_distributed(keras: Any) -> Any:
    class TimeDistributed(keras.layers.TimeDistributed):  # type: ignore[misc]  # Keras has no types
        """Keras 2's: all steps of all rows as one batch. Keras 3.15 loses steps where their number is not fixed."""

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            ops = keras.ops
            rows, steps, *rest = ops.shape(inputs)
            given = {}
            accepted = inspect.signature(self.layer.call).parameters
            if "mask" in accepted and mask is not None:
                given["mask"] = ops.reshape(mask, (-1, *ops.shape(mask)[2:]))
            if "training" in accepted:
                given["training"] = training
            outputs = self.layer(ops.reshape(inputs, (-1, *rest)), **given)
            return ops.reshape(outputs, (rows, steps, *ops.shape(outputs)[1:]))

    return TimeDistributed
