"""The inputs of one Predict: as many as the signature has, each under its name, of its dtype, or of its default value.

Shapes are the model's own business; see ``loose_shapes`` of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array
from tensorhost.frontends.tfserving import faults
from tensorhost.inference import Call
from tensorhost.models.servable import Servable

_NAMES = {
    DType.FLOAT16: "half",
    DType.FLOAT32: "float",
    DType.FLOAT64: "double",
}


def dtype_name(dtype: DType) -> str:
    """What TensorFlow's messages call a dtype: ``float`` for float32, ``half`` for float16."""
    return _NAMES.get(dtype, dtype.value)


def complete_inputs(servable: Servable, call: Call, inputs: dict[str, Array]) -> None:
    """Fill in default values, then check names and dtypes.

    Args:
        servable: what is called.
        call: how.
        inputs: what the client sent, by name; default values are added to it.

    Raises:
        ServingError: an input is missing, unknown, or of another dtype.
    """
    specs = call.preprocessing.wire_specs
    if inputs.keys() != specs.keys():
        _fill_in(servable, call, inputs)
    for name, spec in specs.items():
        given = inputs[name].dtype
        if given is not spec.dtype.numpy and given != spec.dtype.numpy:
            if call.preprocessing.options.decode and given.hasobject:
                # The model's owner has it take encoded images.
                continue
            position = list(specs).index(name)
            raise faults.wrong_dtype(position, dtype_name(spec.dtype), dtype_name(DType.of(inputs[name])))


def _fill_in(servable: Servable, call: Call, inputs: dict[str, Array]) -> None:
    expected = call.preprocessing.wire_specs
    defaults = servable.loaded.input_defaults.get(call.signature.name, {})
    unknown = inputs.keys() - expected.keys()
    missing = expected.keys() - inputs.keys()
    if len(inputs) != len(expected) and (unknown or not missing <= defaults.keys()):
        raise faults.wrong_number_of_inputs(inputs, expected)
    lacking = sorted(missing - defaults.keys())
    if lacking:
        name = lacking[0]
        raise faults.input_not_given(name, feed_name(servable, call.signature.name, name), inputs, defaults)
    if unknown:
        # In the place of inputs that have default values.
        raise faults.wrong_number_of_inputs(inputs, expected)
    inputs.update((name, defaults[name]) for name in missing)


def feed_name(servable: Servable, signature: str, name: str) -> str:
    """What the graph calls an input, where the model says; else the input's own name."""
    definition = servable.loaded.signature_defs.get(signature)
    if definition is None:
        return name
    inputs: Mapping[str, object] = message_class("tensorflow.SignatureDef").FromString(definition).inputs
    return str(getattr(inputs[name], "name", name)) if name in inputs else name
