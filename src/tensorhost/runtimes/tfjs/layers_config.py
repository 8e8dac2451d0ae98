"""The configuration of a TensorFlow.js layers model: from the JSON to a graph of named layers, checked. Pure.

A model is Sequential, a chain, or functional, a graph whose layers say from which outputs of which calls of which
layers they take their inputs; both become a ``ModelConfig``. Models nest. It decides nothing about what a layer
computes. What must stay true: a class that is not in ``layers_classes`` does not get through, wherever in the file it
is, so nothing that a file names is ever looked up in Keras; and whatever a file holds, reading it takes no recursion
deeper than ``MAX_NESTING``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tfjs.layers_classes import CELLS, INPUT, MODELS, SEQUENTIAL, check_class
from tensorhost.runtimes.tfjs.layers_nodes import Reference, calls_of, list_of, object_of, reference_to
from tensorhost.runtimes.tfjs.layers_settings import Settings

MAX_LAYERS = 4096
"""Most layers of a model and of all models in it; the deepest known networks have some 1,000."""

MAX_INPUTS = 4 * MAX_LAYERS
"""Most inputs of all layers together."""

MAX_NESTING = 16
"""Most models and wrappers within each other."""

_LONGEST_NAME = 512

_PARTS = {"TimeDistributed": "layer", "Bidirectional": "layer", "RNN": "cell", "StackedRNNCells": "cells"}
_DTYPES = frozenset({"float32", "int32", "bool"})


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """One layer.

    Attributes:
        name: as the file has it; the weights carry it.
        kind: its class.
        settings: what the file says about it.
        calls: for each time it is called, where its inputs come from.
        parts: the layers or cells it wraps.
        model: the model it is, when it is one.
    """

    name: str
    kind: str
    settings: Settings
    calls: tuple[tuple[Reference, ...], ...] = ()
    parts: tuple[LayerConfig, ...] = ()
    model: ModelConfig | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A graph of layers by key, with its inputs (keys of input layers) and its outputs."""

    layers: dict[str, LayerConfig]
    inputs: tuple[str, ...]
    outputs: tuple[Reference, ...]


@dataclass(slots=True)
class _Count:
    """How much has been read so far."""

    layers: int = 0
    inputs: int = 0
    nesting: list[str] = field(default_factory=list)

    def add_layer(self) -> None:
        self.layers += 1
        if self.layers > MAX_LAYERS:
            raise ModelFailedError(f"The model has more than {MAX_LAYERS} layers.", details={"most": MAX_LAYERS})

    def add_inputs(self, count: int) -> None:
        self.inputs += count
        if self.inputs > MAX_INPUTS:
            raise ModelFailedError(f"The layers have more than {MAX_INPUTS} inputs.", details={"most": MAX_INPUTS})


def read_topology(topology: dict[str, Any]) -> ModelConfig:
    """The model that a ``modelTopology`` describes.

    Args:
        topology: ``{class_name, config}``, or ``{model_config: …}`` around it, where ``model_config`` may be JSON text.

    Raises:
        UnsupportedModelError: it uses a layer that is not executed; the message names it.
        ModelFailedError: anything else is wrong with it.
    """
    model = outermost(topology)
    kind = _kind(model, "modelTopology")
    if kind not in MODELS:
        raise UnsupportedModelError(f"The model is of the class '{shown(kind)}', not Sequential or functional.")
    return _model(kind, model.get("config"), _Count())


def outermost(topology: dict[str, Any]) -> dict[str, Any]:
    """The ``{class_name, config}`` of the model itself, unchecked. Raises ModelFailedError where there is none."""
    config = topology.get("model_config")
    if isinstance(config, str):
        try:
            config = orjson.loads(config)
        except orjson.JSONDecodeError as error:
            raise ModelFailedError("modelTopology.model_config is not valid JSON.") from error
    return object_of(topology if config is None else config, "modelTopology")


