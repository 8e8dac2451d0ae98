"""Large bodies on a transport that only records: what ends one early, and what comes behind it."""

import asyncio
import dataclasses
import math
import re

import pytest
from recorded_connections import HOST, LIMITS, POST, connection_of, reading_directly_from

from tensorhost.core.errors import ErrorCode
from tensorhost.server import exchange as exchanges
from tensorhost.server.body_reader import BodyReader

GET = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
TENSORS = POST.replace(HOST, HOST + b"Inference-Header-Content-Length: 9\r\n")
BODY = bytes(range(200))


@pytest.fixture
def registry():
    with reading_directly_from(100, 80) as registry:
        yield registry
        assert registry.buffered_body_bytes == registry.reserved_body_bytes == 0


def beginning(registry, sent=b"", *, head=TENSORS):
    """A connection on which a large body has begun, with ``sent`` of it."""
    connection = connection_of(registry)
    connection.transport.deliver(head % len(BODY) + sent)
    return connection, connection.transport


async def settle(connection):
    while connection.running is not None and connection.running.body_complete:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def answers(transport):
    return [
        (int(status), body)
        for status, body in re.findall(rb"HTTP/1.1 (\d+)[^{]*?\r\n\r\n(.*?)(?=HTTP|$)", transport.written, re.S)
    ]


async def test_a_large_body_is_read_past_the_parser_and_the_next_request_by_a_new_one(registry):
    connection, transport = beginning(registry)
    first_parser = connection.parser
    assert isinstance(transport.protocol, BodyReader)
    assert (registry.reserved_body_bytes, registry.buffered_body_bytes) == (200, 0)
    transport.deliver(BODY[:150])
    assert (registry.reserved_body_bytes, registry.buffered_body_bytes) == (200, 150)
    transport.deliver(BODY[150:] + GET)
    await settle(connection)
    assert answers(transport) == [(200, b"POST /p " + BODY), (200, b"GET /a ")]
    assert connection.parser is not first_parser
    assert transport.protocol is connection


async def test_text_is_read_past_the_parser_once_a_sixteenth_of_it_has_come(registry):
    connection, transport = beginning(registry, BODY[:12], head=POST)
    assert registry.reserved_body_bytes == 0
    transport.deliver(BODY[12:13])
    assert registry.reserved_body_bytes == 200
    assert connection.running.pieces == [], "none is kept twice"
    transport.deliver(BODY[13:])
    await settle(connection)
    assert answers(transport) == [(200, b"POST /p " + BODY)]


async def test_nothing_but_the_body_is_read_to_where_it_lies(registry):
    _, transport = beginning(registry, BODY[:150])
    assert len(transport.protocol.get_buffer(2**16)) == 50
    transport.deliver(BODY[150:])
    assert transport.protocol.get_buffer(2**16) is registry.scratch
    transport.protocol.connection_lost(None)


async def test_one_large_body_after_another_needs_no_other_protocol_between(registry):
    connection, transport = beginning(registry)
    reader = transport.protocol
    for _ in range(3):
        transport.deliver(BODY)
        await settle(connection)
        assert transport.protocol is reader
        transport.deliver(TENSORS % len(BODY))
    transport.protocol.connection_lost(None)
    await asyncio.gather(*registry.tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("head", "is_deaf"),
    [
        (TENSORS.replace(HOST, HOST + b"Connection: close\r\n"), True),
        (TENSORS.replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (TENSORS, False),
    ],
)
async def test_nothing_is_read_behind_a_request_that_asked_to_close(registry, head, is_deaf):
    connection, transport = beginning(registry, head=head)
    transport.deliver(BODY + POST % 5 + b"hello")
    assert registry.buffered_body_bytes == (200 if is_deaf else 205)
    await settle(connection)
    await settle(connection)
    assert len(answers(transport)) == (1 if is_deaf else 2)
    assert transport.closing is is_deaf


async def test_a_body_that_arrives_too_slowly_is_refused_and_the_rest_thrown_away(registry):
    connection, transport = beginning(registry, BODY[:10])
    connection.check(math.inf)
    assert registry.buffered_body_bytes == registry.reserved_body_bytes == 0
    transport.closing = False  # what has been sent before the client reads this may still come
    transport.deliver(BODY[10:] + GET)
    await asyncio.sleep(0)
    assert [status for status, _ in answers(transport)] == [408]


async def test_a_body_with_which_all_would_be_too_much_is_refused_in_its_middle(registry):
    registry.limits = dataclasses.replace(LIMITS, max_buffered_body_bytes=250)
    _, other = beginning(registry, b"x" * 100)
    _, transport = beginning(registry, BODY[:100])
    assert registry.reserved_body_bytes == 200, "there is room for one, the other comes in pieces"
    other.deliver(b"x" * 50)
    other.deliver(b"x")
    assert [status for status, _ in answers(other)] == [503]
    other.protocol.connection_lost(None)
    transport.protocol.connection_lost(None)
    await asyncio.sleep(0)


async def test_what_there_is_no_memory_for_comes_in_pieces(registry, monkeypatch):
    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr(exchanges, "ReservedBody", fail)
    connection, transport = beginning(registry, BODY[:10])
    transport.deliver(BODY[10:])
    await settle(connection)
    assert answers(transport) == [(200, b"POST /p " + BODY)]


async def test_a_request_answered_before_its_body_gives_the_memory_back_and_the_rest_is_thrown_away(registry):
    connection, transport = beginning(registry, BODY[:10])
    exchange = connection.running
    exchange.task.cancel()
    await exchange.send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")], "body": b""}
    )
    assert registry.buffered_body_bytes == registry.reserved_body_bytes == 0
    assert len(transport.protocol.get_buffer(-1)) == 80, "no more than what there is besides"
    transport.deliver(BODY[10:] + GET)
    await settle(connection)
    assert answers(transport) == [(200, b""), (200, b"GET /a ")]


async def test_a_body_that_is_thrown_away_after_the_last_answer_does_not_keep_the_connection(registry, monkeypatch):
    connection, transport = beginning(registry, BODY[:10])
    monkeypatch.setattr(transport, "can_write_eof", lambda: True)
    monkeypatch.setattr(transport, "write_eof", lambda: None)
    registry.draining = True
    exchange = connection.running
    exchange.task.cancel()
    await exchange.send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")], "body": b""}
    )
    transport.deliver(BODY[10:100])
    transport.deliver(BODY[100:])
    connection.check(asyncio.get_running_loop().time() + 6)
    assert transport.closing
    transport.protocol.connection_lost(None)


async def test_a_large_body_waits_its_turn_behind_another_request(registry):
    connection = connection_of(registry)
    connection.transport.deliver(GET + TENSORS % len(BODY) + BODY[:5])
    connection.transport.deliver(BODY[5:])
    await settle(connection)
    await settle(connection)
    assert answers(connection.transport) == [(200, b"GET /a "), (200, b"POST /p " + BODY)]


async def test_what_the_transport_says_of_writing_and_of_the_end_reaches_the_connection(registry):
    connection, transport = beginning(registry)
    reader = transport.protocol
    reader.pause_writing()
    assert connection.flow.write_paused
    reader.resume_writing()
    assert not connection.flow.write_paused
    assert not reader.eof_received(), "the transport closes"
    reader.connection_lost(None)
    assert connection not in registry.connections


async def test_a_refused_connection_throws_away_what_comes_of_a_large_body(registry):
    connection, transport = beginning(registry)
    connection.refuse(ErrorCode.OVERLOADED, "full")
    assert registry.reserved_body_bytes == 0
    transport.deliver(BODY[:100])
    transport.protocol.connection_lost(None)
