"""A model's configuration as Keras 2 wrote it becomes one that Keras 3 deserialises to the same mathematics.

Layers are translated by ``legacy_layers``, their connections by ``legacy_nodes``. What must stay true: what Keras 3
would compute otherwise is translated or refused by name; a configuration that Keras 3 wrote is left as it is; the
argument is never changed. The weights come after, so how they begin is not kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tensorhost.runtimes.keras.legacy_calls import CALL_CLASSES, modern_call
from tensorhost.runtimes.keras.legacy_functions import register_legacy_functions
from tensorhost.runtimes.keras.legacy_layers import Config, Translation, modern_layer
from tensorhost.runtimes.keras.legacy_nodes import MODELS, Connections, damaged
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.keras.registration import registered_name

_DEEPEST = 60
_DEEPEST_VALUE = 400


def modernise(config: dict[str, Any]) -> dict[str, Any]:
    """The model that ``config`` describes, for ``keras.saving.deserialize_keras_object``.

    Args:
        config: ``{"class_name", "config"}`` of a Sequential or functional model, as Keras 2 or Keras 3 wrote it.

    Returns:
        A new configuration in the form of Keras 3. It may name what ``register_legacy_functions`` registers, which
        has been called. Every weight of the model it describes begins as zero and has to be set.

    Raises:
        ModelFailedError: Keras cannot have written this.
        UnsupportedModelError: a layer, or a setting of it, that Keras 3 cannot compute; the message names it.
        RuntimeMissingError: Keras is not installed.
    """
    if written_by_keras_3(config):
        return copy.deepcopy(config)
    register_legacy_functions()
    registered = keras_module().saving.get_custom_objects()
    return _Model(lambda name: registered_name(registered, name)).object(_plain(config))


def written_by_keras_3(config: Any) -> bool:
    """Whether a model's configuration has a form that only Keras 3 writes."""
    return any(_is_modern(layer) for layer in layers_of(config))


def layers_of(config: Any) -> Iterator[Config]:
    """Every object of a configuration that has a class and settings, the outermost first, however deep it lies."""
    pending = [config]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            if isinstance(found.get("class_name"), str) and isinstance(found.get("config"), (dict, list)):
                yield found
            pending += found.values()
        elif isinstance(found, list):
            pending += found


def layer_name(name: str) -> str:
    """The name in Keras 3 of a layer of Keras 2: the same, without slashes."""
    return name.replace("/", "_")


def _plain(value: Any, depth: int = 0) -> Any:
    """A copy in which shapes and tuples, which Keras 2 wrote as objects, are lists."""
    if depth > _DEEPEST_VALUE:
        raise damaged("its settings are nested too deeply")
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("TensorShape", "__tuple__") and isinstance(value.get("items"), list):
        return _plain(value["items"], depth + 1)
    return {key: _plain(item, depth + 1) for key, item in value.items()}


def _is_modern(layer: Config) -> bool:
    settings = layer["config"]
    if not isinstance(settings, dict):
        return False
    policy = settings.get("dtype")
    return (layer["class_name"] == "InputLayer" and "batch_shape" in settings) or (
        isinstance(policy, dict) and policy.get("class_name") == "DTypePolicy"
    )


class _Model:
    """One translation, with the depth it has reached."""

    def __init__(self, registered: Callable[[str], str | None]) -> None:
        self._depth = 0
        self._translation = Translation(layer_name, self.object, registered)

    def object(self, described: Any) -> Config:
        """A layer or a model."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise damaged("its layers are nested too deeply")
        try:
            class_name = described.get("class_name") if isinstance(described, dict) else None
            if not isinstance(class_name, str) or class_name not in MODELS:
                return modern_layer(described, self._translation)
            if class_name == "Sequential":
                return self._sequential(described.get("config"))
            return self._functional(described.get("config"))
        finally:
            self._depth -= 1

    def _sequential(self, config: Any) -> Config:
        settings: Config = {"layers": config} if isinstance(config, list) else config
        described = settings.get("layers") if isinstance(settings, dict) else None
        if not isinstance(described, list):
            raise damaged("a Sequential model has no layers")
        layers = [self.object(layer) for layer in described]
        if described and described[0].get("class_name") != "InputLayer":
            entry = _input_of(described[0], settings.get("build_input_shape"))
            layers = ([self.object(entry)] if entry else []) + layers
        name = layer_name(str(settings.get("name", "sequential")))
        return _model("Sequential", {"name": name, "trainable": True, "layers": layers})

    def _functional(self, config: Any) -> Config:
        described = config.get("layers") if isinstance(config, dict) else None
        if not isinstance(described, list) or not all(_is_connected(layer) for layer in described):
            raise damaged("a functional model has no layers")
        connections = Connections(described, layer_name)
        layers = [self._connected(layer, connections) for layer in described]
        return _model(
            "Functional",
            {
                "name": layer_name(str(config.get("name", "model"))),
                "trainable": True,
                "layers": layers,
                "input_layers": connections.tensors(config.get("input_layers")),
                "output_layers": connections.tensors(config.get("output_layers")),
            },
        )

    def _connected(self, layer: Config, connections: Connections) -> Config:
        name = layer_name(layer["name"])
        if layer["class_name"] in CALL_CLASSES:
            return {**modern_call(layer, name, connections), "name": name}
        modern = self.object(layer)
        nodes = [connections.node(layer["class_name"], node) for node in layer["inbound_nodes"]]
        settings = {**modern["config"], "name": name}
        return {**modern, "config": settings, "name": name, "inbound_nodes": nodes}


def _model(class_name: str, config: Config) -> Config:
    module = "keras" if class_name == "Sequential" else "keras.src.models.functional"
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def _is_connected(layer: Any) -> bool:
    return (
        isinstance(layer, dict)
        and isinstance(layer.get("name"), str)
        and isinstance(layer.get("class_name"), str)
        and isinstance(layer.get("inbound_nodes"), list)
    )


def _input_of(layer: Any, built_for: Any) -> Config | None:
    """The InputLayer that Keras 2 put before this first layer of a Sequential model; None if it could not."""
    settings = layer.get("config") if isinstance(layer, dict) else None
    name = settings.get("name") if isinstance(settings, dict) else None
    declared = _declared(layer) or ((built_for, None) if isinstance(built_for, list) else None)
    if declared is None:
        return None
    shape, dtype = declared
    entry: Config = {"name": f"{name or 'sequential'}_input", "batch_input_shape": shape}
    return {"class_name": "InputLayer", "config": {**entry, "dtype": dtype} if dtype else entry}


def _declared(layer: Any) -> tuple[Any, Any] | None:
    """Shape and dtype of the input that a layer, or the first layer within it, was given."""
    for _ in range(_DEEPEST):
        settings = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(settings, dict) and isinstance(settings.get("batch_input_shape"), list):
            return settings["batch_input_shape"], settings.get("dtype")
        inner = settings if isinstance(settings, list) else (settings or {}).get("layers")
        layer = inner[0] if isinstance(inner, list) and inner else (settings or {}).get("layer")
    return None
