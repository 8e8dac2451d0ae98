"""ModelInferRequest and ModelInferResponse, against protobuf and the client of Triton."""

import contextlib
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.oip import (
    InferResponse,
    OutputTensor,
    encode_raw,
    read_grpc_request,
    write_grpc_response,
)
from tensorhost.codecs.oip.raw import object_array
from tensorhost.codecs.oip.raw_fields import split_raw_inputs
from tensorhost.codecs.protobuf import message_class
from tensorhost.core.errors import InvalidRequestError, TensorhostError, UnsupportedTypeError

Request: Any = message_class("inference.ModelInferRequest")
Response: Any = message_class("inference.ModelInferResponse")
LARGE = np.arange(40_000, dtype=np.float32).reshape(1, -1)
SMALL = np.arange(4, dtype=np.float32).reshape(1, -1)
LIMIT = 1_000_000


def request_of(*arrays, **fields):
    message = Request(model_name="m", **fields)
    for index, array in enumerate(arrays):
        message.inputs.add(name=f"x{index}", datatype="FP32", shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    return message


def read(message):
    return read_grpc_request(message if isinstance(message, bytes) else message.SerializeToString())


def test_all_fields_of_a_request():
    message = request_of(SMALL, LARGE, model_version="3", id="abc")
    message.parameters["flag"].bool_param = False
    message.parameters["count"].int64_param = -3
    message.parameters["text"].string_param = "é"
    message.parameters["share"].double_param = 0.5
    message.parameters["large"].uint64_param = 2**64 - 1
    message.parameters["nothing"].SetInParent()
    message.inputs[0].parameters["own"].bool_param = True
    message.outputs.add(name="y").parameters["classification"].int64_param = 2
    message.outputs.add(name="z")
    request = read(message)
    assert (request.model_name, request.model_version, request.id) == ("m", "3", "abc")
    assert request.parameters == {"flag": False, "count": -3, "text": "é", "share": 0.5, "large": 2**64 - 1}
    assert [(output.name, output.parameters) for output in request.outputs] == [("y", {"classification": 2}), ("z", {})]
    assert request.inputs[0].parameters == {"own": True}
    assert request.inputs[1].parameters == {}
    for tensor, array in zip(request.inputs, (SMALL, LARGE), strict=True):
        assert (tensor.datatype, tensor.shape) == ("FP32", array.shape)
        np.testing.assert_array_equal(tensor.decode(max_elements=LIMIT), array)
    assert not request.has_typed_contents


def test_the_elements_of_a_large_request_are_not_copied():
    data = request_of(LARGE).SerializeToString()
    array = read_grpc_request(data).inputs[0].decode(max_elements=LIMIT)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_typed_contents():
    message = Request(model_name="m")
    message.inputs.add(name="x", datatype="INT64", shape=[3]).contents.int64_contents.extend([1, -2, 2**62])
    message.inputs.add(name="s", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"a", b""])
    message.inputs.add(name="none", datatype="FP32", shape=[0, 4])
    request = read(message)
    assert request.has_typed_contents
    assert request.inputs[0].decode(max_elements=LIMIT).tolist() == [1, -2, 2**62]
    assert request.inputs[1].decode(max_elements=LIMIT).tolist() == [b"a", b""]
    assert request.inputs[2].decode(max_elements=LIMIT).shape == (0, 4)


def test_an_input_in_shared_memory_has_no_raw_contents():
    message = request_of(SMALL)
    message.inputs.insert(0, message.inputs.add(name="far", datatype="FP32", shape=[1]))
    del message.inputs[2:]
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    request = read(message)
    assert request.inputs[0].elements is None
    np.testing.assert_array_equal(request.inputs[1].decode(max_elements=LIMIT), SMALL)
    with pytest.raises(InvalidRequestError, match="Input 'far' has no data"):
        request.inputs[0].decode(max_elements=LIMIT)
    message.inputs[0].contents.fp32_contents.append(1)
    with pytest.raises(InvalidRequestError, match=r"Input 'far' must have one of .* but has .* and 'contents'"):
        read(message)


