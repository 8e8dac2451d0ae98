"""The HTTP server against real sockets: hostile clients, limits, and the stop."""

import asyncio
import contextlib
import json
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from certificates import client_context, tls_settings
from http_exchanges import GET, EchoApp, ask, connected, post, read_response, refused, serving, until

from tensorhost.server.http import HttpServer
from tensorhost.server.listener import CannotStartError
from tensorhost.settings import Settings

TINY_APP = Path(__file__).with_name("tiny_http_app.py")


# Requests that are in order.


async def test_pipelined_requests_are_answered_in_their_order():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(GET + post(b"hi", path=b"/b") + GET)
        assert [(await read_response(reader))[2] for _ in range(3)] == [b"GET / ", b"POST /b hi", b"GET / "]


async def test_a_request_sent_ahead_may_bring_its_body_later():
    async with serving() as server, connected(server.port) as (reader, writer):
        ahead = post(b"hello", path=b"/b")
        writer.write(GET + ahead[:-3])
        assert (await read_response(reader))[2] == b"GET / "
        writer.write(ahead[-3:])
        assert (await read_response(reader))[2] == b"POST /b hello"


async def test_http_1_0_is_answered_and_closed():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(b"GET /old HTTP/1.0\r\n\r\n")
        status, headers, body = await read_response(reader)
        assert (status, headers["connection"], body) == (200, "close", b"GET /old ")
        assert await reader.read() == b""


async def test_expect_100_continue_is_told_to_continue():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await read_response(reader))[2] == b"POST / ok"


async def test_an_upgrade_with_a_body_is_answered_and_its_body_is_no_request():
    body = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(head + body + GET)
        assert (await read_response(reader))[2] == b"POST / " + body
        assert (await read_response(reader))[2] == b"GET / "


@pytest.mark.parametrize("piece_bytes", [1_000_000, 3_000_000])
async def test_a_large_body_reaches_the_application_in_one_message(piece_bytes):
    app, body = EchoApp(), bytes(range(250)) * 12_000
    async with serving(app) as server, connected(server.port) as (reader, writer):
        request = post(body)
        for start in range(0, len(request), piece_bytes):
            writer.write(request[start : start + piece_bytes])
            await writer.drain()
        assert (await read_response(reader))[2] == b"POST / " + body
    assert len(app.messages) == 1
    assert app.messages[0]["more_body"] is False


async def test_a_chunked_body_is_joined_and_its_trailers_do_not_become_headers():
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (reader, writer):
        writer.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nHost: evil\r\nX-Admin: 1\r\n\r\n"
        )
        assert (await read_response(reader))[2] == b"POST / abcde"
        writer.write(GET)
        assert (await read_response(reader))[2] == b"GET / "
    assert app.headers == [[(b"host", b"h"), (b"transfer-encoding", b"chunked")], [(b"host", b"h")]]


async def test_an_answer_before_the_body_keeps_the_connection_usable():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(post(b"", length=5, path=b"/early"))
        assert (await read_response(reader))[2] == b"early"
        writer.write(b"12345" + GET)
        assert (await read_response(reader))[2] == b"GET / "


async def test_an_application_error_is_one_json_answer_without_its_text():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(b"GET /fail HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine-1\r\n\r\n")
        error, _ = await refused(reader, 500, "INTERNAL")
    assert error["requestId"] == "mine-1"
    assert "secret" not in error["message"]


# Slow clients.