def _model(kind: str, config: Any, count: _Count) -> ModelConfig:
    if len(count.nesting) >= MAX_NESTING:
        raise ModelFailedError(f"Models and wrappers lie in each other more than {MAX_NESTING} deep.")
    count.nesting.append(kind)
    if kind == SEQUENTIAL:
        layers = config if isinstance(config, list) else list_of(object_of(config, kind).get("layers"), "layers")
        model = _chain([_layer(layer, count) for layer in layers])
    else:
        model = _graph(object_of(config, kind), count)
    count.nesting.pop()
    return model


def _layer(data: Any, count: _Count) -> LayerConfig:
    """One layer, with what lies in it, and the calls of it that a functional model lists."""
    count.add_layer()
    data = object_of(data, "A layer")
    kind = _kind(data, "A layer")
    config = data.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    name = name if name is not None else data.get("name")
    if name is None and kind in CELLS:
        name = kind
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise ModelFailedError(f"A layer ({shown(kind)}) has no name of 1 to {_LONGEST_NAME} characters.")
    check_class(name, kind, data)
    calls = calls_of(data.get("inbound_nodes"), name)
    count.add_inputs(sum(len(call) + 1 for call in calls))
    if kind in MODELS:
        return LayerConfig(name, kind, Settings(name, kind, {}), calls, model=_model(kind, config, count))
    settings = Settings(name, kind, config if isinstance(config, dict) else {})
    return LayerConfig(name, kind, settings, calls, parts=_parts(settings, count))


def _parts(settings: Settings, count: _Count) -> tuple[LayerConfig, ...]:
    key = _PARTS.get(settings.kind)
    if key is None:
        return ()
    part = settings.raw(key)
    if len(count.nesting) >= MAX_NESTING:
        raise ModelFailedError(f"Models and wrappers lie in each other more than {MAX_NESTING} deep.")
    count.nesting.append(settings.kind)
    parts = tuple(_layer(item, count) for item in (part if isinstance(part, list) else [part]))
    count.nesting.pop()
    wanted = "a layer" if key == "layer" else "a cell"
    if not parts or (wanted == "a layer" and len(parts) > 1):
        raise settings.wrong(key, wanted)
    if any((inner.kind in CELLS) != (wanted == "a cell") for inner in parts):
        raise settings.wrong(key, wanted)
    return parts


def _graph(config: dict[str, Any], count: _Count) -> ModelConfig:
    layers: dict[str, LayerConfig] = {}
    for data in list_of(config.get("layers"), "layers"):
        layer = _layer(data, count)
        given = data.get("name")
        key = given if isinstance(given, str) else layer.name
        if key in layers:
            raise ModelFailedError(f"The model has two layers named '{shown(key)}'.")
        layers[key] = layer
    inputs = [reference_to(value, "input_layers") for value in list_of(config.get("input_layers"), "input_layers")]
    outputs = [reference_to(value, "output_layers") for value in list_of(config.get("output_layers"), "output_layers")]
    for reference in inputs:
        if reference.layer not in layers or layers[reference.layer].kind != INPUT:
            raise ModelFailedError(f"The model's input '{shown(reference.layer)}' is not an InputLayer of it.")
    return _checked(ModelConfig(layers, tuple(reference.layer for reference in inputs), tuple(outputs)))


def _chain(layers: list[LayerConfig]) -> ModelConfig:
    """A Sequential as a graph. What its first layer says about its input becomes a layer of its own."""
    if not layers:
        raise ModelFailedError("The Sequential model has no layers.")
    if layers[0].kind != INPUT:
        layers = [_input_of(layers[0]), *layers]
    keyed = {
        str(index): replace(layer, calls=((Reference(str(index - 1), 0, 0),),) if index else ())
        for index, layer in enumerate(layers)
    }
    return _checked(ModelConfig(keyed, ("0",), (Reference(str(len(layers) - 1), 0, 0),)))


