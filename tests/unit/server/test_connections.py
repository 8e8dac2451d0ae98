"""The connection on a transport that only records, and what it takes from uvicorn.

The latter is not public there; these tests fail first when a new version changes it.
"""

import asyncio
import dataclasses
import inspect
import itertools
import math
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_connections import HOST, LIMITS, POST, connection_of, reading_directly_from
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tensorhost.core.errors import ErrorCode
from tensorhost.server.connections import Connection
from tensorhost.server.registry import Registry

_OURS = {
    "check",
    "connection_lost",
    "connection_made",
    "data_received",
    "exchange_finished",
    "idle_since",
    "on_body",
    "on_header",
    "on_headers_complete",
    "on_message_begin",
    "on_message_complete",
    "owes_bytes",
    "owes_more",
    "refuse",
    "cut_off",
}


def test_the_constructor_takes_what_we_give():
    assert list(inspect.signature(HttpToolsProtocol.__init__).parameters) == [
        "self",
        "config",
        "server_state",
        "app_state",
        "_loop",
    ]


def test_the_callbacks_we_replace_and_keep_exist():
    for name in ("on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete", "on_url"):
        assert callable(getattr(HttpToolsProtocol, name))
    for name in ("pause_writing", "resume_writing", "connection_made", "connection_lost", "data_received"):
        assert callable(getattr(HttpToolsProtocol, name))


def test_the_shared_state_has_what_we_use():
    assert {"total_requests", "connections", "tasks", "default_headers"} <= set(vars(ServerState()))


def test_flow_control_has_what_we_use():
    for name in ("drain", "pause_reading", "resume_reading", "pause_writing", "resume_writing"):
        assert callable(getattr(FlowControl, name))


def test_no_other_method_of_uvicorn_is_shadowed():
    shadowed = {name for name in vars(Connection) if name in dir(HttpToolsProtocol) and not name.startswith("__")}
    assert shadowed <= _OURS


async def responses_to(*pieces, registry=None):
    """What is written when the client sends ``pieces``, without what differs from run to run."""
    connection = connection_of(registry or Registry(LIMITS))
    transport = connection.transport
    for piece in pieces:
        if not transport.closing:
            transport.deliver(piece)
            for _ in range(3):
                await asyncio.sleep(0)
    while connection.running is not None and connection.running.body_complete:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.gather(*connection.tasks)
    return re.sub(rb"[0-9a-f]{16}", b"ID", transport.written)


_STREAM = b"".join(
    (
        b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /b HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        b"POST /t HTTP/1.1\r\n" + HOST + b"Inference-Header-Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}abc",
        b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
        b"POST /d HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nGET",
        b"GET /e HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /bad HTTP/1.1\r\nBroken Header\r\n\r\n",
    )
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(0, len(_STREAM)), max_size=12),
    st.sampled_from((1, 4, 5, 1000)),
    st.sampled_from((1, 40, 1000)),
)
def test_how_the_bytes_are_cut_and_which_bodies_are_large_does_not_change_the_answers(cuts, least_bytes, scratch_bytes):
    edges = [0, *sorted(cuts), len(_STREAM)]
    pieces = [_STREAM[start:end] for start, end in itertools.pairwise(edges)]
    with reading_directly_from(least_bytes, scratch_bytes) as registry:
        answers = asyncio.run(responses_to(*pieces, registry=registry))
    assert registry.buffered_body_bytes == registry.reserved_body_bytes == 0
    bodies = re.findall(rb"\r\n\r\n([A-Z]+ /[a-et] [a-zA-Z{}]*?)(?=HTTP/1.1|$)", answers)
    assert bodies == [b"GET /a ", b"POST /b hello", b"POST /t {}abc", b"POST /c abcde", b"POST /d GET", b"GET /e "]
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * 6 + [b"400"]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(_STREAM.splitlines(keepends=True))), max_size=20))
def test_whatever_comes_every_answer_is_whole_and_nothing_follows_a_refusal(pieces):
    answers = asyncio.run(responses_to(*pieces))
    while answers:
        head, separator, rest = answers.partition(b"\r\n\r\n")
        assert separator
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if b"application/json" not in head else rest.index(b"}}") + 2
        assert len(rest) >= size
        answers = rest[size:]
        if b" 400 " in head or b" 431 " in head:
            assert answers == b""


_GET = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
_BODIES = (_GET, POST % 30, b"x" * 10, POST % 30 + b"x" * 30, POST % 30 + b"x" * 29)
_STEP = st.tuples(st.integers(0, 3), st.sampled_from((*_BODIES, "pause", "lose", "late", "cut off")))


async def play(steps, registry):
    """Let four clients send, stall and vanish as ``steps`` say; the most body bytes seen, and those left at the end."""
    registry.limits = dataclasses.replace(LIMITS, max_buffered_body_bytes=80)
    connections = [connection_of(registry) for _ in range(4)]
    most = 0
    for number, step in steps:
        connection = connections[number]
        if step == "pause":
            await asyncio.sleep(0)
        elif connection.transport.is_closing() or step == "lose":
            connection.connection_lost(None)
            connections[number] = connection_of(registry)
        elif step == "late":
            connection.check(math.inf)
        elif step == "cut off":
            connection.cut_off()
        else:
            connection.transport.deliver(step)
        most = max(most, registry.buffered_body_bytes, registry.reserved_body_bytes)
    for connection in connections:
        connection.connection_lost(None)
    await asyncio.gather(*registry.tasks, return_exceptions=True)
    return most, registry.buffered_body_bytes + registry.reserved_body_bytes


@settings(deadline=None, max_examples=300)
@given(st.lists(_STEP, max_size=40), st.sampled_from((1, 30, 1000)))
def test_buffered_bodies_stay_under_their_limit_and_none_is_left_counted(steps, least_bytes):
    with reading_directly_from(least_bytes) as registry:
        most, left = asyncio.run(play(steps, registry))
    assert most <= 80
    assert left == 0


async def test_a_refused_request_that_waits_behind_another_is_no_longer_counted():
    registry = Registry(LIMITS)
    connection = connection_of(registry)
    connection.data_received(POST % 5 + b"hello" + POST % 30 + b"x" * 10)
    assert registry.buffered_body_bytes == 15
    connection.refuse(ErrorCode.REQUEST_TIMEOUT, "late")
    assert registry.buffered_body_bytes == 5
    await asyncio.gather(*registry.tasks)
    assert registry.buffered_body_bytes == 0