async def test_a_slow_head_is_dropped_while_others_are_served():
    async with serving(header_timeout_s=0.2) as server, connected(server.port) as (reader, writer):

        async def drip():
            writer.write(b"GET / HTTP/1.1\r\n")
            with contextlib.suppress(OSError):
                while True:
                    writer.write(b"X-Slow: 1\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        refusal = asyncio.create_task(refused(reader, 408, "REQUEST_TIMEOUT"))
        served = 0
        while not refusal.done():
            assert (await ask(server.port, GET))[0] == 200
            served += 1
        await refusal
        dripping.cancel()
        assert served > 1


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", GET])
async def test_an_idle_connection_is_closed_without_an_error(sent):
    async with serving(keep_alive_timeout_s=0.2) as server, connected(server.port) as (reader, writer):
        writer.write(sent)
        if sent == GET:
            assert (await read_response(reader))[0] == 200
        assert await reader.read() == b""
        assert server.connection_count == 0


async def test_empty_lines_do_not_extend_the_idle_time():
    async with serving(keep_alive_timeout_s=0.2) as server, connected(server.port) as (reader, writer):
        ended = asyncio.create_task(reader.read())
        with contextlib.suppress(OSError):
            while not ended.done():
                writer.write(b"\r\n")
                await asyncio.sleep(0.01)
        assert await ended == b""


async def test_a_stalled_body_is_refused_and_its_application_cancelled():
    app = EchoApp()
    async with serving(app, body_timeout_s=0.2) as server, connected(server.port) as (reader, writer):
        writer.write(post(b"abc", length=10, path=b"/wait"))
        await refused(reader, 408, "REQUEST_TIMEOUT")
    assert app.messages == []


@pytest.mark.parametrize("length", [1_000_000, 30_000_000])
async def test_a_trickling_body_is_refused(length):
    async with serving(body_timeout_s=0.2) as server, connected(server.port) as (reader, writer):
        writer.write(post(b"", length=length))
        refusal = asyncio.create_task(refused(reader, 408, "REQUEST_TIMEOUT"))
        with contextlib.suppress(OSError):
            while not refusal.done():
                writer.write(b"y")
                await asyncio.sleep(0.01)
        await refusal


async def test_chunk_extensions_are_no_progress():
    async with serving(body_timeout_s=0.2) as server, connected(server.port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x=")
        refusal = asyncio.create_task(refused(reader, 408, "REQUEST_TIMEOUT"))
        with contextlib.suppress(OSError):
            while not refusal.done():
                writer.write(b"y")
                await asyncio.sleep(0.01)
        await refusal


async def test_a_client_that_does_not_read_its_response_is_dropped():
    async with serving(body_timeout_s=0.2) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: server.request_count == 1)
        await until(lambda: server.connection_count == 0)
        client.close()


# Greedy clients.


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 3000, b"GET / HTTP/1.1\r\nX: " + b"a" * 3000])
@pytest.mark.parametrize("end", [b"", b" HTTP/1.1\r\nHost: h\r\n\r\n"])
async def test_a_large_head_is_refused_complete_or_not(head, end):
    async with serving(max_header_bytes=2048) as server, connected(server.port) as (reader, writer):
        writer.write(head + end)
        await refused(reader, 431, "HEADERS_TOO_LARGE")


async def test_many_small_requests_in_one_packet_are_no_large_head():
    async with serving(max_header_bytes=1024) as server, connected(server.port) as (reader, writer):
        writer.write(GET * 100 + GET[:-2])
        assert [(await read_response(reader))[0] for _ in range(100)] == [200] * 100
        writer.write(GET[-2:])
        assert (await read_response(reader))[0] == 200


async def test_a_large_content_length_is_refused_and_the_client_reads_why():
    async with serving(max_body_bytes=1000) as server, connected(server.port) as (reader, writer):
        writer.write(post(bytes(4_000_000)))
        await refused(reader, 413, "PAYLOAD_TOO_LARGE")


async def test_a_growing_chunked_body_is_refused():
    app = EchoApp()
    async with serving(app, max_body_bytes=1000) as server, connected(server.port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            writer.write(b"190\r\n" + bytes(400) + b"\r\n")
            await writer.drain()
        await refused(reader, 413, "PAYLOAD_TOO_LARGE")
    assert app.messages == []


async def test_bodies_that_are_too_much_together_are_refused_and_later_ones_served():
    app = EchoApp()
    async with serving(app, max_buffered_body_bytes=1000) as server, connected(server.port) as (reader, writer):
        writer.write(post(bytes(900), path=b"/wait"))
        await app.entered.wait()
        async with connected(server.port) as (second_reader, second_writer):
            second_writer.write(post(bytes(101)))
            _, headers = await refused(second_reader, 503, "OVERLOADED")
            assert headers["retry-after"] == "1"
        assert (await ask(server.port, post(b"x" * 100)))[0] == 200
        app.release.set()
        assert (await read_response(reader))[0] == 200
        assert (await ask(server.port, post(bytes(5000))))[0] == 200


async def test_connections_over_the_limit_are_refused_without_hurting_the_others():
    async with serving(max_connections=2) as server, contextlib.AsyncExitStack() as stack:
        served = [await stack.enter_async_context(connected(server.port)) for _ in range(2)]
        for reader, writer in served:
            writer.write(GET)
            assert (await read_response(reader))[0] == 200
        async with connected(server.port) as (reader, writer):
            writer.write(GET)
            _, headers = await refused(reader, 503, "OVERLOADED")
            assert headers["retry-after"] == "1"
        for reader, writer in served:
            writer.write(GET)
            assert (await read_response(reader))[0] == 200


async def test_too_many_requests_sent_ahead_are_refused_after_the_answers_due():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(GET * 1000)
        statuses = []
        while not statuses or statuses[-1] == 200:
            statuses.append((await read_response(reader))[0])
    assert statuses[-1] == 503
    assert 256 <= len(statuses) < 1000


# Broken and ambiguous requests.

POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: -1\r\n\r\nabc",
        POST + b"Content-Length: 1\r\n 0\r\n\r\n0123456789",
        POST + b"Content-Length: 99999999999999999999\r\n\r\nabc",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\nabc\n0\n\n",
        CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n",
    ],
)
async def test_broken_or_ambiguous_requests_are_refused_and_reach_no_application(request_bytes):
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (reader, writer):
        writer.write(request_bytes)
        await refused(reader, 400, "INVALID_REQUEST")
    assert app.messages == []


