"""The weights of a Keras 2 HDF5 file, put into the model that was made from its configuration.

Keras 2 wrote a group for each layer, with its weights in the order in which the layer lists them: those that are
trained, then the others. What must stay true: every weight of the model is set, from values of exactly its shape, or
the load fails and says which is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.core.tensors import Array
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.keras.hdf5 import array, names, text
from tensorhost.runtimes.keras.legacy_config import layer_name
from tensorhost.runtimes.keras.legacy_cudnn import ordinary_weights

_TOP_LEVEL = "top_level_model_weights"
_RANDOM_STATE = "StateVar"
_NUMBERED = re.compile(r"(_\d+)?(:\d+)?$")


def load_weights(model: Any, file: Any) -> None:
    """Set every weight of the Keras 3 ``model`` from an opened HDF5 file of Keras 2.

    Raises ModelFailedError where they do not fit each other; the message names the layer.
    """
    group = file.get("model_weights", file)
    _refuse_other_backends(group)
    saved = {layer_name(name): _values(group[name]) for name in names(group, "layer_names")}
    saved = {name: values for name, values in saved.items() if values}
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if len(saved) != len(layers):
        raise mismatch(f"it has {len(saved)} layers with weights where the model has {len(layers)}")
    by_name = saved.keys() == layers.keys()
    for (name, values), layer in zip(saved.items(), layers.values(), strict=True):
        _assign(layers[name] if by_name else layer, values)
    if _TOP_LEVEL in group and _values(group[_TOP_LEVEL]):
        raise mismatch("it has weights that belong to no layer")


def _refuse_other_backends(group: Any) -> None:
    backend = text(group, "backend")
    if backend not in (None, "tensorflow"):
        raise UnsupportedModelError(
            f"The model was trained with Keras on {str(backend)[:40]}, which keeps the weights of convolutions in "
            "another order than TensorFlow; save it again from Keras on TensorFlow."
        )


def _values(group: Any) -> list[tuple[str, Array]]:
    """Names and values of a layer's weights; the state of random numbers is no weight."""
    listed = [name for name in names(group, "weight_names") if _RANDOM_STATE not in name]
    return [(name, array(group[name])) for name in listed]


def _assign(layer: Any, values: Sequence[tuple[str, Array]]) -> None:
    weights = [*layer.trainable_weights, *layer.non_trainable_weights]
    if len(weights) != len(values):
        raise mismatch(f"it has {len(values)} weights for the layer '{shown(layer.name)}', which has {len(weights)}")
    roles, saved_roles = [_role(weight.path) for weight in weights], [_role(name) for name, _ in values]
    if roles != saved_roles and sorted(roles) == sorted(saved_roles):
        raise mismatch(f"the weights of the layer '{shown(layer.name)}' lie in another order")
    ordinary = ordinary_weights([value for _, value in values], [tuple(weight.shape) for weight in weights])
    for weight, (name, _), value in zip(weights, values, ordinary, strict=True):
        if tuple(weight.shape) != value.shape:
            raise mismatch(
                f"the weight '{shown(name)}' of the layer '{shown(layer.name)}' has the shape {list(value.shape)}, and "
                f"the model needs {list(weight.shape)}"
            )
        weight.assign(value)
    _finish(layer)


def _role(path: str) -> str:
    """The last part of a weight's name, such as ``kernel``, without the numbers that make names distinct."""
    return _NUMBERED.sub("", path.rpartition("/")[2])


def _finish(layer: Any) -> None:
    """Some layers prepare themselves when their weights have been set."""
    for part in layer._flatten_layers():  # noqa: SLF001  # Keras has no public way to all layers within a layer
        if hasattr(part, "finalize_state"):
            part.finalize_state()


def mismatch(what: str) -> ModelFailedError:
    """The error for weights of a Keras 2 file that are not those its model needs."""
    return ModelFailedError(f"The weights in the file do not fit its model: {what}.")