@pytest.mark.parametrize("array", [SMALL, LARGE])
def test_raw_contents_and_typed_ones_are_not_mixed(array):
    message = request_of(array)
    message.inputs.add(name="y", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(InvalidRequestError, match="both contents of inputs and raw_input_contents"):
        read(message)


@pytest.mark.parametrize("surplus", [-1, 1, 3])
@pytest.mark.parametrize("array", [SMALL, LARGE])
def test_raw_contents_are_counted(array, surplus):
    message = request_of(array, array)
    if surplus < 0:
        del message.raw_input_contents[surplus:]
    message.raw_input_contents.extend([b"a"] * surplus)
    with pytest.raises(InvalidRequestError, match=f"has {2 + surplus} raw_input_contents, expected 2"):
        read(message)


def test_an_input_without_any_elements_is_told_of_them():
    message = Request(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    with pytest.raises(InvalidRequestError, match="Input 'x' has 0 elements in fp32_contents, expected 1"):
        read(message).inputs[0].decode(max_elements=LIMIT)


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_there_are_not_too_many_tensors(field):
    message = Request(model_name="m")
    for _ in range(1001):
        getattr(message, field).add(name="x")
    with pytest.raises(InvalidRequestError, match=f"The request has 1001 {field}"):
        read(message)


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_a_name_is_not_too_long_to_be_repeated(field):
    with pytest.raises(InvalidRequestError, match="of a tensor has 1001 characters"):
        read(Request(**{field: [{"name": "n" * 1001}]}))


def test_there_are_not_too_many_parameters_nor_dimensions():
    message = Request()
    for index in range(10_001):
        message.parameters[str(index)].bool_param = True
    with pytest.raises(InvalidRequestError, match="10001 parameters"):
        read(message)
    with pytest.raises(InvalidRequestError, match="Input 'x' has 65 dimensions"):
        read(Request(inputs=[{"name": "x", "shape": [1] * 65}]))


@pytest.mark.parametrize("array", [SMALL, LARGE])
def test_a_truncated_request_is_refused(array):
    data = request_of(array, id="abc").SerializeToString()
    for cut in (1, 5, len(data) - array.nbytes - 2, len(data) - 7, len(data) - 1):
        with pytest.raises(TensorhostError):
            read_grpc_request(data[:cut]).inputs[0].decode(max_elements=LIMIT)


@given(st.binary(max_size=200), st.integers(0, 3), st.booleans())
def test_splitting_off_the_raw_contents_changes_nothing(noise, raw_fields, at_the_end):
    raws = [bytes((index,)) * 3 for index in range(raw_fields)]
    fields = b"".join(b"\x3a\x03" + raw for raw in raws)
    data = noise + fields if at_the_end else fields + noise
    try:
        whole = Request.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            Request.FromString(split_raw_inputs(data)[0])
        return
    rest, raw = split_raw_inputs(data)
    split = Request.FromString(rest)
    split.raw_input_contents.extend(map(bytes, raw))
    assert split == whole


@pytest.mark.parametrize("tail", [b"\x3a", b"\x3a\xff", b"\x3a\x05abc", b"\xff" * 11, b"\x0b", b"\x0f", b"\x39abc"])
def test_what_cannot_be_split_is_left_to_protobuf(tail):
    data = request_of(SMALL).SerializeToString() + tail
    assert split_raw_inputs(data) == (data, [])


def test_a_message_of_very_many_fields_is_left_to_protobuf():
    data = b"\x3a\x00" * 5000
    assert split_raw_inputs(data) == (data, [])
    assert len(split_raw_inputs(b"\x3a\x00" * 4000)[1]) == 4000


def outputs_of(**arrays):
    return [OutputTensor(name, array) for name, array in arrays.items()]


def test_an_answer_in_raw_contents():
    arrays = {"y": SMALL, "z": LARGE, "s": object_array([b"ab", b""]), "e": np.empty((0, 3), np.int8)}
    data = write_grpc_response(InferResponse("m", "2", outputs_of(**arrays)))
    message = Response.FromString(data)
    assert (message.model_name, message.model_version, message.id) == ("m", "2", "")
    assert [(output.name, output.datatype, list(output.shape)) for output in message.outputs] == [
        ("y", "FP32", [1, 4]),
        ("z", "FP32", [1, 40_000]),
        ("s", "BYTES", [2]),
        ("e", "INT8", [0, 3]),
    ]
    assert [bytes(encode_raw(array)) for array in arrays.values()] == list(message.raw_output_contents)
    assert message.SerializeToString() == data


def test_an_answer_in_typed_contents():
    data = write_grpc_response(
        InferResponse("m", "2", outputs_of(y=SMALL, s=object_array([b"ab", b""]), e=np.empty(0, np.int8))),
        typed_contents=True,
    )
    message = Response.FromString(data)
    assert list(message.outputs[0].contents.fp32_contents) == [0, 1, 2, 3]
    assert list(message.outputs[1].contents.bytes_contents) == [b"ab", b""]
    assert message.outputs[2].HasField("contents")
    assert not message.raw_output_contents
    assert message.SerializeToString() == data


def test_an_answer_that_has_no_typed_contents_is_raw_altogether():
    half = np.ones(2, np.float16)
    message = Response.FromString(
        write_grpc_response(InferResponse("m", "2", outputs_of(y=SMALL, h=half)), typed_contents=True)
    )
    assert list(message.raw_output_contents) == [SMALL.tobytes(), half.tobytes()]
    assert not any(output.HasField("contents") for output in message.outputs)


def test_parameters_of_an_answer():
    given = {"b": True, "i": -1, "u": 2**64 - 1, "d": 1.5, "s": "t"}
    response = InferResponse("m", "1", outputs_of(y=SMALL), id="q", parameters=given)
    message = Response.FromString(write_grpc_response(response))
    assert message.id == "q"
    choices = {name: value.WhichOneof("parameter_choice") for name, value in message.parameters.items()}
    assert choices == {
        "b": "bool_param",
        "i": "int64_param",
        "u": "uint64_param",
        "d": "double_param",
        "s": "string_param",
    }
    assert {name: getattr(message.parameters[name], choice) for name, choice in choices.items()} == given


@pytest.mark.parametrize("typed", [False, True])
def test_an_output_in_shared_memory_keeps_the_place_of_its_contents(typed):
    outputs = [
        OutputTensor("far", None, "FP32", (1, 4)),
        OutputTensor("y", SMALL),
    ]
    message = Response.FromString(write_grpc_response(InferResponse("m", "1", outputs), typed_contents=typed))
    assert (message.outputs[0].datatype, list(message.outputs[0].shape)) == ("FP32", [1, 4])
    assert list(message.raw_output_contents) == ([] if typed else [b"", SMALL.tobytes()])


@pytest.mark.parametrize("typed", [False, True])
def test_a_type_that_the_protocol_does_not_have_is_refused(typed):
    with pytest.raises(UnsupportedTypeError, match="Output 'y' is complex64"):
        write_grpc_response(InferResponse("m", "1", outputs_of(y=np.zeros(1, np.complex64))), typed_contents=typed)


@given(st.data())
def test_a_message_that_was_tampered_with_is_read_or_refused(data):
    message = request_of(data.draw(st.sampled_from([SMALL, LARGE])), id="abc")
    message.parameters["a"].int64_param = 1
    message.inputs[0].parameters["b"].string_param = "c"
    if data.draw(st.booleans()):
        del message.raw_input_contents[:]
        message.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    changed = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, min(len(changed), 100) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(TensorhostError):
        arrays = [tensor.decode(max_elements=LIMIT) for tensor in read(bytes(changed)).inputs]
        assert all(array.size <= LIMIT for array in arrays)
