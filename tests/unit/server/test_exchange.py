"""The ASGI side alone, on a connection that only records."""

import asyncio

import pytest

from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.http import exchange as native
from tensorhost.server.exchange import WHOLE_RESPONSE, Exchange
from tensorhost.server.refusals import RefusedError
from tensorhost.server.registry import Limits


class Transport:
    def __init__(self):
        self.written = b""
        self.in_pieces = []
        self.aborted = False

    def write(self, data):
        self.written += data

    def writelines(self, pieces):
        self.in_pieces.append(pieces)
        self.written += b"".join(pieces)

    def abort(self):
        self.aborted = True


class Flow:
    def __init__(self):
        self.write_paused = False
        self.writable = asyncio.Event()

    async def drain(self):
        await self.writable.wait()


class State:
    draining = False
    date_line = b"date: now\r\n"
    limits = Limits(1, 1, 100, 10, header_timeout_s=1, body_timeout_s=1, keep_alive_timeout_s=1)

    def __init__(self):
        self.buffered_body_bytes = 0


class Connection:
    def __init__(self):
        self.transport = Transport()
        self.flow = Flow()
        self.server_state = State()
        self.tasks = set()
        self.owes_more = False
        self.finished = []

    def exchange_finished(self, exchange):
        self.finished.append(exchange)


def exchange_on(connection, *, method="POST", version="1.1", keep_alive=True, expects_continue=False):
    scope = {"method": method, "path": "/", "http_version": version, "headers": []}
    return Exchange(connection, scope, keep_alive=keep_alive, expects_continue=expects_continue)


def start(status=200, *headers):
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content=b"", *, more=False):
    return {"type": "http.response.body", "body": content, "more_body": more}


def answering(*messages):
    async def app(_scope, _receive, send):
        for message in messages:
            await send(message)

    return app


async def run(app, **options):
    connection = Connection()
    exchange = exchange_on(connection, **options)
    await exchange.run(app)
    return connection, exchange


async def test_a_response_with_its_length_leaves_in_one_piece():
    connection, exchange = await run(answering(start(200, (b"Content-Length", b"2")), body(b"ok")))
    assert connection.transport.written == b"HTTP/1.1 200 OK\r\ndate: now\r\nContent-Length: 2\r\n\r\nok"
    assert connection.finished == [exchange]


async def test_a_response_without_a_length_is_chunked():
    connection, _ = await run(answering(start(), body(b"abc", more=True), body(b"", more=True), body(b"d")))
    head, _, rest = connection.transport.written.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert rest == b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"


async def test_http_1_0_gets_no_chunks_but_the_end_of_the_connection():
    connection, exchange = await run(answering(start(), body(b"abc", more=True), body(b"d")), version="1.0")
    assert connection.transport.written.endswith(b"connection: close\r\n\r\nabcd")
    assert not exchange.keep_alive


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_responses_without_a_body_send_none(method, status):
    connection, exchange = await run(answering(start(status, (b"content-length", b"5")), body(b"hello")), method=method)
    assert connection.transport.written.endswith(b"content-length: 5\r\n\r\n")
    assert exchange.finished


@pytest.mark.parametrize(
    ("draining", "owes_more", "closes"), [(False, False, False), (True, False, True), (True, True, False)]
)
async def test_draining_closes_after_the_last_answer_that_is_due(draining, owes_more, closes):
    connection = Connection()
    connection.server_state.draining, connection.owes_more = draining, owes_more
    exchange = exchange_on(connection)
    await exchange.run(answering(start(), body(b"x")))
    assert (b"connection: close\r\n" in connection.transport.written) == closes
    assert exchange.keep_alive != closes


async def test_connection_close_of_the_application_is_not_doubled():
    connection, exchange = await run(answering(start(200, (b"connection", b"close")), body()))
    assert connection.transport.written.count(b"close") == 1
    assert not exchange.keep_alive


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [start()],
        [body(b"x")],
        [start(200, (b"content-length", b"2")), body(b"abc")],
        [start(200, (b"content-length", b"4")), body(b"abc")],
        [start(200, (b"x", b"a\r\nset-cookie: b"))],
        [start(200, (b"x", b"a\nb"))],
        [start(200, (b"x\0", b"a"))],
        [start(200, (b"content-length", b"x"))],
        [start(), start()],
    ],
)
async def test_an_application_that_breaks_the_rules_gets_a_500_and_no_byte_of_its_own_leaves(messages):
    connection, exchange = await run(answering(*messages))
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in connection.transport.written
    assert connection.finished == [exchange]
    assert not exchange.keep_alive


