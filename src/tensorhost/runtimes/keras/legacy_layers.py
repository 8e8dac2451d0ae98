"""The configuration of one layer of Keras 2, rewritten so that Keras 3 computes the same. Pure.

Settings that only matter to training are dropped: how weights begin, how they are regularised and constrained. So is
every setting that Keras 3 does not know and that has its ordinary value; with another value the layer is refused by
name, because Keras 3 could not compute it. What must stay true: whatever changes the mathematics is translated or
refused, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tensorhost.runtimes.keras.legacy_classes import ACTIVATIONS, AUGMENTATIONS, LAYERS, REFUSED, RENAMED
from tensorhost.runtimes.keras.legacy_functions import HARD_SIGMOID, TIME_DISTRIBUTED
from tensorhost.runtimes.keras.legacy_nodes import damaged
from tensorhost.runtimes.keras.legacy_rules import RULES, not_registered, unsupported

Config = dict[str, Any]


class Translation(NamedTuple):
    """What the translation of one layer needs to know of the others.

    Attributes:
        rename: gives the name a layer has in Keras 3.
        inner: translates a layer, or a model, that lies within this one.
        registered: the full name of a registered class or function, by the name in the file; None if there is none.
    """

    rename: Callable[[str], str]
    inner: Callable[[Any], Config]
    registered: Callable[[str], str | None]


_DROPPED_NAMES = """
    batch_input_shape input_shape input_dtype implementation fused adjustment renorm_clipping renorm_momentum
    query_shape key_shape value_shape rng_type force_generator softmax_robust_masking robust_masking
"""
_DROPPED = frozenset(_DROPPED_NAMES.split())
_TRAINING_ONLY = ("_regularizer", "_constraint")
_DROPPED_IF: Mapping[str, tuple[Any, ...]] = {
    "time_major": (False, None),
    "renorm": (False, None),
    "virtual_batch_size": (None, 0),
    "causal": (False, None),
    "reverse_state_order": (False, None),
    "num_constants": (0, None),
}
_DROPPED_QUIETLY_IF: Mapping[str, tuple[Any, ...]] = {  # Keras 3 takes other values
    "ragged": (False, None),
    "sparse": (False, None),
    "unit_forget_bias": (None,),
    "dtype": (None,),
}


def modern_layer(layer: Any, translation: Translation) -> Config:
    """A layer of Keras 2 that is not a model, as Keras 3 writes it.

    Args:
        layer: ``{"class_name", "config"}``.
        translation: names and layers within.

    Raises:
        ModelFailedError: not a layer's configuration.
        UnsupportedModelError: a layer, or a setting of it, that Keras 3 cannot compute.
    """
    written, config = _class_and_config(layer)
    class_name = RENAMED.get(written, written)
    name = str(config.get("name", class_name))
    if class_name in REFUSED:
        raise unsupported(class_name, name, REFUSED[class_name])
    if class_name in AUGMENTATIONS:  # in inference they do no more than convert their input to the layer's dtype
        kept = {key: value for key, value in config.items() if key in ("name", "dtype", "trainable")}
        return _written("Rescaling", {**_common(kept, class_name, name, translation), "scale": 1.0, "offset": 0.0})
    if class_name not in LAYERS:
        return _custom(layer, config, translation)
    modern = _common(config, class_name, name, translation)
    if class_name == "InputLayer":
        modern["batch_shape"] = config.get("batch_input_shape")
    if class_name == "TimeDistributed":
        return {"module": None, "class_name": class_name, "config": modern, "registered_name": TIME_DISTRIBUTED}
    rule = RULES.get(class_name)
    return _written(*(rule(class_name, modern) if rule else (class_name, modern)))


def modern_activation(value: Any, translation: Translation) -> Any:
    """An activation as Keras 2 wrote it (a name, a function or a layer), as Keras 3 reads it."""
    if isinstance(value, dict):
        kind = value.get("class_name")
        name = value.get("config") if kind == "function" else kind
        if kind != "function" and not _is_activation(name):
            return modern_layer(value, translation)
        value = name
    if value is None:
        return None
    if not isinstance(value, str):
        raise damaged("an activation has no name")
    if value in ACTIVATIONS:
        return value
    if value == "softmax_v2":
        return "softmax"
    registered = HARD_SIGMOID if value == "hard_sigmoid" else translation.registered(value)
    if registered is None:
        raise not_registered(value, "")
    return {"module": None, "class_name": "function", "config": registered, "registered_name": registered}


def _is_activation(name: Any) -> bool:
    return isinstance(name, str) and (name in ACTIVATIONS or name == "hard_sigmoid")


def _class_and_config(layer: Any) -> tuple[str, Config]:
    if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
        raise damaged("a layer has no class")
    if not isinstance(layer.get("config"), dict):
        raise damaged("a layer has no settings")
    return layer["class_name"], layer["config"]


def _written(class_name: str, config: Config) -> Config:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def _custom(layer: Config, config: Config, translation: Translation) -> Config:
    """A class of somebody else, with its settings untouched."""
    written = str(layer.get("registered_name") or layer["class_name"])
    registered = translation.registered(written)
    if registered is None:
        raise not_registered(written, str(config.get("name", "")))
    if isinstance(config.get("name"), str):
        config = {**config, "name": translation.rename(config["name"])}
    class_name = registered.rpartition(">")[2]
    return {"module": None, "class_name": class_name, "config": config, "registered_name": registered}


def _common(config: Config, class_name: str, name: str, translation: Translation) -> Config:
    """The settings after what holds for every class."""
    modern: Config = {}
    for key, value in config.items():
        if key in _DROPPED or key.endswith(_TRAINING_ONLY) or key == "activity_regularizer":
            continue
        if key in _DROPPED_IF:
            if value not in _DROPPED_IF[key]:
                raise unsupported(class_name, name, f"Keras 3 has no equivalent for its setting {key} = {value}")
            continue
        translated = _setting(key, value, translation)
        if translated not in _DROPPED_QUIETLY_IF.get(key, ()):
            modern[key] = translated
    return modern


def _setting(key: str, value: Any, translation: Translation) -> Any:
    if key == "name" and isinstance(value, str):
        return translation.rename(value)
    if key.endswith("activation"):
        return modern_activation(value, translation)
    if key.endswith("_initializer"):
        return None if value is None else "zeros"  # the weights are set afterwards, so this is the cheapest
    if key == "dtype":
        return _dtype(value)
    if key in ("layer", "backward_layer", "cell") and value is not None:
        return translation.inner(value)
    if key == "cells" and isinstance(value, list):
        return [translation.inner(cell) for cell in value]
    return _number(value)


def _dtype(value: Any) -> Any:
    """The name of a dtype or policy; None for the policies that follow the input."""
    if isinstance(value, dict):
        config = value.get("config")
        value = config.get("name") if isinstance(config, dict) else None
    return None if value in ("infer", "_infer") else value


def _number(value: Any) -> Any:
    """Some versions of Keras 2 wrote numbers as arrays."""
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value.get("value")
    return value
