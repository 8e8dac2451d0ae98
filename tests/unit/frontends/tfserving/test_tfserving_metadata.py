from types import SimpleNamespace

import pytest

from tensorhost.codecs.protobuf import POOL, message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.tfserving.metadata import signature_defs

NUMBERS = POOL.FindEnumTypeByName("tensorflow.DataType").values_by_name
NAMES = {DType.FLOAT16: "DT_HALF", DType.FLOAT32: "DT_FLOAT", DType.FLOAT64: "DT_DOUBLE"}


def servable(*signatures, **definitions):
    runtime = SimpleNamespace(signatures={each.name: each for each in signatures})
    return SimpleNamespace(loaded=SimpleNamespace(runtime=runtime, signature_defs=definitions))


def described(dtype, shape):
    signature = Signature("s", {"x": TensorSpec("x", dtype, shape)}, {"y": TensorSpec("y", dtype, shape)})
    return signature_defs(servable(signature)).signature_def["s"]


@pytest.mark.parametrize("dtype", DType)
def test_every_dtype_has_its_number(dtype):
    name = NAMES.get(dtype, f"DT_{dtype.value.upper()}")
    assert described(dtype, (None,)).outputs["y"].dtype == NUMBERS[name].number


@pytest.mark.parametrize("shape", [(), (None,), (2, None, 3), (0,)])
def test_a_free_size_is_minus_one(shape):
    info = described(DType.FLOAT32, shape).inputs["x"]
    assert [dim.size for dim in info.tensor_shape.dim] == [-1 if size is None else size for size in shape]
    assert info.HasField("tensor_shape")
    assert not info.tensor_shape.unknown_rank
    assert info.name == "x"


def test_an_unknown_rank_is_called_that():
    assert described(DType.FLOAT32, None).inputs["x"].tensor_shape.unknown_rank


def test_a_signature_without_a_method_is_for_predict():
    assert described(DType.FLOAT32, ()).method_name == "tensorflow/serving/predict"
    other = Signature("s", {}, {}, "tensorflow/serving/classify")
    assert signature_defs(servable(other)).signature_def["s"].method_name == "tensorflow/serving/classify"


def test_what_the_file_says_is_told_as_it_is():
    definition = message_class("tensorflow.SignatureDef")(method_name="m")
    definition.inputs["x"].name = "x:0"
    # A field that nobody here knows.
    raw = definition.SerializeToString() + b"\xfa\x3f\x01a"
    found = signature_defs(servable(Signature("s", {}, {}), __saved_model_init_op=raw))
    assert list(found.signature_def) == ["__saved_model_init_op"]
    assert found.signature_def["__saved_model_init_op"].SerializeToString() == raw
