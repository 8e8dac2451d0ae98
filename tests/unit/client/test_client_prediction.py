"""What an answer becomes: arrays of the model's dtypes, strings, ranked labels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scripted_server import compute, refusal, reply

from tensorhost.client import Prediction, Ranked
from tensorhost.client.signatures import KnownSignatures
from tensorhost.codecs import dumps, encode_outputs
from tensorhost.core.dtypes import DType

NUMBERS = [dtype for dtype in DType if not dtype.is_string and not dtype.is_complex]


def predicted(value, dtype=DType.FLOAT32, name="y"):
    return Prediction({"predictions": value, "modelName": "m", "modelVersion": "1"}, {name: dtype} if dtype else {})


def assert_same(array, dtype, values):
    assert array.dtype == dtype
    np.testing.assert_array_equal(array.astype(np.float64), np.array(values, dtype).astype(np.float64))


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_what_the_servers_codec_writes_comes_back_as_it_was(dtype):
    array = np.array([[0, 1], [1, 0]]).astype(dtype.numpy)
    sent = orjson.loads(dumps(encode_outputs({"y": array})))
    back = predicted(sent, dtype)["y"]
    assert back.dtype == dtype.numpy
    np.testing.assert_array_equal(back.astype(np.float64), array.astype(np.float64))


@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.bool_]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
)
def test_every_number_comes_back(array):
    sent = orjson.loads(dumps(encode_outputs({"y": array})))
    back = predicted(sent, DType.of(array)).array
    assert back.dtype == array.dtype
    finite = np.where(np.isinf(array), np.nan, array) if array.dtype.kind == "f" else array
    # An array without elements is written as nested lists, in which an inner size is lost behind an outer zero.
    np.testing.assert_array_equal(back.ravel(), finite.ravel())
    assert back.shape == array.shape or array.size == 0


def test_null_is_nan():
    assert_same(predicted([1.0, None]).array, np.float32, [1.0, np.nan])
    assert_same(predicted([None], None).array, np.float64, [np.nan])
    assert_same(predicted([None, 2.0], DType.BFLOAT16).array, ml_dtypes.bfloat16, [np.nan, 2.0])


def test_whole_numbers_where_the_signature_has_others_stay_whole():
    assert_same(predicted([3, 1]).array, np.int64, [3, 1])  # argmax
    assert_same(predicted([0.5], DType.INT32).array, np.float64, [0.5])
    assert_same(predicted([True], DType.FLOAT32).array, np.bool_, [True])
    assert_same(predicted([1], DType.BOOL).array, np.int64, [1])


@pytest.mark.parametrize(
    ("value", "dtype", "kept"),
    [
        ([300], DType.INT8, np.int64),
        ([-1], DType.UINT8, np.int64),
        ([-1], DType.UINT64, np.int64),
        ([2**40], DType.INT32, np.int64),
        ([9], DType.INT4, np.int64),
        ([1e300], DType.FLOAT32, np.float64),
        ([1e6], DType.FLOAT16, np.float64),
    ],
)
def test_what_the_signatures_dtype_cannot_hold_is_not_forced_into_it(value, dtype, kept):
    assert_same(predicted(value, dtype).array, kept, value)


def test_without_a_signature_numbers_lose_nothing():
    assert_same(predicted([[1, 2]], None).array, np.int64, [[1, 2]])
    assert_same(predicted([2**63], None).array, np.uint64, [2**63])
    assert predicted([0, 2**63 + 1], None).array.tolist() == [0, 2**63 + 1]
    assert predicted([0, 2**64 - 1], DType.UINT64).array.tolist() == [0, 2**64 - 1]
    assert_same(predicted([1e300, 1.0], DType.FLOAT64).array, np.float64, [1e300, 1.0])
    assert predicted([-1, 2**63], DType.INT64).outputs["y"] == [-1, 2**63]
    assert_same(predicted([0.1], None).array, np.float64, [0.1])


def test_strings_are_text_or_bytes():
    array = predicted([["a", "é\0"], [{"b64": "/w=="}, ""]], DType.STRING).array
    assert array.tolist() == [["a", "é\0"], [b"\xff", ""]]
    assert array.dtype == object
    assert predicted("text", DType.STRING).array.item() == "text"
    assert predicted([{"b64": "?"}], DType.STRING).array.tolist() == ["?"]


def test_no_rows():
    assert_same(predicted([]).array, np.float32, [])
    assert predicted([], None).array.size == 0
    assert predicted([], DType.STRING).array.dtype == object


def test_ranked_labels():
    prediction = predicted([[{"label": "a", "index": 3, "score": 0.75}], [{"index": 1, "score": 2}], []])
    assert prediction.ranked == [[Ranked(3, 0.75, "a")], [Ranked(1, 2, None)], []]
    assert prediction["y"] is prediction.ranked
    with pytest.raises(TypeError, match="ranked"):
        _ = prediction.array
    assert predicted([[], [{"index": 1, "score": 0.5}]]).ranked == [[], [Ranked(1, 0.5)]]
    assert predicted([[[], []], [[], [{"index": 1, "score": 0.5}]]]).ranked[1][1] == [Ranked(1, 0.5)]
    assert predicted([[], []]).ranked == [[], []]
    assert predicted([]).ranked == []


def test_an_array_is_not_ranked():
    with pytest.raises(TypeError, match="topK"):
        _ = predicted([[0.5]]).ranked


def test_several_outputs_go_by_name():
    prediction = Prediction({"predictions": {"a": [1.0], "b": ["x"]}}, {"a": DType.FLOAT16, "b": DType.STRING})
    assert list(prediction.outputs) == ["a", "b"]
    assert prediction["a"].dtype == np.float16
    for ask in (lambda: prediction.array, lambda: prediction.ranked):
        with pytest.raises(TypeError, match="a, b"):
            ask()
    with pytest.raises(KeyError):
        _ = prediction["c"]


@pytest.mark.parametrize(
    "value",
    [[[1], [1, 2]], [1, "a"], [{"any": 1}], [[1.0], ["x"]], [None, "x"], [2**70], {"a": [{"score": 1}]}],
)
def test_json_that_is_no_tensor_stays_as_it_is(value):
    prediction = predicted(value)
    assert next(iter(prediction.outputs.values())) == (value["a"] if isinstance(value, dict) else value)
    assert prediction.answer["predictions"] is value


def test_a_single_output_has_its_own_name_where_that_is_known():
    assert list(predicted([1.0]).outputs) == ["y"]
    assert list(predicted([1.0], None).outputs) == ["output"]


def test_what_is_known_of_the_request():
    answer = {"predictions": [0.5], "modelName": "m", "modelVersion": "v2", "inferenceTimeMs": 1.5, "queueTimeMs": 0}
    prediction = Prediction(answer, {"y": DType.FLOAT32}, "r1")
    assert (prediction.model, prediction.version, prediction.request_id) == ("m", "v2", "r1")
    assert (prediction.inference_ms, prediction.queue_ms, prediction.postprocessing_ms) == (1.5, 0.0, 0.0)
    assert repr(prediction) == "<Prediction of m/v2: y=float32[1]>"


def described(dtype="float16", **signatures):
    spec = [{"name": "y", "dtype": dtype, "shape": [None]}]
    return {"outputs": spec, "signatures": {"serving_default": {"outputs": spec}, **signatures}}


ANSWER = {"predictions": [0.5], "modelName": "m", "modelVersion": "3"}


class TestAskingForSignatures:
    @pytest.fixture
    def client(self, make, server):
        server.otherwise = compute(lambda asked: ANSWER if asked.path == "/predict" else described())
        return make(server.url, signature_dtypes=True)

    def test_once_for_each_version(self, server, client):
        assert [client.predict("m", [1])["y"].dtype for _ in range(3)] == [np.float16] * 3
        server.will(reply(ANSWER | {"modelVersion": "4"}))
        client.predict("m", [1])
        assert server.paths == [
            "/predict",
            "/models/m/versions/3",
            "/predict",
            "/predict",
            "/predict",
            "/models/m/versions/4",
        ]

    def test_of_the_signature_that_was_called(self, server, client):
        server.will(reply(ANSWER), reply(described(other={"outputs": [{"name": "z", "dtype": "float64"}]})))
        assert client.predict("m", [1], signature="other")["z"].dtype == np.float64
        assert client.predict("m", [1])["y"].dtype == np.float16
        assert client.predict("m", [1], signature="third")["output"].dtype == np.float64
        assert len(server.asked) == 4

    def test_once_for_a_batch(self, server, client):
        server.will(reply({"results": [ANSWER, ANSWER, ANSWER]}))
        assert [one["y"].dtype for one in client.batch_predict("m", [[1]] * 3)] == [np.float16] * 3
        assert len(server.asked) == 2

    def test_again_after_it_was_loaded_anew(self, server, client):
        client.predict("m", [1])
        client.load("m")
        server.will(reply(ANSWER), reply(described("float64")))
        assert client.predict("m", [1])["y"].dtype == np.float64

    @pytest.mark.parametrize("refusal", [refusal("NOT_FOUND", 404), refusal("X", 403), reply(b"<html>"), reply({})])
    def test_a_server_that_does_not_say_is_not_asked_again(self, server, client, refusal):
        server.will(reply(ANSWER), refusal)
        assert client.predict("m", [1])["output"].dtype == np.float64
        assert client.predict("m", [1])["output"].dtype == np.float64
        assert len(server.asked) == 3

    @pytest.mark.parametrize("refusal", [refusal("OVERLOADED", 503), reply(b"", 429), refusal("INTERNAL", 500)])
    def test_one_that_cannot_just_now_is(self, server, client, naps, refusal):
        server.will(reply(ANSWER), refusal)
        assert client.predict("m", [1])["output"].dtype == np.float64
        assert client.predict("m", [1])["y"].dtype == np.float16
        assert (len(server.asked), naps) == (4, [])

    def test_a_version_that_is_none_is_not_asked_for(self, server, client):
        server.will(reply(ANSWER | {"modelVersion": "../x"}))
        assert client.predict("m", [1]).version == "../x"
        assert server.paths == ["/predict"]

    def test_not_where_it_is_not_wanted(self, server, make):
        server.otherwise = reply(ANSWER)
        assert make(server.url, signature_dtypes=False).predict("m", [1]).array.dtype == np.float64
        assert server.paths == ["/predict"]


class TestKnownSignatures:
    def test_nothing_is_kept_for_ever(self):
        known = KnownSignatures()
        for version in range(300):
            known.remember("m", str(version), described())
        assert known.find("m", "0", None) is None
        assert known.find("m", "299", None) == {"y": DType.FLOAT16}

    @pytest.mark.parametrize(
        "description",
        [
            {"outputs": 1, "signatures": []},
            {"outputs": [1, {"name": 2, "dtype": "float32"}, {"name": "x", "dtype": ["float32"]}]},
            {"outputs": [{"name": "x", "dtype": "float3"}, {"name": "x"}]},
            {"signatures": {"s": None}},
        ],
    )
    def test_a_description_of_a_hostile_server_says_nothing(self, description):
        known = KnownSignatures()
        known.remember("m", "1", description)
        assert known.find("m", "1", None) == known.find("m", "1", "s") == {}
