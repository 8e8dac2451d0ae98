"""What a Keras model is made of and could do besides computing, told from its configuration.

Nothing is deserialised: classes and functions are looked up by name among those of Keras, never imported. What must
stay true: whatever Keras would look up by name is looked at here, and what is not known to be Keras's own is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tensorhost.runtimes.base import LoadOptions, ModelFormat
from tensorhost.runtimes.contents import Contents, Finding, FindingKind, most_frequent_first, shown, worst_first
from tensorhost.runtimes.keras.class_names import VOCABULARY_LAYERS, VOCABULARY_SETTINGS
from tensorhost.runtimes.keras.known_classes import KnownClasses
from tensorhost.runtimes.keras.legacy_functions import TENSORFLOW_FUNCTIONS
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.keras.weight_count import count_parameters
from tensorhost.runtimes.tensorflow.process import tensorflow

_TENSORFLOW_CALLS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_CODE = "Runs Python code that the file brings along or names."
_DOUBTFUL = {
    "Lambda": (FindingKind.RUNS_PYTHON, _CODE),
    "__lambda__": (FindingKind.RUNS_PYTHON, _CODE),
    "FlaxLayer": (FindingKind.RUNS_PYTHON, "Calls Python functions that the file names."),
    "JaxLayer": (FindingKind.RUNS_PYTHON, "Calls Python functions that the file names."),
    "TorchModuleWrapper": (FindingKind.RUNS_PYTHON, "Unpickles a PyTorch module, which runs Python code."),
    "TFSMLayer": (FindingKind.UNKNOWN_CODE, "Runs another SavedModel, which is not examined."),
}
"""Classes of Keras itself that do more than compute."""

_UNKNOWN_CLASS = "Not a class of Keras: code that has to come with an imported module."
_UNKNOWN_FUNCTION = "Not a function of Keras: code that has to come with an imported module."


class _Found(NamedTuple):
    kind: FindingKind
    subject: str
    explanation: str


def examine_keras(path: Path, options: LoadOptions) -> Contents:
    """What is in the ``.keras`` file at ``path``.

    Raises:
        ModelFailedError: the file is damaged or no Keras model.
        RuntimeMissingError: TensorFlow or Keras is not installed.
    """
    return _examine(path, ModelFormat.KERAS, options)


def examine_keras_h5(path: Path, options: LoadOptions) -> Contents:
    """The same for an HDF5 file."""
    return _examine(path, ModelFormat.KERAS_H5, options)


def examine_layers(config: dict[str, Any], options: LoadOptions) -> Contents:
    """Layer classes and findings of a model's configuration, without its parameters.

    Args:
        config: ``{"class_name", "config"}`` of a model, as Keras 2, Keras 3 or TensorFlow.js wrote it.
        options: what the model would be loaded with.

    Raises RuntimeMissingError when TensorFlow or Keras is not installed.
    """
    # What the model's own settings import would run here, before anybody could refuse the model.
    tensorflow(replace(options, model_modules=()))
    known = KnownClasses(keras_module())
    layers: Counter[str] = Counter()
    found: Counter[_Found] = Counter()
    # The outermost model is never compiled, so its optimiser and losses are not even looked up.
    outermost = {**config, "compile_config": None}
    for value in _objects_in(outermost):
        if value is not outermost and known.is_layer(value):
            layers[shown(value["class_name"])] += 1
        found.update(_found_in(value, known))
    findings = (Finding(item.kind, item.subject, count, item.explanation) for item, count in found.items())
    return Contents(most_frequent_first(layers), None, worst_first(findings))


def _examine(path: Path, model_format: ModelFormat, options: LoadOptions) -> Contents:
    from tensorhost.runtimes.keras.configuration import read_configuration

    contents = examine_layers(read_configuration(path, model_format), options)
    return replace(contents, parameters=count_parameters(path, model_format))


def _objects_in(config: Any) -> Iterator[dict[str, Any]]:
    """Every object that names a class, the outermost first, however deep it lies."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
                if value["class_name"] == "Lambda":  # what is in it is part of the same finding
                    continue
            waiting.extend(value.values())


def _found_in(value: dict[str, Any], known: KnownClasses) -> Iterator[_Found]:
    name, settings = value["class_name"], value.get("config")
    settings = settings if isinstance(settings, dict) else {}
    if name in _DOUBTFUL:
        kind, explanation = _DOUBTFUL[name]
        yield _Found(kind, name.strip("_"), explanation)
    elif name == "function":
        if not known.is_function(value):
            yield _Found(FindingKind.UNKNOWN_CODE, _path(value, str(value.get("config"))), _UNKNOWN_FUNCTION)
    elif name in _TENSORFLOW_CALLS:
        function = str(settings.get("function"))
        if name == "TFOpLambda" and function not in TENSORFLOW_FUNCTIONS:
            explanation = "Not one of the TensorFlow functions that a model may call between its layers."
            yield _Found(FindingKind.UNKNOWN_CODE, shown(f"tf.{function}"), explanation)
    elif not known.is_class(value):
        yield _Found(FindingKind.UNKNOWN_CODE, _path(value, name), _UNKNOWN_CLASS)
    elif name in VOCABULARY_LAYERS:
        for file in (settings.get(field) for field in VOCABULARY_SETTINGS):
            if isinstance(file, str):
                yield _Found(FindingKind.READS_FILES, name, f"Reads '{shown(file)}'.")


def _path(value: dict[str, Any], name: str) -> str:
    """``module.name``, or the name under which it would be registered."""
    module, registered = value.get("module"), value.get("registered_name")
    if isinstance(module, str) and module and module != "builtins":
        return shown(f"{module}.{name}")
    return shown(registered if isinstance(registered, str) and ">" in registered else name)
