"""Bodies of infer requests and answers over HTTP, against those that Triton's client writes and reads."""

import contextlib
import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from tensorhost.codecs.oip import (
    DATATYPES,
    InferResponse,
    OutputTensor,
    datatype_of,
    read_http_request,
    write_http_response,
)
from tensorhost.codecs.oip.raw import object_array
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, TensorhostError, UnsupportedTypeError

LIMIT = 1_000_000
BOTH = pytest.mark.parametrize("binary", [False, True])
EXAMPLES = {
    "BOOL": np.array([[True, False]]),
    "FP16": np.array([[1.5, 65504.0]], np.float16),
    "BF16": np.array([[1.5, -3e38]], ml_dtypes.bfloat16),
    "FP32": np.array([[0.1, 3.4e38]], np.float32),
    "FP64": np.array([[0.1, 1e308]]),
    "BYTES": object_array(["é".encode(), b""]).reshape(1, 2),
} | {
    datatype_of(dtype): np.array([[np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max]], dtype.numpy)
    for dtype in DATATYPES.values()
    if dtype.is_integer
}


def written_by_client(array, *, binary, **request):
    tensor = InferInput("x", array.shape, datatype_of(DType.of(array)))
    tensor.set_data_from_numpy(array, binary_data=binary)
    body, json_size = InferenceServerClient.generate_request_body([tensor], **request)
    return body, None if json_size is None else str(json_size)


def read_by_client(response):
    written = write_http_response(response)
    body = b"".join(written.pieces)
    length = None if written.header_length is None else str(written.header_length)
    return InferenceServerClient.parse_response_body(body, header_length=length)


def decoded(body, header_length=None, max_elements=LIMIT):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [tensor.decode(max_elements=max_elements) for tensor in read_http_request(text, header_length).inputs]


def data_of(datatype, shape, data):
    [array] = decoded({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]})
    return array


def refused(body, header_length=None):
    with pytest.raises(TensorhostError) as caught:
        decoded(body, header_length)
    assert len(caught.value.message) < 500
    return caught.value.message


def test_every_datatype_has_an_example():
    assert set(EXAMPLES) == set(DATATYPES)


@BOTH
@pytest.mark.parametrize("datatype", EXAMPLES)
def test_what_tritons_client_sends_is_read(datatype, binary):
    array = EXAMPLES[datatype]
    if datatype in {"FP16", "BF16"}:
        binary = True  # the client refuses to write these as JSON
    body, length = written_by_client(array, binary=binary)
    [read] = decoded(body, length)
    assert (read.dtype, read.shape, read.tolist()) == (array.dtype, array.shape, array.tolist())


@BOTH
@pytest.mark.parametrize("datatype", EXAMPLES)
def test_what_is_answered_is_read_by_tritons_client(datatype, binary):
    array = EXAMPLES[datatype]
    result = read_by_client(InferResponse("m", "1", [OutputTensor("y", array, as_binary=binary)], id="q"))
    read = result.as_numpy("y")
    assert read.shape == array.shape
    if datatype == "BYTES" and not binary:
        assert [value.encode() for value in read.reshape(-1)] == array.reshape(-1).tolist()
    else:
        assert (read.dtype, read.tolist()) == (array.dtype, array.tolist())
    assert result.get_response()["id"] == "q"


@BOTH
@given(st.data())
def test_arrays_of_any_shape_go_both_ways(binary, data):
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape) - 1.25
    body, length = written_by_client(array, binary=binary)
    [read] = decoded(body, length)
    result = read_by_client(InferResponse("m", "1", [OutputTensor("y", read, as_binary=binary)]))
    np.testing.assert_array_equal(result.as_numpy("y"), array)


def test_all_fields_that_tritons_client_sends():
    outputs = [InferRequestedOutput("y", binary_data=True), InferRequestedOutput("z", binary_data=False, class_count=3)]
    body, length = written_by_client(
        EXAMPLES["FP32"],
        binary=True,
        outputs=outputs,
        request_id="abc",
        priority=1,
        timeout=500,
        parameters={"own": "é"},
    )
    request = read_http_request(body, length)
    assert request.id == "abc"
    assert request.parameters == {"priority": 1, "timeout": 500, "own": "é"}
    assert [(output.name, output.parameters) for output in request.outputs] == [
        ("y", {"binary_data": True}),
        ("z", {"binary_data": False, "classification": 3}),
    ]
    assert request.inputs[0].parameters == {"binary_data_size": 8}