async def test_garbage_behind_a_good_request_is_refused_after_its_answer():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(GET + b"\x00\x01\x02\r\n\r\n")
        assert (await read_response(reader))[2] == b"GET / "
        await refused(reader, 400, "INVALID_REQUEST")


async def test_a_request_behind_connection_close_is_not_answered():
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET)
        assert (await read_response(reader))[2] == b"GET / "
        assert await reader.read() == b""
    assert len(app.messages) == 1


# Clients that leave.


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_cancels_its_request_quietly(leave, caplog):
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (_, writer):
        writer.write(post(b"x", path=b"/wait"))
        await app.entered.wait()
        if leave == "close":
            writer.close()
        elif leave == "reset":
            writer.transport.abort()
        else:
            writer.write_eof()
        await app.cancelled.wait()
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


# The stop, in this process.


async def ask_until_refused(port):
    with contextlib.suppress(OSError):
        while True:
            await ask(port, GET)


async def test_close_finishes_a_running_request_and_refuses_new_connections():
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (reader, writer):
        writer.write(post(b"x", path=b"/wait"))
        await app.entered.wait()
        closing = asyncio.create_task(server.close())
        await ask_until_refused(server.port)
        app.release.set()
        status, headers, body = await read_response(reader)
        assert (status, headers["connection"], body) == (200, "close", b"POST /wait x")
        assert (await closing).clean


async def test_what_is_not_finished_in_time_gets_shutting_down_and_is_reported():
    app = EchoApp()
    async with serving(app, shutdown_timeout_s=0.1) as server, connected(server.port) as (reader, writer):
        writer.write(post(b"x", path=b"/wait"))
        await app.entered.wait()
        report = await server.close()
        await refused(reader, 503, "SHUTTING_DOWN")
    assert app.cancelled.is_set()
    assert report.cut_off_requests == 1


async def test_connections_waiting_in_the_kernel_are_adopted():
    async with serving() as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for client in clients:  # the loop has not run since: nothing of this has been accepted
            client.sendall(GET)
            client.setblocking(False)
        report = await server.close()
        for client in clients:
            assert client.recv(65536).endswith(b"GET / ")
            client.close()
    assert report.clean