def _input_of(layer: LayerConfig) -> LayerConfig:
    """The input layer that TensorFlow.js puts before the first layer of a Sequential."""
    if layer.model is not None:
        if len(layer.model.inputs) != 1:
            raise ModelFailedError(f"The model '{shown(layer.name)}' in a Sequential must have one input.")
        return layer.model.layers[layer.model.inputs[0]]
    settings = layer.settings
    values: dict[str, Any] = {"dtype": settings.raw("dtype")}
    if settings.has("batch_input_shape"):
        values["batch_input_shape"] = settings.raw("batch_input_shape")
    elif settings.has("input_shape"):
        values["batch_input_shape"] = [None, *list_of(settings.raw("input_shape"), "input_shape")]
    elif layer.kind == "Dense" and settings.has("input_dim"):
        values["batch_input_shape"] = [None, settings.raw("input_dim")]
    elif layer.kind == "Embedding":
        length = settings.raw("input_length")
        values["batch_input_shape"] = [None, *(length if isinstance(length, list) else [length])]
    else:
        raise ModelFailedError(f"The first layer '{shown(layer.name)}' of a Sequential has no batch_input_shape.")
    name = f"{layer.name}_input"
    return LayerConfig(name, INPUT, Settings(name, INPUT, values))


def input_spec(layer: LayerConfig) -> tuple[tuple[int | None, ...], str]:
    """Shape without the batch, and dtype, of an InputLayer.

    The batch dimension is any size, even where the file gives one: TensorFlow.js does not look at it either.
    """
    settings = layer.settings
    if settings.flag("sparse"):
        raise settings.unsupported("is sparse, which TensorFlow.js does not execute")
    shape = settings.shape("batch_input_shape" if settings.has("batch_input_shape") else "batch_shape")
    if not shape:
        raise settings.wrong("batch_input_shape", "at least the batch dimension")
    dtype = settings.raw("dtype")
    return shape[1:], "float32" if dtype is None else settings.word("dtype", _DTYPES)


def _checked(model: ModelConfig) -> ModelConfig:
    """``model``, if every reference leads to a call that a layer of it has; calls of models counted from 0 here.

    A model has been called once by being made, so that files count the calls of a model within another from 1.
    """
    offsets = _first_calls(model)

    def moved(reference: Reference) -> Reference:
        layer, name = model.layers.get(reference.layer), shown(reference.layer)
        if layer is None:
            raise ModelFailedError(f"A layer takes its input from '{name}', which the model does not have.")
        call = reference.call - offsets.get(reference.layer, 0)
        if not 0 <= call < max(1, len(layer.calls)) or (not layer.calls and layer.kind != INPUT):
            raise ModelFailedError(
                f"A layer takes its input from call {reference.call} of '{name}', which has no such call."
            )
        return Reference(reference.layer, call, reference.output)

    layers = {
        key: replace(layer, calls=tuple(tuple(moved(source) for source in call) for call in layer.calls))
        for key, layer in model.layers.items()
    }
    if not model.inputs or not model.outputs:
        raise ModelFailedError("The model has no inputs or no outputs.")
    return ModelConfig(layers, model.inputs, tuple(moved(output) for output in model.outputs))


def _first_calls(model: ModelConfig) -> dict[str, int]:
    """The number, 0 or 1, that the file gives the first call of each model within ``model``, by key."""
    first: dict[str, int] = {}
    sources = (source for layer in model.layers.values() for call in layer.calls for source in call)
    for source in (*sources, *model.outputs):
        layer = model.layers.get(source.layer)
        if layer is not None and layer.model is not None:
            first[source.layer] = min(first.get(source.layer, 1), source.call)
    return first


def _kind(data: dict[str, Any], owner: str) -> str:
    kind = data.get("class_name")
    if not isinstance(kind, str) or not kind or len(kind) > 200:
        raise ModelFailedError(f"{owner} has no class_name.")
    return kind
