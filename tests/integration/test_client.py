"""Both clients against a real server: numbers, texts, images, control, deadlines, and a server that restarts."""

from __future__ import annotations

import io
import itertools
import threading

import numpy as np
import pytest
from native_models import ECHO_DTYPES, SLOW_S, write_constant
from native_server import RunningServer
from PIL import Image
from tests.unit.client.awaited import Awaited

from tensorhost.client import (
    Client,
    DeadlineExceededError,
    InvalidInputShapeError,
    InvalidInputTypeError,
    MissingInputError,
    ModelNotFoundError,
    ModelNotReadyError,
    OverloadedError,
    Prediction,
    Retries,
    ServerUnreachableError,
    SignatureNotFoundError,
    UnauthenticatedError,
    VersionNotFoundError,
)
from tensorhost.core.dtypes import DType

WINE = np.array([[13.87, 1.9, 2.8, 19.4, 107.0, 2.95, 2.97, 0.37, 1.76, 4.5, 1.25, 3.4, 915.0]])


@pytest.fixture(params=[Client, Awaited], ids=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def client(server, kind):
    with kind(f"http://127.0.0.1:{server.port}") as client:
        yield client


def test_what_is_served(client):
    assert client.health() == {"status": "healthy"}
    assert {"wine", "digits", "langid", "linear"} <= {model["name"] for model in client.models()}
    assert client.model("digits")["allVersionLabels"] == {"baseline": "1", "stable": "2"}
    assert client.model("digits", "baseline")["version"] == "1"
    assert client.metrics()["uptime"] > 0
    with pytest.raises(VersionNotFoundError):
        client.model("digits", "9")


@pytest.mark.parametrize("dtype", ECHO_DTYPES)
def test_arrays_come_back_in_the_models_dtype(client, dtype):
    numpy_dtype = DType(dtype).numpy
    sent = np.array([1, 0, 1]).astype(numpy_dtype)
    back = client.predict("echo", sent, signature=dtype)["y"]
    assert back.dtype == numpy_dtype
    np.testing.assert_array_equal(back.astype(np.float64), sent.astype(np.float64))


def test_large_integers_and_small_fractions_are_exact(client):
    integers = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    np.testing.assert_array_equal(client.predict("echo", integers, signature="int64").array, integers)
    fractions = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(client.predict("echo", fractions, signature="float32").array, fractions)


def test_strings(client):
    prediction = client.predict("echo", ["a", "é", b"\xff"])
    assert prediction["y"].tolist() == ["aa", "éé", b"\xff\xff"]


def test_several_inputs_and_outputs(client):
    described = client.model("pair")["signatures"]["serving_default"]
    inputs = {
        spec["name"]: np.ones([size or 2 for size in spec["shape"]], spec["dtype"]) for spec in described["inputs"]
    }
    prediction = client.predict("pair", inputs)
    expected = {spec["name"]: spec["dtype"] for spec in described["outputs"]}
    assert {name: value.dtype.name for name, value in prediction.outputs.items()} == expected
    with pytest.raises(MissingInputError):
        client.predict("pair", {})


def test_images_from_files(client, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "bmp")
    prediction = client.predict("image", [file, content.getvalue()], signature="raw")
    assert prediction.array.dtype == np.uint8
    np.testing.assert_array_equal(prediction.array, [pixels, pixels])


def test_ranked_labels_and_class_numbers(client):
    ranked = client.predict("wine", WINE).ranked
    assert [entry.label for entry in ranked[0]] == ["class_0", "class_1", "class_2"]
    scores = client.predict("wine", WINE, postprocessing={"topK": None})
    assert (list(scores.outputs), scores.array.dtype, scores.array.shape) == (["probabilities"], np.float32, (1, 3))
    numbers = client.predict("wine", WINE, postprocessing={"topK": None, "argmax": True})
    assert (numbers.array.tolist(), numbers.array.dtype) == ([0], np.int64)
    assert (scores.model, scores.version) == ("wine", "1")
    assert scores.inference_ms > 0
    assert len(scores.request_id) == 16


def test_a_long_answer_arrives_whole(client):
    rows = np.random.default_rng(2).standard_normal((40_000, 3)).astype(np.float32)
    prediction = client.predict("linear", rows)
    assert prediction.array.shape[0] == 40_000
    assert prediction.array.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.predict("absent", [1]), ModelNotFoundError),
        (lambda client: client.predict("wine", WINE, version="7"), VersionNotFoundError),
        (lambda client: client.predict("wine", WINE, signature="other"), SignatureNotFoundError),
        (lambda client: client.predict("wine", WINE[:, :3]), InvalidInputShapeError),
        (lambda client: client.predict("wine", [["x"] * 13]), InvalidInputTypeError),
        (lambda client: client.predict("half", [1]), ModelNotReadyError),
    ],
)
def test_refusals_have_their_class_and_their_request(server, kind, call, error):
    with kind(f"http://127.0.0.1:{server.port}", retries=0) as client, pytest.raises(error) as caught:
        call(client)
    assert len(caught.value.request_id) == 16