def test_inputs_as_json_and_binary_are_mixed():
    first, second = np.float32([1, 2]).tobytes(), b"\1\0\0\0a"
    head = json.dumps(
        {
            "inputs": [
                {"name": "a", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
                {"name": "b", "datatype": "INT8", "shape": [1], "data": [7]},
                {"name": "c", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}},
            ]
        }
    ).encode()
    body = head + first + second
    arrays = decoded(body, str(len(head)))
    assert [array.tolist() for array in arrays] == [[1, 2], [7], [b"a"]]
    assert np.shares_memory(arrays[0], np.frombuffer(body, np.uint8))
    for cut, message in (
        (body[:-1], "Input 'c' has 4 bytes of binary data in the body, expected 5."),
        (body[: len(head) + 7], "Input 'a' has 7 bytes of binary data in the body, expected 8."),
        (body + b"!", "The body has 1 bytes behind the binary data of its inputs."),
    ):
        assert refused(cut, str(len(head))) == message


def test_a_body_that_is_all_elements():
    request = read_http_request(b"\0\1\2", "0")
    assert bytes(request.raw_body) == b"\0\1\2"
    assert read_http_request(b"", "0").raw_body == b""
    assert request.inputs == []


@pytest.mark.parametrize("length", ["-1", "abc", "", "1.0", "+2", " 2", "0x2", "١", "9" * 400, "3", "1e0"])
def test_a_header_length_that_is_none(length):
    message = refused(b"{}", length)
    assert message.startswith(
        "Inference-Header-Content-Length must be a whole number from 0 to 2, the length of the body"
    )


@pytest.mark.parametrize("length", ["1", "20", "40"])
def test_a_header_length_that_cuts_the_json(length):
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
    assert refused(body, length).startswith("The body is not valid JSON")


@pytest.mark.parametrize("size", [-1, "8", 1.5, True, 2**64 - 1])
def test_a_binary_size_that_is_none(size):
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    assert "Input 'x'" in refused(head + bytes(8), str(len(head)))


@pytest.mark.parametrize(
    ("has", "found"),
    [
        ({}, "has none"),
        ({"data": None}, "has none"),
        ({"data": [1], "parameters": {"binary_data_size": 4}}, "has 'binary_data_size' and 'data'"),
        ({"data": [1], "parameters": {"shared_memory_region": "r"}}, "has 'shared_memory_region' and 'data'"),
    ],
)
def test_an_input_has_its_elements_in_one_place(has, found):
    assert refused({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], **has}]}).endswith(f"but {found}.")


def test_an_input_in_shared_memory_has_no_elements_yet():
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": parameters}]}
    [tensor] = read_http_request(json.dumps(body).encode(), None).inputs
    assert tensor.elements is None
    assert tensor.parameters == parameters


X = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "The body has no 'inputs'."),
        ([], "The body must be a JSON object, not a list."),
        ({"inputs": {}}, "The body: 'inputs' must be a list of objects, not an object."),
        ({"inputs": [1]}, "'inputs[0]' must be an object, not the number 1."),
        ({"inputs": [X], "id": 3}, "The body: 'id' must be a string, not the number 3."),
        ({"inputs": [X], "parameters": []}, "The body: 'parameters' must be an object, not a list."),
        (
            {"inputs": [X], "parameters": {"a": {}}},
            "The body: the parameter 'a' must be a string, a number or a boolean, not an object.",
        ),
        ({"inputs": [X], "outputs": "y"}, "The body: 'outputs' must be a list of objects, not a string."),
        ({"inputs": [X], "outputs": [{}]}, "'outputs[0]': 'name' is missing."),
        ({"inputs": [{**X, "name": 1}]}, "'inputs[0]': 'name' must be a string, not the number 1."),
        ({"inputs": [X, {**X, "datatype": None}]}, "'inputs[1]': 'datatype' must be a string, not null."),
        ({"inputs": [{**X, "shape": None}]}, "'inputs[0]': 'shape' must be a list of whole numbers, not null."),
        ({"inputs": [{**X, "shape": [-1]}]}, "Input 'x' has a dimension below zero in its shape [-1]."),
        (
            {"inputs": [{**X, "shape": [1.0]}]},
            "Input 'x': the sizes in 'shape' must be whole numbers from 0, not the number 1.0.",
        ),
        (
            {"inputs": [{**X, "shape": [True]}]},
            "Input 'x': the sizes in 'shape' must be whole numbers from 0, not true.",
        ),
        (
            {"inputs": [{**X, "shape": [2**64 - 1]}]},
            "Input 'x': the sizes in 'shape' must be whole numbers from 0, not the number 18446744073709551615.",
        ),
        ({"inputs": [{**X, "shape": [1] * 65}]}, "Input 'x' has 65 dimensions; at most 64 are allowed."),
        ({"inputs": [X] * 1001}, "The request has 1001 inputs; at most 1000 are allowed."),
        ({"inputs": [{**X, "data": 1}]}, "Input 'x': 'data' must be a list, not the number 1."),
        ({"inputs": [{**X, "data": {"b64": ""}}]}, "Input 'x': 'data' must be a list, not an object."),
    ],
)
def test_a_field_of_a_wrong_kind_is_named(body, message):
    assert refused(body) == message


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_a_name_is_not_too_long_to_be_repeated(field):
    body = {"inputs": [X], "outputs": [{"name": "y"}]}
    body[field][0] = {**body[field][0], "name": "n" * 1001}
    assert refused(body) == f"The name '{'n' * 32}…' of a tensor has 1001 characters; at most 1000 are allowed."


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b'{"inputs":', b"\xff", b'{"inputs":[]}x', b'{"inputs":[],"inputs":[]}', b"[" * 100_000],
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(InvalidRequestError, match=r"^The (JSON )?body "):
        read_http_request(text, None)


