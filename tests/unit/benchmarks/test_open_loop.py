import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from benchmarks.open_loop import Answer, BadAnswerError, OpenLoop, arrivals, write_request
from hypothesis import given
from hypothesis import strategies as st

WITH_LENGTH = b"HTTP/1.1 200 OK\r\nServer: x\r\nCONTENT-LENGTH: 11\r\n\r\nhello world"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\n10\r\n0\r\n\r\n"


class Stub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200
    asked: list[bytes]
    gate: threading.Event

    def do_POST(self):
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.gate.wait()
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that has given up is no error here."""


@pytest.fixture
def stub():
    handler = type("Handler", (Stub,), {"asked": [], "gate": threading.Event()})
    handler.gate.set()
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        handler.address = server.server_address
        yield handler
        handler.gate.set()
        server.shutdown()
        thread.join()


def open_loop(stub, connections):
    host, port = stub.address
    loop = OpenLoop((host, port), write_request(host, port, "/predict", b"[1]"), connections)
    yield loop
    loop.close()


@pytest.fixture
def one_connection(stub):
    yield from open_loop(stub, 1)


@pytest.fixture
def four_connections(stub):
    yield from open_loop(stub, 4)


def test_arrivals_are_the_same_for_everybody_and_come_at_the_rate():
    due = list(arrivals(1000, 4))
    assert due == list(arrivals(1000, 4)) == sorted(due)
    assert 0 < due[0] < due[-1] < 4
    assert 3700 < len(due) < 4300


def test_gaps_between_arrivals_differ_as_those_of_independent_clients():
    due = list(arrivals(1000, 4))
    gaps = sorted(after - before for before, after in pairwise(due))
    mean = sum(gaps) / len(gaps)
    assert 0.6 < gaps[len(gaps) // 2] / mean < 0.8  # ln 2 for exponential gaps


@pytest.mark.parametrize("message", [WITH_LENGTH, CHUNKED])
@given(data=st.data())
def test_the_end_of_an_answer_is_found_however_it_is_cut(message, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(message) - 1))))
    pieces = [message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    answer = Answer()
    assert [answer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "without a length"),
    ],
)
def test_an_answer_that_is_no_complete_200_fails_the_run(head, message):
    with pytest.raises(BadAnswerError, match=message):
        Answer().feed(head)


def test_every_request_is_sent_and_answered(stub, four_connections):
    report = four_connections.run([0.0, 0.0, 0.001, 0.002, 0.003, 0.004], 30)
    assert stub.asked == [b"[1]"] * 6
    assert (report["requests"], report["unanswered"]) == (6, 0)
    assert 0 < report["p50_ms"] <= report["p99_ms"] <= report["p99_9_ms"] <= report["max_ms"]
    assert report["generator_us_per_request"] > 0


def test_latency_counts_from_when_a_request_was_due_also_while_it_waited_for_a_connection(one_connection):
    report = one_connection.run([0.0] * 5, 30)
    assert report["unanswered"] == 0
    assert one_connection.latencies_s == sorted(one_connection.latencies_s)
    assert len(one_connection.late_s) == 1, "only a request that found a free connection tells how late the sender was"


def test_requests_without_an_answer_count_with_the_time_they_have_waited(stub, one_connection):
    stub.gate.clear()
    report = one_connection.run([0.0, 0.0, 0.01], 0.05)
    assert (report["requests"], report["unanswered"], report["requests_s"]) == (3, 3, 0)
    assert report["max_ms"] >= 50
    assert report["p50_ms"] >= 40


def test_a_refusal_ends_the_run(stub, four_connections):
    stub.status = 500
    with pytest.raises(BadAnswerError, match="500"):
        four_connections.run([0.0], 30)
