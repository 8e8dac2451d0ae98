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
from benchmarks.protocols import BARE, NATIVE, NATIVE_PNG, V1, V2
from PIL import Image

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
    assert protocol.answers(NUMBERS, answer)


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
    assert not NATIVE.answers(NUMBERS, answer)


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