def test_members_that_nobody_knows_and_nulls_are_ignored():
    body = {"inputs": [{**X, "parameters": None, "more": [[1], "["]}], "id": None, "outputs": None, "foo": {"a": [1]}}
    assert [array.tolist() for array in decoded(body)] == [[1]]
    body["parameters"] = {"a": None, "b": 1}
    assert read_http_request(json.dumps(body).encode(), None).parameters == {"b": 1}


@pytest.mark.parametrize("value", [-(2**63), 2**63, 2**64 - 1, 1e300, 2.0**70, -1.5, "1", True])
def test_a_parameter_is_carried_exactly(value):
    # What is beside it is rounded, as the floating-point number it is to become.
    for data in ([1], [10**20]):
        request = read_http_request(
            json.dumps({"inputs": [{**X, "data": data}], "parameters": {"p": value}}).encode(), None
        )
        assert request.parameters == {"p": value}
        assert type(request.parameters["p"]) is type(value)


@pytest.mark.parametrize("value", [2**64, 2**70, -(2**63) - 1, -(10**300)])
def test_a_parameter_that_would_lose_digits_is_refused(value):
    for more, where in (
        ({"parameters": {"p": value}}, "The body"),
        ({"inputs": [{**X, "parameters": {"p": value}}]}, "'inputs[0]'"),
        ({"outputs": [{"name": "y", "parameters": {"p": value}}]}, "'outputs[0]'"),
        ({"inputs": [{**X, "data": [math.nan]}], "parameters": {"p": value}}, "The body"),
    ):
        assert refused({"inputs": [X], **more}) == (
            f"{where}: the parameter 'p' is a whole number beyond 64 bits, which would lose digits."
        )


def test_a_number_with_a_fraction_is_no_integer_of_many_digits():
    text = b'{"inputs":[],"more":[0.36893488147419103232,36893488147419103232],"parameters":{"p":1e20,"q":0.1}}'
    assert read_http_request(text, None).parameters == {"p": 1e20, "q": 0.1}


def test_very_many_parameters_and_digits_take_no_time_to_speak_of():
    # Each parameter may be one of the integers; they are looked for once.
    items = [{**X, "parameters": {str(number): 1e25 for number in range(40)}} for _ in range(1000)]
    text = json.dumps({"id": "0" * 10_000 + "1" * 25, "inputs": items, "more": [10**24, "9" * 5000]}).encode()
    assert len(read_http_request(text, None).inputs) == 1000


def test_outputs_as_json_and_binary_are_mixed():
    outputs = [
        OutputTensor("a", np.float32([[1, 2]]), as_binary=True),
        OutputTensor("b", np.array([3], np.int64)),
        OutputTensor("c", object_array([b"\xff"]), as_binary=True),
        OutputTensor("d", None, "FP32", (2,)),
    ]
    written = write_http_response(InferResponse("m", "1", outputs, parameters={"p": True}))
    body = b"".join(written.pieces)
    assert json.loads(body[: written.header_length]) == {
        "model_name": "m",
        "model_version": "1",
        "parameters": {"p": True},
        "outputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
            {"name": "b", "datatype": "INT64", "shape": [1], "data": [3]},
            {"name": "c", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}},
            # In shared memory. With parameters Triton's C++ client would look for a size of binary data.
            {"name": "d", "datatype": "FP32", "shape": [2]},
        ],
    }
    assert body[written.header_length :] == np.float32([1, 2]).tobytes() + b"\1\0\0\0\xff"


