"""The inputs of one request: each under its name and of its dtype, and left out only where it has a default value.

Shapes are the model's own business; see ``loose_shapes`` of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array
from tensorhost.frontends.tfserving import faults
from tensorhost.inference import Call
from tensorhost.models.servable import Servable


def check_inputs(servable: Servable, call: Call, inputs: Mapping[str, Array]) -> None:
    """Raise ServingError where an input is missing and has no default value, is unknown, or of another dtype.

    Args:
        servable: what is called.
        call: how.
        inputs: what the client sent, by name.
    """
    specs = call.preprocessing.wire_specs
    check_names(servable, call, inputs.keys())
    for name, array in inputs.items():
        wanted, given = specs[name].dtype.numpy, array.dtype
        if given is wanted or given == wanted:
            continue
        # The model's owner may have it take encoded images.
        if not (given.hasobject and call.preprocessing.options.decode):
            position = list(specs).index(name)
            raise faults.wrong_dtype(position, specs[name].dtype.tensorflow_name, DType.of(array).tensorflow_name)


def check_names(servable: Servable, call: Call, names: AbstractSet[str]) -> None:
    """``check_inputs`` of the names alone, for whoever has yet to decode what they name; raises as that does."""
    expected, defaults = call.preprocessing.wire_specs, call.defaults
    if names == expected.keys():
        return
    unknown = names - expected.keys()
    lacking = sorted(expected.keys() - names - defaults.keys())
    if unknown and len(names) != len(expected):
        raise faults.wrong_number_of_inputs(names, expected, defaults)
    if lacking and not defaults and len(names) != len(expected):
        raise faults.wrong_number_of_inputs(names, expected, defaults)
    if lacking:
        name = lacking[0]
        raise faults.input_not_given(name, feed_name(servable, call.signature.name, name), names, defaults)
    if unknown:
        # In the place of inputs that have default values.
        raise faults.wrong_number_of_inputs(names, expected, defaults)


def feed_name(servable: Servable, signature: str, name: str) -> str:
    """What the graph calls an input, where the model says; else the input's own name."""
    definition = servable.loaded.signature_defs.get(signature)
    if definition is None:
        return name
    message: Any = message_class("tensorflow.SignatureDef").FromString(definition)
    return str(message.inputs[name].name) if name in message.inputs else name
