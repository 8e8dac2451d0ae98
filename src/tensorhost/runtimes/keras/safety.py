"""Code in a model's configuration, found before Keras sees it.

A configuration names classes and functions, and Keras looks them up; a ``Lambda`` even brings its own bytecode. Keras's
safe mode refuses much of that, and has been got round before. So the whole configuration is walked here first: what is
neither Keras's own nor registered by a module that the operator named is refused. What must stay true: nothing in the
file, only ``LoadOptions``, makes a difference to what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.keras.class_names import PACKAGES, VALUES, VOCABULARY_SETTINGS, is_keras
from tensorhost.runtimes.keras.legacy_classes import ACTIVATIONS
from tensorhost.runtimes.keras.legacy_rules import not_registered
from tensorhost.runtimes.keras.registration import registered_name

_FUNCTION_MODULES = frozenset(
    f"{package}.{room}"
    for package in PACKAGES
    for room in ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
)
_LAMBDAS = frozenset({"Lambda", "__lambda__"})
_FOREIGN = frozenset({"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"})
_KEPT_FOR_TRAINING = ("compile_config", "training_config")


class _Named(NamedTuple):
    """An object of a configuration, and the layer it belongs to."""

    value: dict[str, Any]
    layer: str


def refuse_code(configuration: dict[str, Any], keras: Any, options: LoadOptions) -> dict[str, Any]:
    """Raise UnsupportedModelError for the first piece of code in a model's configuration that is not allowed.

    Args:
        configuration: of a whole model, as Keras 2 or Keras 3 wrote it.
        keras: the module, after everything the operator named was imported.
        options: ``allow_lambda`` lets Lambda layers pass.

    Returns:
        Registered classes and functions that the configuration names without their package, by the name it uses.
    """
    registered = keras.saving.get_custom_objects()
    found: dict[str, Any] = {}
    for named in _objects(configuration):
        name, module = named.value["class_name"], named.value.get("module")
        if name in _LAMBDAS:
            _check_lambda(named, options)
        elif name in _FOREIGN:
            raise _refused(named, f"a {name}, which runs code or a model that is not part of Keras")
        elif name not in VALUES:
            needed = named.value.get("config") if name == "function" else name
            if not isinstance(needed, str):
                raise _refused(named, "a function without a name")
            match = _registered(registered, named.value, needed)
            if match is not None:
                found[needed] = match
            elif name == "function":
                _check_function(named, needed, module)
            elif module is not None and not is_keras(module):
                raise not_registered(f"{module}.{name}", named.layer)
            _check_files(named)
    return found


def _objects(configuration: dict[str, Any]) -> Iterator[_Named]:
    """Every object that names a class; what the outermost model keeps for training is never read and left out."""
    outermost = {key: value for key, value in configuration.items() if key not in _KEPT_FOR_TRAINING}
    pending: list[tuple[Any, str]] = [(outermost, "")]
    while pending:
        value, layer = pending.pop()
        if isinstance(value, list):
            pending += ((item, layer) for item in value)
        elif isinstance(value, dict):
            settings = value.get("config")
            name = settings.get("name") if isinstance(settings, dict) else None
            layer = name if isinstance(name, str) else layer
            if isinstance(value.get("class_name"), str):
                yield _Named(value, layer)
            pending += ((item, layer) for item in value.values())


def _registered(registered: Mapping[str, Any], value: dict[str, Any], name: str) -> Any:
    """The registered object meant; what is said to be Keras's own is only found by its full name."""
    written = value.get("registered_name")
    for key in (written, name):
        if isinstance(key, str) and key in registered:
            return registered[key]
    found = None if is_keras(value.get("module")) else registered_name(registered, name)
    return registered[found] if found else None


def _check_lambda(named: _Named, options: LoadOptions) -> None:
    if options.allow_lambda:
        return
    raise UnsupportedModelError(
        f"The layer '{shown(named.layer)}' holds Python code (a Lambda), which would run in this server, so it is not "
        "loaded. If you trust the file, start the server with --allow-lambda; or export the model as a SavedModel.",
        details={"layer": shown(named.layer)},
    )


def _check_function(named: _Named, name: str, module: Any) -> None:
    if module in _FUNCTION_MODULES or (module in (None, "builtins") and name in ACTIVATIONS | {"hard_sigmoid"}):
        return
    raise not_registered(name if module in (None, "builtins") else f"{module}.{name}", named.layer)


def _check_files(named: _Named) -> None:
    """A vocabulary may be given as the path of a file, which would be read from this machine."""
    settings = named.value.get("config")
    for key in VOCABULARY_SETTINGS:
        if isinstance(settings, dict) and isinstance(settings.get(key), str):
            raise _refused(named, f"a {key} that is to be read from a file of this machine")


def _refused(named: _Named, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The layer '{shown(named.layer)}' holds {what}, which tensorhost does not load.",
        details={"layer": shown(named.layer)},
    )