async def test_a_large_last_answer_is_read_to_its_end():
    async with serving() as server, connected(server.port, limit=1000) as (reader, writer):
        writer.write(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        closing = asyncio.create_task(server.close())
        _, headers, body = await read_response(reader)
        assert (headers["connection"], len(body)) == ("close", 20_000_000)
        assert (await closing).clean


# Addresses and TLS.


async def test_a_port_in_use_is_one_clear_sentence():
    async with serving() as server:
        with pytest.raises(CannotStartError, match=rf"^Port {server.port} on 127.0.0.1 is already in use;"):
            await HttpServer(EchoApp(), Settings(port=server.port)).open()


async def test_the_port_is_free_again_after_close():
    async with serving() as server:
        await ask(server.port, GET)
    async with serving(port=server.port) as again:
        assert (await ask(again.port, GET))[0] == 200
        assert again.url == f"http://127.0.0.1:{server.port}"


async def test_tls_serves_and_refuses_in_the_same_shape(authority):
    context = client_context(authority, with_certificate=False)
    async with serving(max_body_bytes=1000, **tls_settings(authority)) as server:
        assert server.url.startswith("https://")
        async with connected(server.port, ssl=context) as (reader, writer):
            writer.write(GET)
            assert (await read_response(reader))[2] == b"GET / "
            writer.write(post(b"", length=2000))
            await refused(reader, 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("with_certificate", [True, False])
async def test_a_client_authority_makes_client_certificates_required(authority, with_certificate):
    context = client_context(authority, with_certificate=with_certificate)
    async with serving(tls_client_ca=authority["root"][2], **tls_settings(authority)) as server:
        if with_certificate:
            assert (await ask(server.port, GET, ssl=context))[0] == 200
        else:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await ask(server.port, GET, ssl=context)


async def test_tls_below_1_2_is_refused(authority):
    context = client_context(authority, with_certificate=False)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(**tls_settings(authority)) as server:
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=context)


# The stop, by signals, in a process of its own, which runs on uvloop.

once = pytest.mark.asyncio(loop_factories=["asyncio"])


class Child:
    def __init__(self, process):
        self.process = process
        self.port = 0

    async def expect(self, word):
        line = (await self.process.stdout.readline()).decode().split()
        assert line[:1] == [word], line
        return line[1:]


@contextlib.asynccontextmanager
async def child(**settings):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        TINY_APP,
        json.dumps(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        running = Child(process)
        running.port = int((await running.expect("ready"))[0])
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


class Traffic:
    """Clients that ask until they are refused, and count what was answered and what was lost."""

    def __init__(self, port):
        self.port = port
        self.answered = 0
        self.lost = []

    async def keep_asking(self, request, *, keep_alive):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return
            try:
                again = True
                while again:
                    writer.write(request)
                    _, headers, _ = await read_response(reader)
                    self.answered += 1
                    again = keep_alive and headers.get("connection") != "close"
            except (OSError, asyncio.IncompleteReadError) as error:
                self.lost.append(repr(error))
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


@once
@pytest.mark.parametrize(("number", "window_s"), [(signal.SIGTERM, 0.3), (signal.SIGTERM, 0), (signal.SIGINT, 0.3)])
async def test_a_signal_under_load_loses_no_request(number, window_s):
    async with child(drain_window_s=window_s, shutdown_timeout_s=10) as running:
        traffic = Traffic(running.port)
        slow = b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"
        clients = [
            asyncio.create_task(traffic.keep_asking(request, keep_alive=keep_alive))
            for request in (GET, slow, post(bytes(100_000)), slow)
            for keep_alive in (True, True, True, True, False)
        ]
        await until(lambda: traffic.answered >= 200)
        before = traffic.answered
        running.process.send_signal(number)
        await running.expect("drain")
        assert await running.expect("stopped") == ["0"]
        assert await running.process.wait() == 0
        await asyncio.gather(*clients)
    assert traffic.lost == []
    assert traffic.answered >= before + 20


@once
async def test_while_draining_readiness_says_503_and_requests_are_answered_and_closed():
    async with child(drain_window_s=1) as running, connected(running.port) as (idle_reader, idle_writer):
        idle_writer.write(GET)
        assert "connection" not in (await read_response(idle_reader))[1]
        assert (await ask(running.port, GET.replace(b"/ ", b"/ready ", 1)))[0] == 200
        running.process.terminate()
        await running.expect("drain")
        assert (await ask(running.port, GET.replace(b"/ ", b"/ready ", 1)))[0] == 503
        status, headers, _ = await ask(running.port, GET)
        assert (status, headers["connection"]) == (200, "close")
        idle_writer.write(GET)
        assert (await read_response(idle_reader))[1]["connection"] == "close"
        assert await running.process.wait() == 0


@once
async def test_a_request_that_never_ends_is_cut_off_and_shows_in_the_exit_code():
    async with child(drain_window_s=0, shutdown_timeout_s=0.2) as running, connected(running.port) as (reader, writer):
        writer.write(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n")
        await running.expect("hanging")
        running.process.terminate()
        await running.expect("drain")
        await refused(reader, 503, "SHUTTING_DOWN")
        assert await running.expect("stopped") == ["1"]
        assert await running.process.wait() == 1


@once
@pytest.mark.parametrize(("path", "word"), [(b"/hang", "hanging"), (b"/block", "blocking")])
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_ends_the_process_even_when_the_loop_hangs(path, word, number, exit_code):
    async with child(drain_window_s=60) as running, connected(running.port) as (_, writer):
        writer.write(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
        await running.expect(word)
        running.process.send_signal(signal.SIGTERM)
        if path == b"/hang":  # a blocked loop cannot say that it has seen the first signal
            await running.expect("drain")
        while running.process.returncode is None:  # the kernel merges equal signals that are pending
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.process.wait(), 0.2)
    assert running.process.returncode == exit_code