async def test_a_fault_after_the_first_bytes_cuts_the_connection():
    connection, _ = await run(answering(start(), body(b"half", more=True), start()))
    assert connection.transport.aborted
    assert b"500" not in connection.transport.written


async def test_a_message_after_the_end_changes_nothing_on_the_wire():
    connection, exchange = await run(answering(start(200, (b"content-length", b"1")), body(b"x"), body(b"y")))
    assert connection.transport.written.endswith(b"\r\n\r\nx")
    assert connection.finished == [exchange]


async def test_the_body_in_one_piece_is_handed_over_without_a_copy():
    exchange, piece = exchange_on(Connection()), b"x" * 1000
    exchange.add_body(piece)
    exchange.complete_body()
    message = await exchange.receive()
    assert message["body"] is piece


async def test_receive_waits_for_the_whole_body_and_then_for_the_end():
    connection = Connection()
    exchange = exchange_on(connection, expects_continue=True)
    receiving = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    assert connection.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    for piece in (b"a", b"b", b"c"):
        exchange.add_body(piece)
        await asyncio.sleep(0)
        assert not receiving.done()
    exchange.complete_body()
    assert await receiving == {"type": "http.request", "body": b"abc", "more_body": False}
    listening = [asyncio.create_task(exchange.receive()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in listening)
    exchange.drop()
    assert await asyncio.gather(*listening) == [{"type": "http.disconnect"}] * 2


async def test_a_client_that_leaves_during_its_body_is_a_disconnect():
    exchange = exchange_on(Connection())
    receiving = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    exchange.drop()
    assert await receiving == {"type": "http.disconnect"}


async def test_dropping_cancels_the_task_and_forgets_it_even_before_its_first_step(caplog):
    connection = Connection()
    exchange = exchange_on(connection)
    exchange.task = asyncio.create_task(exchange.run(answering(start(), body(b"x"))))
    connection.tasks.add(exchange.task)
    exchange.drop()
    await asyncio.wait([exchange.task])
    await asyncio.sleep(0)
    assert connection.tasks == set()
    assert connection.transport.written == b""
    assert caplog.records == []


async def test_a_send_that_waits_for_a_slow_client_ends_when_the_client_leaves():
    connection = Connection()
    connection.flow.write_paused = True
    exchange = exchange_on(connection)
    running = asyncio.create_task(exchange.run(answering(start(), body(b"x"))))
    await asyncio.sleep(0)
    exchange.drop()
    connection.flow.writable.set()
    await running
    assert connection.transport.written == b""


async def test_a_body_counts_until_it_is_answered():
    connection = Connection()
    exchange = exchange_on(connection)
    exchange.add_body(b"1234")
    exchange.add_body(b"567")
    exchange.complete_body()
    seen = []

    async def app(_scope, receive, send):
        await receive()
        seen.append(connection.server_state.buffered_body_bytes)
        await send(start(200, (b"content-length", b"0")))
        await send(body())
        seen.append(connection.server_state.buffered_body_bytes)

    await exchange.run(app)
    assert seen == [7, 0]


async def test_a_body_of_a_failed_application_no_longer_counts():
    connection = Connection()
    exchange = exchange_on(connection)
    exchange.add_body(b"1234")
    await exchange.run(answering())
    assert exchange.finished
    assert connection.server_state.buffered_body_bytes == 0


async def test_a_body_dropped_again_and_again_is_uncounted_once():
    connection = Connection()
    other, exchange = exchange_on(connection), exchange_on(connection)
    other.add_body(b"123")
    exchange.add_body(b"1234")
    exchange.drop()
    exchange.drop()
    assert connection.server_state.buffered_body_bytes == 3


async def test_the_body_that_grows_over_the_sum_of_all_is_refused_and_not_counted():
    connection = Connection()
    other, exchange = exchange_on(connection), exchange_on(connection)
    other.add_body(b"123456")
    exchange.add_body(b"1234")
    with pytest.raises(RefusedError) as refused:
        exchange.add_body(b"5")
    assert refused.value.code is ErrorCode.OVERLOADED
    assert connection.server_state.buffered_body_bytes == 10
    other.drop()
    exchange.add_body(b"5")
    assert b"".join(exchange.pieces) == b"12345"


async def test_a_body_alone_may_be_larger_than_the_sum_of_all():
    connection = Connection()
    exchange = exchange_on(connection)
    exchange.add_body(b"1234567890")
    exchange.add_body(b"1234567890")
    assert len(b"".join(exchange.pieces)) == 20
    with pytest.raises(RefusedError):
        exchange_on(connection).add_body(b"1")


async def test_a_body_in_pieces_arrives_whole_and_as_bytes():
    connection = Connection()
    connection.server_state.limits = Limits(
        1, 1, 10**6, 10**6, header_timeout_s=1, body_timeout_s=1, keep_alive_timeout_s=1
    )
    exchange = exchange_on(connection)
    sent = [b"a", b"b" * 4096, b"c", b"d", b"e" * 5000, b"f"]
    for piece in sent:
        exchange.add_body(piece)
    exchange.complete_body()
    message = await exchange.receive()
    assert type(message["body"]) is bytes
    assert message["body"] == b"".join(sent)


async def test_very_many_small_pieces_are_kept_as_one():
    connection = Connection()
    connection.server_state.limits = Limits(
        1, 1, 10**6, 10**6, header_timeout_s=1, body_timeout_s=1, keep_alive_timeout_s=1
    )
    exchange = exchange_on(connection)
    for _ in range(1000):
        exchange.add_body(b"ab")
    assert len(exchange.pieces) == 2
    assert b"".join(exchange.pieces) == b"ab" * 1000


async def test_a_whole_response_in_one_message_is_the_same_on_the_wire():
    async def answer(*messages):
        connection, _ = await run(answering(*messages))
        return connection.transport.written

    length = (b"content-length", b"2")
    whole = {"type": "http.response.start", "status": 200, "headers": [length], "body": b"ok"}
    assert await answer(whole) == await answer(start(200, length), body(b"ok"))


async def test_nothing_may_follow_a_whole_response():
    whole = {"type": "http.response.start", "status": 200, "headers": [], "body": b"ok"}
    exchange = exchange_on(Connection())
    await exchange.send(whole)
    with pytest.raises(RuntimeError, match="unexpected"):
        await exchange.send(body(b"more"))


LARGE = b"x" * 100_000


@pytest.mark.parametrize("pieces", [(b"ab", b"c"), (b"{}", memoryview(LARGE), LARGE)])
@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_a_whole_response_in_pieces_is_the_same_on_the_wire(pieces, length, method):
    content = b"".join(pieces)
    headers = [(b"content-length", b"%d" % len(content))] if length else []
    whole = {"type": "http.response.start", "status": 200, "headers": headers}
    written = []
    for message in ({**whole, "pieces": pieces}, {**whole, "body": content}):
        connection, exchange = await run(answering(message), method=method)
        assert connection.finished == [exchange]
        written.append(connection.transport.written)
    assert written[0] == written[1]


async def test_large_pieces_leave_with_the_head_and_unjoined():
    pieces = (b"{}", memoryview(LARGE), LARGE)
    headers = [(b"content-length", b"%d" % (2 + 2 * len(LARGE)))]
    connection, _ = await run(
        answering({"type": "http.response.start", "status": 200, "headers": headers, "pieces": pieces})
    )
    [(head, *left)] = connection.transport.in_pieces
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert all(sent is piece for sent, piece in zip(left, pieces, strict=True))


async def test_pieces_that_contradict_the_length_are_not_sent():
    headers = [(b"content-length", b"5")]
    connection, _ = await run(
        answering({"type": "http.response.start", "status": 200, "headers": headers, "pieces": (LARGE, LARGE)})
    )
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")


def test_our_application_and_our_server_mean_the_same_extension():
    assert native._WHOLE_RESPONSE == WHOLE_RESPONSE
