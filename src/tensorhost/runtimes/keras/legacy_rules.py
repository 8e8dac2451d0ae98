"""What is translated in the settings of single classes of layers, beyond what holds for all. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.contents import shown

Config = dict[str, Any]


def unsupported(class_name: str, name: str, reason: str) -> UnsupportedModelError:
    """The error for a layer, by its class and name, that Keras 3 cannot compute."""
    return UnsupportedModelError(
        f"The layer '{shown(name)}' ({class_name}) of this Keras 2 model cannot be executed: {reason}. "
        "Export the model as a SavedModel with the Keras it was made with.",
        details={"layer": shown(name), "class": class_name},
    )


def not_registered(needed: str, name: str) -> UnsupportedModelError:
    """The error for a class or function that is neither Keras's nor registered, and the layer that needs it."""
    who = f"The layer '{shown(name)}'" if name else "The model"
    return UnsupportedModelError(
        f"{who} needs '{shown(needed)}', a class or function that Keras itself does not have. Name the module that "
        "registers it (with keras.saving.register_keras_serializable) by --import or by imports in model.toml.",
        details={"layer": shown(name), "needs": shown(needed)},
    )


def _without(config: Config, *keys: str) -> Config:
    return {key: value for key, value in config.items() if key not in keys}


def _batch_normalization(class_name: str, config: Config) -> tuple[str, Config]:
    axis = config.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    if len(axes) != 1:
        raise unsupported(class_name, str(config.get("name")), f"it normalises over the axes {axes}")
    return class_name, {**config, "axis": axes[0]}


def _identity(class_name: str, config: Config) -> tuple[str, Config]:  # noqa: ARG001
    """Layers that only note their input for training."""
    return "Identity", {key: value for key, value in config.items() if key in ("name", "dtype")}


def _gru(class_name: str, config: Config) -> tuple[str, Config]:
    return class_name, {"reset_after": False, **_without(config, "input_dim", "input_length")}


def _recurrent(class_name: str, config: Config) -> tuple[str, Config]:
    return class_name, _without(config, "input_dim", "input_length")


def _cudnn(class_name: str, config: Config) -> tuple[str, Config]:
    """Layers for a GPU, which compute what the ordinary ones do with these settings."""
    modern = {**config, "activation": "tanh", "recurrent_activation": "sigmoid"}
    return ("GRU", {**modern, "reset_after": True}) if class_name == "CuDNNGRU" else ("LSTM", modern)


def _embedding(class_name: str, config: Config) -> tuple[str, Config]:
    return class_name, _without(config, "input_length", "sparse")


def _leaky_relu(class_name: str, config: Config) -> tuple[str, Config]:
    slope = config.get("alpha", config.get("negative_slope", 0.3))
    return class_name, {**_without(config, "alpha"), "negative_slope": slope}


def _thresholded_relu(class_name: str, config: Config) -> tuple[str, Config]:  # noqa: ARG001
    return "ReLU", {**_without(config, "theta"), "threshold": config.get("theta", 1.0)}


def _ungrouped(class_name: str, config: Config) -> tuple[str, Config]:
    if config.get("groups", 1) != 1:
        raise unsupported(class_name, str(config.get("name")), "Keras 3 has no groups for it")
    if class_name.endswith("Transpose"):
        return class_name, _without(config, "groups")
    without = _without(config, "groups", "kernel_initializer")
    return class_name, _without(without, "filters") if class_name.startswith("Depthwise") else without


def _discretization(class_name: str, config: Config) -> tuple[str, Config]:
    """Keras 2 gives the dtype of the output, to which Keras 3 would cast the input."""
    boundaries = config.get("bin_boundaries", config.get("bins"))
    return class_name, {**_without(config, "trainable", "dtype", "bins"), "bin_boundaries": boundaries}


def _without_trainable(class_name: str, config: Config) -> tuple[str, Config]:
    return class_name, _without(config, "trainable", "noise_shape")


def _random_crop(class_name: str, config: Config) -> tuple[str, Config]:  # noqa: ARG001
    """In inference Keras 2 resizes, keeping the proportions."""
    return "Resizing", {**_without(config, "seed"), "crop_to_aspect_ratio": True}


def _category_encoding(class_name: str, config: Config) -> tuple[str, Config]:
    mode = config.get("output_mode", "multi_hot")
    tokens = config.get("num_tokens", config.get("max_tokens"))
    modern = {**_without(config, "max_tokens"), "num_tokens": tokens}
    return class_name, {**modern, "output_mode": "multi_hot" if mode == "binary" else mode}


def _lambda(class_name: str, config: Config) -> tuple[str, Config]:
    modern = _without(config, "module", "function_type", "output_shape_type", "output_shape_module")
    function = modern.get("function")
    if isinstance(function, list) and len(function) == 3:
        code = dict(zip(("code", "defaults", "closure"), function, strict=True))
        modern["function"] = {"class_name": "__lambda__", "config": code}
    return class_name, modern


RULES: Mapping[str, Callable[[str, Config], tuple[str, Config]]] = {
    "BatchNormalization": _batch_normalization,
    "CategoryEncoding": _category_encoding,
    "Conv1DTranspose": _ungrouped,
    "Conv2DTranspose": _ungrouped,
    "Conv3DTranspose": _ungrouped,
    "DepthwiseConv1D": _ungrouped,
    "DepthwiseConv2D": _ungrouped,
    "CuDNNGRU": _cudnn,
    "CuDNNLSTM": _cudnn,
    "Discretization": _discretization,
    "Embedding": _embedding,
    "GRU": _gru,
    "GRUCell": _gru,
    "AddLoss": _identity,
    "AddMetric": _identity,
    "LSTM": _recurrent,
    "Lambda": _lambda,
    "LeakyReLU": _leaky_relu,
    "RandomCrop": _random_crop,
    "SeparableConv1D": _ungrouped,
    "SeparableConv2D": _ungrouped,
    "SimpleRNN": _recurrent,
    "SpatialDropout1D": _without_trainable,
    "SpatialDropout2D": _without_trainable,
    "SpatialDropout3D": _without_trainable,
    "ThresholdedReLU": _thresholded_relu,
}
