"""Loading TensorFlow.js layers models: the layers made anew with Keras, with the weights of the file.

What a file can do is choose among the layers of ``layers_classes.LAYERS`` and give them numbers: nothing it names is
looked up, imported or called, so a layers model from a stranger is safe to load. What must stay true: the answers are
those of TensorFlow.js, also where Keras would compute something else from the same settings; where they could not be,
the layer is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.core.tensors import Array
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.keras.tracing import serve_keras_model
from tensorhost.runtimes.tensorflow.process import tensorflow
from tensorhost.runtimes.tfjs.layers_basic import BASIC
from tensorhost.runtimes.tfjs.layers_config import LayerConfig, ModelConfig, input_spec, read_topology
from tensorhost.runtimes.tfjs.layers_graph import Graph, Unit
from tensorhost.runtimes.tfjs.layers_images import IMAGES
from tensorhost.runtimes.tfjs.layers_maker import Make, Maker
from tensorhost.runtimes.tfjs.layers_merging import MERGING
from tensorhost.runtimes.tfjs.layers_recurrent import RECURRENT
from tensorhost.runtimes.tfjs.layers_sequences import SEQUENCES, time_distributed
from tensorhost.runtimes.tfjs.layers_weights import WeightStore
from tensorhost.runtimes.tfjs.model_json import ModelJson
from tensorhost.runtimes.tfjs.weights import read_weights

MAKERS: Mapping[str, Make] = {**BASIC, **IMAGES, **MERGING, **RECURRENT, **SEQUENCES}
"""How each class of layer is made, apart from TimeDistributed."""


def load_layers_model(model: ModelJson, options: LoadOptions) -> Runtime:
    """Load a layers model.

    The one signature, ``serving_default``, has the names of the input layers and of the layers that give the outputs,
    as ``inputNames`` and ``outputNames`` in TensorFlow.js (``output_0``, ``output_1`` where one layer gives several);
    the batch may have any size.

    Raises:
        UnsupportedModelError: the model has a layer that is not executed; the message names it.
        ModelFailedError: the configuration or the weights are damaged, or do not fit each other.
        RuntimeMissingError: TensorFlow or Keras is not installed.
        OutOfMemoryError: the model does not fit.
    """
    config = read_topology(model.topology)
    weights = read_weights(model)
    tf = tensorflow(options)
    keras = keras_module()
    return serve_keras_model(tf, keras, lambda: _build(tf, keras, config, weights), options)


def _build(tf: Any, keras: Any, config: ModelConfig, weights: dict[str, Array]) -> Any:
    """What ``tracing`` needs of a model: inputs, names of the outputs, and a call.

    No ``keras.Model``: that is built by recursion over the layers, which ends at some thousand, and takes fewer names.
    """
    store = WeightStore(weights)
    maker = Maker(tf, keras, store)
    graph = _graph(config, maker)
    inputs = [_input(keras, config.layers[key]) for key in config.inputs]
    graph(inputs)  # on symbolic tensors, which makes the layers and finds what does not fit
    store.check_empty()
    names = [config.layers[output.layer].name for output in config.outputs]

    class LayersModel(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        """The graph of layers as a function of its inputs."""

        @property
        def inputs(self) -> list[Any]:
            return list(inputs)

        @property
        def input(self) -> list[Any]:
            return list(inputs)

        @property
        def output_names(self) -> list[str]:
            return list(names)

        def __call__(self, tensors: list[Any], training: bool = False) -> list[Any]:  # noqa: ARG002, FBT001, FBT002
            maker.calls.count = 0
            return graph(tensors)

    return LayersModel()


def _input(keras: Any, layer: LayerConfig) -> Any:
    shape, dtype = input_spec(layer)
    return keras.KerasTensor((None, *shape), dtype=dtype, name=layer.name)


def _graph(config: ModelConfig, maker: Maker) -> Graph:
    return Graph(config, lambda layer: _unit(layer, maker), maker.calls)


def _unit(layer: LayerConfig, maker: Maker) -> Unit:
    if layer.model is not None:
        return Unit(_graph(layer.model, maker.within(layer.name)))
    if layer.kind == "TimeDistributed":
        return maker.guarded(layer, time_distributed(layer, maker, _unit))
    make = MAKERS.get(layer.kind)
    if make is None:
        raise layer.settings.unsupported("cannot stand where it does")
    return maker.guarded(layer, maker.told(layer, lambda: make(layer, maker)))
