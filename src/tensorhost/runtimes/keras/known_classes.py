"""Which classes and functions that a model's configuration names are Keras's own, or the operator's.

Told by the modules of Keras as they are imported; nothing is imported here by a name from a file.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from tensorhost.runtimes.keras.class_names import VALUES, is_keras
from tensorhost.runtimes.keras.legacy_classes import AUGMENTATIONS, LAYERS, REFUSED, RENAMED

_LAYER_ROOMS = ("layers", "models")
_OTHER_ROOMS = (
    "initializers",
    "regularizers",
    "constraints",
    "dtype_policies",
    "quantizers",
    "losses",
    "metrics",
    "optimizers",
    "optimizers.schedules",
)
_LEGACY_LAYERS = LAYERS | AUGMENTATIONS | RENAMED.keys() | REFUSED.keys() | {"Functional", "Model", "Sequential"}
_WITHOUT_ROOM = frozenset({"Policy", "PolicyV1", "RandomSeedGenerator", "SeedGenerator", "TensorShape", "TypeSpec"})
"""Classes of settings that stand in none of these, and those of Keras 2."""

_OPERATIONS = "keras.src.ops."
_FUNCTION_MODULES = (_OPERATIONS, "keras.src.activations.", "keras.src.initializers.", "keras.src.losses.")


class KnownClasses:
    """What is known of the classes and functions named in configurations.

    Args:
        keras: the module, imported.
    """

    def __init__(self, keras: Any) -> None:
        self._keras = keras
        self._layers = _LEGACY_LAYERS.union(*(_classes(keras, room) for room in _LAYER_ROOMS))
        others = frozenset[str]().union(*(_classes(keras, room) for room in _OTHER_ROOMS))
        self._others = others | _WITHOUT_ROOM
        self._operations = frozenset(
            name
            for module in [module for path, module in sys.modules.items() if path.startswith(_OPERATIONS)]
            for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, keras.Operation)
        )

    def is_class(self, value: dict[str, Any]) -> bool:
        """Whether the object ``value`` is of a class of Keras, or of one that the operator's modules registered."""
        name, module = value["class_name"], value.get("module")
        if name == "__typespec__":
            return isinstance(module, str) and module.startswith("tensorflow.python.framework.")
        if name in VALUES or self._is_registered(value):
            return True
        if isinstance(module, str) and not is_keras(module):
            return False
        if isinstance(module, str) and module.startswith(_OPERATIONS):
            return name in self._operations
        return name in self._layers or name in self._others or (not module and name in self._operations)

    def is_layer(self, value: dict[str, Any]) -> bool:
        """Whether ``value`` describes a layer, a nested model or an operation between layers, of whatever origin."""
        name, module, settings = value["class_name"], value.get("module"), value.get("config")
        if not isinstance(settings, dict) or not isinstance(settings.get("name"), str) or name in VALUES:
            return False
        if isinstance(module, str) and module.startswith(tuple(f"keras.{room}" for room in _OTHER_ROOMS)):
            return False
        return name not in self._others or name in self._layers

    def is_function(self, value: dict[str, Any]) -> bool:
        """Whether the function that ``value`` names is one of Keras's own computing ones, or the operator's."""
        module, name = value.get("module"), value.get("config")
        if not isinstance(name, str):
            return False
        if self._is_registered(value):
            return True
        found = getattr(sys.modules.get(module), name, None) if isinstance(module, str) else None
        return inspect.isfunction(found) and f"{found.__module__}.".startswith(_FUNCTION_MODULES)

    def _is_registered(self, value: dict[str, Any]) -> bool:
        registered = value.get("registered_name") or value["class_name"]
        return isinstance(registered, str) and self._keras.saving.get_registered_object(registered) is not None


def _classes(keras: Any, room: str) -> frozenset[str]:
    module = keras
    for part in room.split("."):
        module = getattr(module, part)
    return frozenset(name for name, value in vars(module).items() if inspect.isclass(value))
