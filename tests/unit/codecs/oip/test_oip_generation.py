"""Bodies of generate requests: which shapes their values make, and what is refused."""

import json
import math

import numpy as np
import pytest

from tensorhost.codecs.oip import InferResponse, OutputTensor, read_generate_request, write_generate_response
from tensorhost.codecs.oip.raw import object_array
from tensorhost.core.errors import InvalidRequestError, TensorhostError, UnsupportedTypeError

MODEL = {"text_input": ("BYTES", [-1, 1]), "temperature": ("FP32", [-1, 1]), "tokens": ("INT32", [-1, -1])}


def read(body, inputs=MODEL):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_generate_request(text, inputs, max_depth=64)


def arrays(body, inputs=MODEL):
    return {each.name: each.decode(max_elements=1000) for each in read(body, inputs).inputs}


def refused(body, inputs=MODEL):
    with pytest.raises(TensorhostError) as caught:
        arrays(body, inputs)
    return caught.value.message


def test_inputs_and_parameters_wherever_they_stand():
    request = read(
        {
            "id": "7",
            "text_input": "hi",
            "stream": False,
            "stop": None,
            "tokens": None,
            "parameters": {"temperature": 0.5, "seed": 2**64 - 1, "n": None},
        }
    )
    assert request.id == "7"
    assert [(each.name, each.datatype, each.shape) for each in request.inputs] == [
        ("text_input", "BYTES", (1, 1)),
        ("temperature", "FP32", (1, 1)),
    ]
    assert request.parameters == {"stream": False, "seed": 2**64 - 1}
    assert read({"parameters": None}).parameters == {}


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        ([], 1, 1),
        ([1], 1, [1]),
        ([-1], 1, [1]),
        ([-1], [], []),
        ([-1], [1, 2], [1, 2]),
        ([-1, 2], [1, 2, 3, 4], [[1, 2], [3, 4]]),
        ([-1, -1], [1, 2], [[1, 2]]),
        ([-1, 2, -1], [1, 2, 3, 4], [[[1, 2], [3, 4]]]),
        ([2, 2], [1, 2, 3, 4], [[1, 2], [3, 4]]),
        ([0, 2], [], []),
        ([-1, 0], [], [[]]),
    ],
)
def test_values_make_the_shape_that_has_room_for_them(shape, value, expected):
    for given in (value, [float(each) for each in value] if isinstance(value, list) else float(value)):
        array = arrays({"x": given}, {"x": ("FP32", shape)})["x"]
        assert array.dtype == np.float32
        assert array.tolist() == expected


@pytest.mark.parametrize(
    ("shape", "value"),
    [([], [1, 2]), ([2], 1), ([-1, 2], [1, 2, 3]), ([0], 1), ([-1, 0], [1]), ([-1, 2], [[1, 2]])],
)
def test_values_that_make_none(shape, value):
    assert refused({"x": value}, {"x": ("FP32", shape)}).startswith(
        "The schema can not convert input 'x' to tensor with proper shape: "
    )


def test_an_input_may_be_named_as_anything_else_is():
    inputs = {"id": ("INT32", [1]), "model_name": ("BYTES", [1])}
    assert read({"id": 3, "model_name": "m"}, inputs).id == ""
    assert arrays({"id": 3, "model_name": "m"}, inputs) == {"id": [3], "model_name": [b"m"]}


def test_numbers_that_json_does_not_have():
    assert math.isnan(arrays({"temperature": math.nan})["temperature"][0][0])
    assert arrays({"tokens": [1, 2]})["tokens"].tolist() == [[1, 2]]
    assert arrays({"temperature": [math.inf]})["temperature"].tolist() == [[math.inf]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "The body must be a JSON object, not a list."),
        ({"id": 7}, "The body: 'id' must be a string, not the number 7."),
        ({"parameters": []}, "The body: 'parameters' must be an object, not a list."),
        ({"a": [1]}, "The body: the parameter 'a' must be a string, a number or a boolean, not a list."),
        (
            {"parameters": {"a": {}}},
            "'parameters': the parameter 'a' must be a string, a number or a boolean, not an object.",
        ),
        (
            {"a": 2**70},
            "The body: the parameter 'a' is a whole number beyond 64 bits, which would lose digits.",
        ),
        ({"a": 1, "parameters": {"a": 2}}, "The parameter 'a' is given twice, in the body and under 'parameters'."),
        (b'{"a": 1, "a": 2}', "The body has the field 'a' twice."),
        (b'{"parameters": {"a": 1, "a": 2}}', "'parameters' has the field 'a' twice."),
        ({"text_input": 1}, "Input 'text_input' must be BYTES: the value is the number 1, expected a string."),
        ({"text_input": {}}, "Input 'text_input' must be BYTES: the value is an object, expected a string."),
        ({"tokens": [1, [2]]}, "Input 'tokens' is ragged: the value at [1] is a list where others are not."),
        (
            {"tokens": [[1, 2], [3]]},
            "Input 'tokens' has data of shape [2, 2], expected [1, 2] or 2 elements in one list.",
        ),
        ({"tokens": 1.5}, "Input 'tokens' must be int32: the value is the number 1.5; a fraction would be lost."),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(body, message):
    assert refused(body) == message


def test_an_input_given_twice_is_two_inputs():
    # Which the model's front end refuses, in Triton's words.
    assert [each.name for each in read({"tokens": 1, "parameters": {"tokens": 2}}).inputs] == ["tokens", "tokens"]


def test_what_is_too_much_is_refused_before_it_is_made():
    request = read({"tokens": [1] * 1001})
    with pytest.raises(TensorhostError, match="more than 1000 elements"):
        request.inputs[0].decode(max_elements=1000)


def test_a_single_value_is_bare():
    outputs = [
        OutputTensor("one", np.float32([[1.5]])),
        OutputTensor("many", np.int64([[1, 2], [3, 4]])),
        OutputTensor("none", np.empty((0, 2), np.float32)),
        OutputTensor("scalar", np.array(True)),
        OutputTensor("half", np.float16([0.5])),
        OutputTensor("nan", np.float32([np.nan])),
        OutputTensor("text", object_array(["é".encode()])),
        OutputTensor("texts", object_array([b"a", b"b"])),
    ]
    assert json.loads(write_generate_response(InferResponse("m", "1", outputs))) == {
        "model_name": "m",
        "model_version": "1",
        "one": 1.5,
        "many": [1, 2, 3, 4],
        "none": [],
        "scalar": True,
        "half": 0.5,
        "nan": None,
        "text": "é",
        "texts": ["a", "b"],
    }
    assert json.loads(write_generate_response(InferResponse("m", "1", [], id="i")))["id"] == "i"
    with pytest.raises(UnsupportedTypeError, match="Output 'y' holds bytes that are no UTF-8"):
        write_generate_response(InferResponse("m", "1", [OutputTensor("y", object_array([b"\xff"]))]))


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": 1}}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(InvalidRequestError, match=r"^The (JSON )?body "):
        read(text)