def test_a_body_that_lies_in_memory_of_ours_is_read_there_and_an_output_is_written_from_where_it_lies():
    given = np.arange(2000, dtype=np.float32)
    body, length = written_by_client(given, binary=True)
    memory = np.frombuffer(bytearray(body), np.uint8)
    [read] = [tensor.decode(max_elements=LIMIT) for tensor in read_http_request(memory.data, length).inputs]
    np.testing.assert_array_equal(read, given)
    assert np.shares_memory(read, memory)
    assert read.flags.writeable
    _, piece = write_http_response(InferResponse("m", "1", [OutputTensor("y", read, as_binary=True)])).pieces
    assert np.shares_memory(np.frombuffer(piece, np.uint8), read)


@pytest.mark.parametrize(("rows", "is_copied"), [(1, False), (2, False), (3, True)])
def test_an_output_that_is_a_small_part_of_a_batch_does_not_keep_the_batch(rows, is_copied):
    batch = np.zeros((rows, 2000), np.float32)
    output = OutputTensor("y", batch[:1], as_binary=True)
    _, piece = write_http_response(InferResponse("m", "1", [output])).pieces
    assert np.shares_memory(np.frombuffer(piece, np.uint8), batch) is not is_copied


def test_the_recorded_answer_of_triton_is_what_is_written():
    array = np.float32([[2, 4, 6, 8]])
    answer = write_http_response(InferResponse("identity", "2", [OutputTensor("y", array)], id="abc"))
    assert answer.header_length is None
    assert b"".join(answer.pieces) == (
        b'{"id":"abc","model_name":"identity","model_version":"2","outputs":[{"name":"y","datatype":"FP32",'
        b'"shape":[1,4],"data":[2.0,4.0,6.0,8.0]}]}'
    )
    binary = write_http_response(InferResponse("identity", "2", [OutputTensor("y", array, as_binary=True)]))
    assert binary.header_length == 139
    assert b"".join(binary.pieces)[:139].endswith(b'"shape":[1,4],"parameters":{"binary_data_size":16}}]}')


def test_an_output_without_dimensions_and_an_empty_one():
    outputs = [OutputTensor("s", np.array(1.5, np.float32)), OutputTensor("e", np.empty((0, 2), np.float32))]
    written = json.loads(write_http_response(InferResponse("m", "1", outputs)).pieces[0])["outputs"]
    assert [(output["shape"], output["data"]) for output in written] == [([], [1.5]), ([0, 2], [])]


def test_numbers_that_json_does_not_have_are_read_as_tritons_client_writes_them():
    array = np.float32([np.nan, np.inf, -np.inf, 1])
    body, length = written_by_client(array, binary=False)
    assert b"NaN" in body
    np.testing.assert_array_equal(decoded(body, length)[0], array)


def test_numbers_that_json_does_not_have_are_answered_with_null():
    array = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    response = InferResponse("m", "1", [OutputTensor("y", array)])
    assert json.loads(write_http_response(response).pieces[0])["outputs"][0]["data"] == [None, None, None, 1]
    np.testing.assert_array_equal(read_by_client(response).as_numpy("y"), np.float32([np.nan, np.nan, np.nan, 1]))


@BOTH
def test_outputs_that_cannot_be_written(binary):
    with pytest.raises(UnsupportedTypeError, match="Output 'y' is complex128"):
        write_http_response(InferResponse("m", "1", [OutputTensor("y", np.zeros(1, complex), as_binary=binary)]))
    text = InferResponse("m", "1", [OutputTensor("y", object_array([b"\xff"]), as_binary=binary)])
    if binary:
        assert write_http_response(text).header_length
    else:
        with pytest.raises(UnsupportedTypeError, match=r"Output 'y' holds bytes that are no UTF-8.*binary data"):
            write_http_response(text)


@given(st.data())
def test_a_body_that_was_tampered_with_is_read_or_refused(data):
    body, length = written_by_client(EXAMPLES["FP32"], binary=data.draw(st.booleans()), request_id="NaN[", priority=1)
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'[]{}",:0-9eN\\\0\xff'))
    cut = data.draw(st.integers(0, len(body)))
    for form in (bytes(changed), bytes(changed[:cut]), body[:cut] + bytes(changed)):
        with contextlib.suppress(TensorhostError):
            assert all(array.size <= LIMIT for array in decoded(form, length))