def test_a_batch_keeps_order_and_a_bad_item_disturbs_nobody(client):
    items = [WINE, WINE[:, :2], np.concatenate([WINE, WINE])]
    good, bad, double = client.batch_predict("wine", items, errors="return", postprocessing={"topK": None})
    assert isinstance(bad, InvalidInputShapeError)
    np.testing.assert_array_equal(double.array, np.concatenate([good.array, good.array]))
    assert good.array.dtype == np.float32


def test_a_stream_of_items_is_answered_in_order(client):
    scale = np.array([[n] * 3 for n in range(200)], np.float32)
    answers = client.predict_many("shapes", (row[None] for row in scale), chunk_size=7, concurrency=3)
    assert [float(one.array[0]) for one in answers] == [3.0 * n for n in range(200)]


def test_the_time_limit_is_the_servers_as_well(server, client):
    with pytest.raises(DeadlineExceededError):
        client.predict("slow", [1.0], timeout_ms=SLOW_S * 1000 / 4)
    assert client.predict("slow", [2.0], timeout_ms=20_000).array.tolist() == [2.0]


def test_an_overloaded_server_is_asked_again_until_it_has_room(server):
    """More rows than the queue of ``slow`` holds, from threads: some are refused, and in the end all are answered."""
    told, answers = [], []
    retries = Retries(limit=50, longest_wait_s=0.5, on_retry=told.append)
    with Client(f"http://127.0.0.1:{server.port}", retries=retries) as client:

        def ask(value):
            answers.append(client.predict("slow", [value], timeout_ms=60_000).array[0])

        threads = [threading.Thread(target=ask, args=(float(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [float(n) for n in range(8)]
    assert told
    assert {type(retry.error) for retry in told} == {OverloadedError}


@pytest.fixture
def small(tmp_path, tf):
    write_constant(tf, tmp_path / "models" / "one" / "1", 1.0)
    return tmp_path / "models"


def test_control_needs_the_token_and_a_restart_is_survived(small):
    """What fails for a passing reason is made again; nothing is lost, answered twice, or noticed."""
    with RunningServer(small, TENSORHOST_ADMIN_TOKEN="a-token") as server:
        server.wait_for("ready")
        port, url = server.port, f"http://127.0.0.1:{server.port}"
        patient = Retries(limit=1000, first_wait_s=0.02, longest_wait_s=0.2)
        with (
            Client(url, token="a-wrong-one") as stranger,
            Client(url, token="a-token") as client,
            Awaited(url, retries=patient) as streaming,
        ):
            with pytest.raises(UnauthenticatedError):
                stranger.unload("one")
            assert client.predict("one", [0.0])["y"].dtype == np.float32
            assert client.unload("one")["state"] == "END"
            assert client.load("one")["state"] == "AVAILABLE"
            answers = streaming.predict_many("one", ([float(n)] for n in range(300)), chunk_size=3)
            got = list(itertools.islice(answers, 30))
            server.stop()
            with pytest.raises(ServerUnreachableError):
                client.load("one")
            # Started again on its port: the connections that were kept are dead.
            with RunningServer(small, port=port, TENSORHOST_ADMIN_TOKEN="a-token"):
                got += answers
                assert client.predict("one", [0.0]).array.tolist() == [1.0]
                assert client.load("one")["state"] == "AVAILABLE"
    assert len(got) == 300
    assert all(isinstance(one, Prediction) and one.array.tolist() == [1.0] for one in got)
