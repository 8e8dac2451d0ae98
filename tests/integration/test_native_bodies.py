"""Compressed bodies both ways, decompression bombs, and bodies nobody meant to send."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_server import exchange

BODY = json.dumps({"modelName": "linear", "inputs": [[1, 2, 3]]}).encode()
LARGE = {"modelName": "linear", "inputs": [[1.25, index, 3.5] for index in range(2000)]}


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:10]) + gzip.compress(BODY[10:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
    ],
)
def test_compressed_requests_are_read(server, encoding, body):
    answer = server.request("POST", "/predict", body, Content_Encoding=encoding)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [b"", b"\x1f\x8b", BODY, gzip.compress(BODY)[:-1], zlib.compress(BODY)[:-1]])
def test_broken_compression_is_refused(server, encoding, body):
    answer = server.request("POST", "/predict", body, Content_Encoding=encoding)
    assert (answer.status, answer.error["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_decompression_bomb_is_refused_quickly_and_takes_no_memory(server, encoding):
    compressor = zlib.compressobj(6, wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(256)) + compressor.flush()
    assert len(bomb) < 2 * 2**20
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    started = time.monotonic()
    for _ in range(5):
        answer = server.request("POST", "/predict", bomb, Content_Encoding=encoding)
        assert (answer.status, answer.error["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert time.monotonic() - started < 5
    assert process.memory_info().rss - before < 64 * 2**20


def test_a_body_of_very_many_gzip_members_is_refused_quickly(server):
    started = time.monotonic()
    body = gzip.compress(b"") * 150_000
    answer = server.request("POST", "/predict", body, Content_Encoding="gzip")
    assert (answer.status, answer.error["code"]) == (400, "INVALID_REQUEST")
    assert time.monotonic() - started < 3


# -- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=0.5", "*", "x-gzip", "gzip;q=1.0, identity"])
def test_large_responses_are_compressed_when_asked(server, accepted):
    plain = server.request("POST", "/predict", LARGE)
    packed = server.request("POST", "/predict", LARGE, Accept_Encoding=accepted)
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert len(packed.body) < len(plain.body)
    assert json.loads(gzip.decompress(packed.body))["predictions"] == plain.json["predictions"]


@pytest.mark.parametrize("accepted", ["identity", "br", "gzip;q=0", "*, gzip;q=0", "gzip;q=x", ""])
def test_large_responses_are_not_compressed_when_not_asked(server, accepted):
    answer = server.request("POST", "/predict", LARGE, Accept_Encoding=accepted)
    assert "content-encoding" not in answer.headers
    assert len(answer.json["predictions"]) == 2000


def test_small_responses_are_not_compressed(server):
    answer = server.request("POST", "/predict", BODY, Accept_Encoding="gzip")
    assert "content-encoding" not in answer.headers


# -- fuzz -------------------------------------------------------------------------------------------------------------

FUZZ = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(width=64), st.booleans(), st.none())
TEXT = st.text(max_size=8)
VALUES = st.recursive(
    NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.just("b64"), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["modelName", "modelVersion", "signatureName", "inputs", "preprocessing", "postprocessing", "timeoutMs", "batch",
     "maxBatchSize"]
)  # fmt: skip
OPTIONS = st.dictionaries(
    st.sampled_from(
        ["scale", "normalize", "mean", "std", "resize", "decode", "colour", "tokenize", "softmax", "sigmoid", "argmax",
         "threshold", "topK", "round", "entry_point"]
    ),
    VALUES,
    max_size=3,
)  # fmt: skip
MODELS = st.sampled_from(["linear", "pair", "echo", "image", "shapes", "fragile", "tokens", "digits", "langid", "wine"])
SIGNATURES = st.sampled_from(
    [None, "serving_default", "int64", "uint8", "bool", "raw", "any_rank", "negate", "float16"]
)
NEARLY = st.fixed_dictionaries(
    {"modelName": MODELS, "inputs": VALUES | st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=3)},
    optional={"preprocessing": OPTIONS, "postprocessing": OPTIONS, "signatureName": SIGNATURES, "timeoutMs": NUMBERS},
)
ITEMS = st.fixed_dictionaries({"modelName": MODELS, "batch": st.lists(NEARLY | VALUES, max_size=4)})


@pytest.fixture(scope="module")
def line(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield connection
    connection.close()


def ask(line, path, body):
    """The answer, which must be no fault of the server's and come within the time limit of the connection."""
    answer = exchange(line, "POST", path, body, {"Content_Type": "application/json"})
    assert answer.status < 500 or answer.status in (503, 504), (body, answer.body)
    if answer.status != 200:
        assert answer.error["code"] not in ("INTERNAL", "MODEL_FAILED")
    else:
        for result in answer.json.get("results", ()):
            assert result.get("error", {}).get("code") not in ("INTERNAL", "MODEL_FAILED"), (body, result)
    return answer


@FUZZ
@given(path=st.sampled_from(["/predict", "/batch-predict"]), body=st.binary(max_size=64))
def test_any_bytes(line, path, body):
    assert ask(line, path, body).status == 400


@FUZZ
@given(path=st.sampled_from(["/predict", "/batch-predict"]), body=st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_fields(line, path, body):
    ask(line, path, json.dumps(body).encode())


@FUZZ
@given(body=NEARLY)
def test_requests_that_are_nearly_right(line, body):
    ask(line, "/predict", json.dumps(body).encode())


@FUZZ
@given(body=ITEMS)
def test_batches_that_are_nearly_right(line, body):
    ask(line, "/batch-predict", json.dumps(body).encode())


@FUZZ
@given(
    body=st.fixed_dictionaries(
        {}, optional={"path": TEXT | st.text("./%2eEfile:[]~\\\0", max_size=12), "version": TEXT}
    ),
    origin=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12),
)
def test_any_load_of_what_does_not_exist(line, body, origin):
    sent = {"Content-Type": "application/json", "Origin": origin}
    answer = exchange(line, "POST", "/models/fuzzed/load", json.dumps(body).encode(), sent)
    assert answer.status in (400, 403, 404), (body, origin, answer.body)
    assert answer.error
