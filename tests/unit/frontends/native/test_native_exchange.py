import contextlib
import gzip
import zlib

import numpy as np
import pytest
from asgi_calls import app_of, call
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError
from tensorhost.frontends.http.exchange import _decompress

UNKNOWN = b'{"modelName":"none","inputs":[]}'


@given(st.binary(max_size=2000), st.integers(0, 2100))
def test_what_was_compressed_comes_back_unless_it_is_too_large(data, limit):
    for encoding, packed in ((b"gzip", gzip.compress(data)), (b"deflate", zlib.compress(data))):
        if len(data) > limit:
            with pytest.raises(PayloadTooLargeError):
                _decompress(packed, encoding, limit)
        else:
            assert _decompress(packed, encoding, limit) == data


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate"]))
def test_any_bytes_are_data_or_an_error(data, encoding):
    with contextlib.suppress(InvalidRequestError, PayloadTooLargeError):
        assert isinstance(_decompress(data, encoding, 10_000), bytes)


def test_gzip_members_are_joined_up_to_a_number():
    assert _decompress(gzip.compress(b"ab") * 16, b"gzip", 100) == b"ab" * 16
    with pytest.raises(InvalidRequestError, match="members"):
        _decompress(gzip.compress(b"") * 17, b"gzip", 100)


def test_however_large_bodies_may_be_none_grows_out_of_nearly_nothing(monkeypatch):
    monkeypatch.setattr("tensorhost.frontends.http.exchange._MOST_INFLATED_BYTES", 1000)
    limit = 2**31
    assert _decompress(gzip.compress(bytes(1000)), b"gzip", limit) == bytes(1000)
    with pytest.raises(PayloadTooLargeError):
        _decompress(gzip.compress(bytes(100_000)), b"gzip", limit)
    ordinary = np.random.default_rng(0).random(2000).astype("S").tobytes()
    assert len(ordinary) > 30_000
    assert _decompress(gzip.compress(ordinary), b"gzip", limit) == ordinary


async def test_a_body_in_pieces_is_one_body():
    sent = await call(app_of(), "POST", "/predict", *[UNKNOWN[i : i + 3] for i in range(0, len(UNKNOWN), 3)])
    assert sent.status == 404


@pytest.mark.parametrize("pieces", [[b"x" * 101], [b"x" * 60, b"x" * 60], [b"x"] * 101])
async def test_a_body_over_the_limit(pieces):
    sent = await call(app_of(max_body_bytes=100), "POST", "/predict", *pieces)
    assert (sent.status, sent.json["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert sent.json["error"]["details"] == {"limitBytes": 100}


async def test_the_first_of_repeated_headers_counts():
    class Repeating(dict):
        def items(self):
            return [("X-Request-Id", "first"), ("X-Request-Id", "second")]

    sent = await call(app_of(), "GET", "/health/live", headers=Repeating(x="y"))
    assert sent.headers[b"x-request-id"] == b"first"


@pytest.mark.parametrize(("name", "value"), [("Content-Type", "application/json"), ("Content-Encoding", "identity")])
async def test_a_header_that_decides_what_a_body_is_says_so_once(name, value):
    class Repeating(dict):
        def items(self):
            return [(name, value), ("X-Mine", "1"), ("X-Mine", "2"), (name, self["second"])]

    assert (await call(app_of(), "POST", "/predict", UNKNOWN, headers=Repeating(second=value))).status == 404
    sent = await call(app_of(), "POST", "/predict", UNKNOWN, headers=Repeating(second="text/csv"))
    assert (sent.status, sent.json["error"]["details"]) == (400, {"field": name.lower()})
    assert sent.json["error"]["message"] == f"The header {name.lower()} comes twice, and not alike."


async def test_draining_takes_readiness_and_nothing_else():
    app = app_of()
    assert (await call(app, "GET", "/health")).status == 200
    app.begin_drain()
    for path in ("/health", "/health/ready"):
        sent = await call(app, "GET", path)
        assert (sent.status, sent.json) == (503, {"status": "draining"})
    assert (await call(app, "GET", "/health/live")).status == 200
    assert (await call(app, "POST", "/predict", UNKNOWN)).status == 404


async def test_errors_of_every_route_are_counted_once():
    app = app_of()
    wrong = [("GET", "/nothing"), ("GET", "/predict"), ("GET", "/models/none"), ("POST", "/predict")]
    for method, path in wrong:
        await call(app, method, path)
    await call(app, "POST", "/predict", UNKNOWN)
    metrics = (await call(app, "GET", "/metrics")).json
    assert metrics["errorCount"] == metrics["requestCount"] == 5
    assert metrics["unattributedErrors"] == {
        "NOT_FOUND": 1,
        "METHOD_NOT_ALLOWED": 1,
        "MODEL_NOT_FOUND": 2,
        "INVALID_REQUEST": 1,
    }


async def test_a_fault_of_ours_is_an_error_like_any_other_and_tells_nothing(monkeypatch):
    app = app_of()

    def broken():
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(app._engine.metrics, "view", broken)
    sent = await call(app, "GET", "/metrics")
    assert (sent.status, sent.json["error"]["code"]) == (500, "INTERNAL")
    assert b"secret" not in sent.body


async def test_no_memory_is_its_own_error(monkeypatch):
    app = app_of()

    def greedy():
        raise MemoryError

    monkeypatch.setattr(app._engine.metrics, "view", greedy)
    sent = await call(app, "GET", "/metrics")
    assert (sent.status, sent.json["error"]["code"]) == (507, "OUT_OF_MEMORY")
