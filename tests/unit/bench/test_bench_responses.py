"""Responses out of bytes that arrive in any pieces."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.bench.responses import BadResponseError, Response, ResponseReader

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSED = b'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{"a": "b"'
CHUNKED = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\nde\r\n\r\n0\r\n\r\n"
TRAILER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nDigest: x\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN

EXPECTED = {
    PLAIN: Response(200, True),
    EMPTY: Response(204, True),
    REFUSED: Response(503, False, b'{"a": "b"'),
    CHUNKED: Response(404, True, b"abcde\r\n"),
    TRAILER: Response(200, True),
    INTERIM: Response(200, True),
}


@given(st.lists(st.sampled_from(list(EXPECTED)), min_size=1, max_size=4), st.data())
def test_any_pieces_give_the_same_responses(sent, data):
    reader = ResponseReader()
    for response in sent:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(response) - 1), max_size=5)))
        edges = [0, *cuts, len(response)]
        answers = [reader.feed(response[start:end]) for start, end in itertools.pairwise(edges)]
        assert answers == [None] * len(cuts) + [EXPECTED[response]]


def test_a_body_that_ends_with_the_connection():
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.0 500 Oops\r\n\r\nabc") is None
    assert reader.feed(b"def") is None
    assert reader.end() == Response(500, False, b"abcdef")


@pytest.mark.parametrize("sent", [b"", PLAIN[:20], PLAIN[:-1], CHUNKED[:-1]])
def test_a_connection_that_ends_too_early(sent):
    reader = ResponseReader()
    assert (reader.feed(sent) if sent else None) is None
    assert reader.end() is None


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        PLAIN + b"x",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"t" * 70_000,
        b"x" * 70_000,
    ],
)
def test_what_is_no_response(sent):
    with pytest.raises(BadResponseError):
        ResponseReader().feed(sent)


def test_the_body_of_a_success_is_not_kept():
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(9):
        reader.feed(b"x" * 100_000)
    assert not reader._kept
    assert reader.feed(b"x" * 100_000) == Response(200, True)


def test_a_large_chunk_is_dropped_as_it_comes():
    pieces, piece = 128, b"x" * 2**16
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (pieces * len(piece)))
    tracemalloc.start()
    try:
        for _ in range(pieces):
            assert reader.feed(piece) is None
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 4 * len(piece)
    assert reader.feed(b"\r\n0\r\n\r\n") == Response(200, True)


def test_many_small_chunks_at_once():
    sent = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    assert ResponseReader().feed(sent) == Response(500, True, b"x" * 1000)
