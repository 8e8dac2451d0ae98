import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.machine import family
from benchmarks.models import Model
from benchmarks.protocols import (
    BARE,
    INFER,
    NATIVE,
    NATIVE_PNG,
    OUR_BINARY,
    OUR_INFER,
    V1,
    V2,
    V2_BINARY,
)
from PIL import Image
from tritonclient.grpc import service_pb2
from tritonclient.http import InferResult

EXPECTED = np.array([[0.25, -1.5]], np.float32)
NUMBERS = Model("m", Path("m"), [[1, 2, 3]], EXPECTED, "ids", "int32")


def body(protocol, model=NUMBERS):
    return json.loads(protocol.write(model))


def test_every_protocol_carries_the_same_numbers():
    assert body(NATIVE) == {"modelName": "m", "inputs": [[1, 2, 3]]}
    assert body(BARE) == {"inputs": [[1, 2, 3]]}
    assert body(V1) == {"instances": [[1, 2, 3]]}
    (tensor,) = body(V2)["inputs"]
    assert tensor == {"name": "ids", "shape": [1, 3], "datatype": "INT32", "data": [1, 2, 3]}


def test_a_float_tensor_keeps_its_shape_beside_a_flat_list():
    model = Model("m", Path("m"), [[[0.5, 1.0], [0.0, 0.25]]], EXPECTED, "x")
    (tensor,) = body(V2, model)["inputs"]
    assert tensor == {"name": "x", "shape": [1, 2, 2], "datatype": "FP32", "data": [0.5, 1.0, 0.0, 0.25]}


def test_the_image_holds_the_pixels_the_rows_were_made_of():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
    model = Model("m", Path("m"), (pixels[np.newaxis] / 255).astype(np.float32).tolist(), EXPECTED)
    sent = body(NATIVE_PNG, model)
    image = Image.open(io.BytesIO(base64.b64decode(sent["inputs"][0]["b64"])))
    assert np.array_equal(np.asarray(image), pixels)
    assert sent["preprocessing"] == {"scale": 255}


def test_a_tensor_as_bytes_lies_where_the_header_says():
    sent = V2_BINARY.write(NUMBERS)
    length = int(V2_BINARY.headers["Inference-Header-Content-Length"])
    asked = json.loads(sent[:length])
    parameters = {"binary_data_size": 12}
    assert asked["inputs"] == [{"name": "ids", "shape": [1, 3], "datatype": "INT32", "parameters": parameters}]
    assert asked["parameters"] == {"binary_data_output": True}
    assert np.frombuffer(sent[length:], np.int32).tolist() == [1, 2, 3]
    assert OUR_BINARY.path.format(model="m") == "/v2/models/m/infer"
    assert OUR_BINARY.headers == V2_BINARY.headers


def test_a_message_is_what_others_read_too():
    for message, name in ((INFER.write(NUMBERS), "model"), (OUR_INFER.write(NUMBERS), "m")):
        request = service_pb2.ModelInferRequest.FromString(message)
        (tensor,) = request.inputs
        assert (request.model_name, tensor.name, tensor.datatype, list(tensor.shape)) == (name, "ids", "INT32", [1, 3])
        assert np.frombuffer(request.raw_input_contents[0], np.int32).tolist() == [1, 2, 3]


def response(**contents):
    message = service_pb2.ModelInferResponse(outputs=[{"name": "y", "datatype": "FP32", "shape": [1, 2]}])
    if "raw" in contents:
        message.raw_output_contents.append(contents["raw"])
    else:
        message.outputs[0].contents.fp32_contents.extend(contents["typed"])
    return message.SerializeToString()


def test_the_outputs_of_a_message_are_found_raw_or_not():
    assert INFER.answers(NUMBERS, response(raw=EXPECTED.tobytes()))
    assert INFER.answers(NUMBERS, response(typed=EXPECTED.ravel()))


@pytest.mark.parametrize(
    "answer", [b"", b"\xff", response(raw=b"\0" * 8), response(raw=b"\0" * 3), response(typed=[0.25])]
)
def test_any_other_message_is_wrong(answer):
    assert not INFER.answers(NUMBERS, answer)


def binary_answer(raw, size):
    head = {"outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}}]}
    return json.dumps(head).encode() + raw


def test_the_outputs_of_a_binary_answer_are_behind_its_json():
    answer = binary_answer(EXPECTED.tobytes(), 8)
    head = answer[: -EXPECTED.nbytes]
    read = InferResult.from_response_body(answer, header_length=len(head)).as_numpy("y")
    assert np.array_equal(read, EXPECTED), "Triton's client reads the same"
    assert V2_BINARY.answers(NUMBERS, answer)


@pytest.mark.parametrize(
    "answer",
    [
        binary_answer(EXPECTED.tobytes()[:7], 7),
        binary_answer(b"\0" * 8, 8),
        binary_answer(EXPECTED.tobytes(), 4),
        json.dumps({"outputs": [{"data": [0.25, -1.5]}]}).encode(),
        b"",
    ],
    ids=["cut", "other numbers", "half", "JSON", "nothing"],
)
def test_what_is_no_binary_answer_is_wrong(answer):
    assert not V2_BINARY.answers(NUMBERS, answer)


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        (NATIVE, {"predictions": [[0.25, -1.5000001]]}),
        (BARE, [[0.25, -1.5]]),
        (V1, {"predictions": [[0.25, -1.5]]}),
        (V2, {"outputs": [{"data": [0.25, -1.5]}]}),
    ],
)
def test_the_right_answer_is_right_wherever_it_stands(protocol, answer):
    assert protocol.answers(NUMBERS, json.dumps(answer).encode())


@pytest.mark.parametrize(
    "answer",
    [
        {"predictions": [[0.25, -1.4]]},
        {"predictions": [[0.25]]},
        {"predictions": [[0.25, -1.5], [0.25, -1.5]]},
        {"predictions": [["a", "b"]]},
        {"predictions": [[float("nan"), -1.5]]},
        {"error": "no"},
        [],
    ],
)
def test_anything_else_is_wrong(answer):
    assert not NATIVE.answers(NUMBERS, json.dumps(answer).encode())


def test_what_is_no_json_is_wrong():
    assert not NATIVE.answers(NUMBERS, b"{")


def test_a_family_has_the_children_that_lead_a_session_of_their_own():
    child = "import sys; sys.stdin.read()"
    parent = (
        "import subprocess, sys; "
        f"one = subprocess.Popen([sys.executable, '-c', '{child}'], start_new_session=True); "
        "print(one.pid, flush=True); one.wait()"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        other = int(process.stdout.readline())
        assert family(process.pid) == {process.pid, other}
        process.communicate()
