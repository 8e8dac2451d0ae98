from types import SimpleNamespace

import numpy as np
import pytest

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.inputs import check_inputs, feed_name
from tensorhost.models.servable import Call
from tensorhost.pipelines import (
    PostprocessingOptions,
    PostprocessingPipeline,
    PreprocessingOptions,
    PreprocessingPipeline,
)

X, N = np.float32([[1.0]]), np.int64([1])


def call(defaults=None, shape=(None, 1), **options):
    specs = {"x": TensorSpec("x", DType.FLOAT32, shape), "n": TensorSpec("n", DType.INT64, (None,))}
    signature = Signature("s", specs, {})
    return Call(
        signature,
        PreprocessingPipeline(PreprocessingOptions(**options), signature),
        PostprocessingPipeline(PostprocessingOptions(), signature),
        loose_shapes=True,
        defaults=defaults or {},
    )


def servable(**definitions):
    return SimpleNamespace(loaded=SimpleNamespace(signature_defs=definitions))


def refusal(made, inputs):
    with pytest.raises(ServingError) as refused:
        check_inputs(servable(), made, inputs)
    assert refused.value.status is RpcStatus.INVALID_ARGUMENT
    return refused.value.message


def test_what_the_signature_takes_passes_whatever_its_shape():
    check_inputs(servable(), call(), {"x": np.float32(3), "n": N})
    check_inputs(servable(), call(), {"n": N, "x": X})


def test_what_has_a_default_value_may_be_left_out():
    check_inputs(servable(), call({"n": N}), {"x": X})
    check_inputs(servable(), call({"n": N, "x": X}), {})


@pytest.mark.parametrize(
    ("defaults", "inputs", "text"),
    [
        ({}, {"x": X}, "input size does not match signature: 1!=2 len({x}) != len({n,x}). Sent extra: {}."),
        ({}, {"x": X, "n": N, "z": N}, "3!=2 len({n,x,z}) != len({n,x}). Sent extra: {z}."),
        ({}, {"x": X, "z": N}, "Signature input alias: n(feed name: n) not found in request"),
        ({"n": N}, {"n": N}, "Signature input alias: x(feed name: x) not found in request"),
        (
            {"n": N},
            {"x": X, "z": N},
            "2!=2 len({x,z}) != len({n,x}). Sent extra: {z}. Missing but required: {}.",
        ),
        ({}, {"x": N, "n": N}, "Expects arg[0] to be float but int64 is provided"),
        ({}, {"x": X, "n": np.float16([1])}, "Expects arg[1] to be int64 but half is provided"),
        ({}, {"x": np.array([b"\xff\xd8"], object), "n": N}, "Expects arg[0] to be float but string is provided"),
    ],
)
def test_what_it_does_not_take(defaults, inputs, text):
    assert text in refusal(call(defaults), inputs)


def test_encoded_images_pass_where_the_models_owner_wants_them():
    image = call(shape=(None, 8, 8, 3), decode=True)
    encoded = {"x": np.array([b"\xff\xd8"], object), "n": N}
    check_inputs(servable(), image, encoded)
    assert "string is provided" in refusal(call(shape=(None, 8, 8, 3)), encoded)


def test_what_the_graph_calls_an_input():
    definition = message_class("tensorflow.SignatureDef")()
    definition.inputs["x"].name = "serving_default_x:0"
    described = servable(s=definition.SerializeToString())
    assert feed_name(described, "s", "x") == "serving_default_x:0"
    assert feed_name(described, "s", "y") == "y"
    assert feed_name(servable(), "s", "x") == "x"


def test_dtypes_have_tensorflows_names():
    names = {dtype.tensorflow_name for dtype in DType}
    assert {"float", "double", "half", "bfloat16", "string", "bool", "int64", "complex64"} <= names
    assert not names & {"float32", "float64", "float16"}
