"""What is made again, when, how often, and what never is: both clients against a server that misbehaves."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from scripted_server import Drip, Held, close_after, cut_off, hang_up, refusal, reply, reset

from tensorhost.client import (
    Client,
    ClientError,
    ConnectionBrokenError,
    DeadlineExceededError,
    InvalidAnswerError,
    ModelNotReadyError,
    OverloadedError,
    RequestCancelledError,
    Retries,
    ServerUnreachableError,
)
from tensorhost.client.answers import retry_after_s

ANSWER = reply({"predictions": [[1.0]], "modelVersion": "1"})
OVERLOADED = refusal("OVERLOADED", 503)


def predict(client):
    return client.predict("m", [[1.0]])


def busy(**headers):
    return refusal("OVERLOADED", 503, **headers)


@pytest.mark.parametrize(
    "failure",
    [
        OVERLOADED,
        refusal("MODEL_NOT_READY", 503),
        refusal("SHUTTING_DOWN", 503),
        reply(b"<html>no server is available</html>", 503),
        reply(b"slow down", 429),
        hang_up,
        reset,
        cut_off,
    ],
    ids=["overloaded", "not ready", "shutting down", "proxy 503", "429", "hang up", "reset", "cut off"],
)
@pytest.mark.parametrize(
    "call",
    [predict, lambda client: client.metrics(), lambda client: client.model("m")],
    ids=["predict", "metrics", "model"],
)
def test_what_passes_is_made_again(server, client, naps, failure, call):
    server.will(failure, failure, ANSWER)
    call(client)
    assert naps == [0.1, 0.2]
    first, *others = server.asked
    assert len(others) == 2
    assert all((other.path, other.body) == (first.path, first.body) for other in others)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_INPUT_SHAPE", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("MODEL_NOT_FOUND", 404),
        ("REQUEST_TIMEOUT", 408),
        ("PAYLOAD_TOO_LARGE", 413),
        ("MODEL_FAILED", 500),
        ("INTERNAL", 500),
        ("SOMETHING_NEW", 502),
        ("DEADLINE_EXCEEDED", 504),
        ("OUT_OF_MEMORY", 507),
    ],
)
def test_what_stays_is_not(server, client, naps, code, status):
    server.will(refusal(code, status, Retry_After="1"))
    with pytest.raises(ClientError, match=code) as caught:
        predict(client)
    assert (caught.value.http_status, len(server.asked), naps) == (status, 1, [])


@pytest.mark.parametrize(("state", "attempts"), [("NEW", 4), ("LOADING", 4), ("UNLOADING", 1), ("END", 1)])
def test_a_version_is_waited_for_only_while_it_may_come(server, client, state, attempts):
    error = {"code": "MODEL_NOT_READY", "message": "No.", "details": {"state": state}, "requestId": "r"}
    server.will(*[reply(json.dumps({"error": error}).encode(), 503, Retry_After="0")] * 4)
    with pytest.raises(ModelNotReadyError):
        predict(client)
    assert len(server.asked) == attempts


@pytest.mark.parametrize("call", [lambda client: client.load("m"), lambda client: client.unload("m")])
@pytest.mark.parametrize("failure", [OVERLOADED, reply(b"", 429), hang_up, reset, cut_off])
def test_control_that_may_have_been_carried_out_is_not_made_again(server, client, naps, call, failure):
    server.will(failure)
    with pytest.raises(ClientError):
        call(client)
    assert (len(server.asked), naps) == (1, [])


@pytest.mark.parametrize(
    "call",
    [predict, lambda client: client.load("m"), lambda client: client.unload("m"), lambda client: client.models()],
)
def test_everything_is_made_again_where_no_connection_was_made(make, closed_url, naps, call):
    with pytest.raises(ServerUnreachableError) as caught:
        call(make(closed_url))
    assert naps == [0.1, 0.2, 0.4]
    assert type(caught.value) is ServerUnreachableError


def test_a_request_that_was_sent_says_so(server, make):
    server.will(reset)
    with pytest.raises(ConnectionBrokenError):
        predict(make(server.url, retries=0))


def test_a_kept_connection_that_the_server_has_closed_costs_nothing(server, make, naps):
    client = make(server.url)
    server.will(close_after(reply({})), reply({}))
    client.metrics()
    assert server.closed.acquire(timeout=20)
    client.load("m")
    assert (server.connections, naps) == (2, [])


def test_the_last_error_is_the_calls_own(server, client, naps):
    server.will(OVERLOADED, hang_up, OVERLOADED, refusal("MODEL_NOT_READY", 503), ANSWER)
    with pytest.raises(ModelNotReadyError):
        predict(client)
    assert len(server.asked) == 4


def test_a_failure_that_stays_ends_it(server, client, naps):
    server.will(OVERLOADED, refusal("MODEL_NOT_FOUND", 404))
    with pytest.raises(ClientError, match="MODEL_NOT_FOUND"):
        predict(client)
    assert naps == [0.1]


@pytest.mark.parametrize("retries", [0, Retries(limit=0)])
def test_none_is_none(server, make, naps, retries):
    server.will(OVERLOADED)
    with pytest.raises(OverloadedError):
        predict(make(server.url, retries=retries))
    assert (len(server.asked), naps) == (1, [])


def test_waits_double_up_to_their_bound(server, make, naps):
    server.otherwise = OVERLOADED
    with pytest.raises(OverloadedError):
        predict(make(server.url, retries=Retries(limit=6, first_wait_s=0.5, longest_wait_s=3.0)))
    assert naps == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_waits_are_drawn_between_nothing_and_their_bound(server, client, naps, monkeypatch):
    drawn = []
    monkeypatch.setattr("random.uniform", lambda least, most: drawn.append((least, most)) or most / 4)
    server.otherwise = OVERLOADED
    with pytest.raises(OverloadedError):
        predict(client)
    assert drawn[:3] == [(0, 0.1), (0, 0.2), (0, 0.4)]
    assert naps == [0.025, 0.05, 0.1]


def test_retry_after_comes_on_top(server, client, naps):
    server.will(busy(Retry_After="2"), reply(b"", 429, Retry_After="7"), ANSWER)
    predict(client)
    assert naps == [2.1, 7.2]


def test_retry_after_may_be_a_date(server, client, naps):
    server.will(busy(Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)), ANSWER)
    predict(client)
    assert 7 < naps[0] <= 9.1


def test_a_retry_after_that_says_nothing_is_none(server, client, naps):
    server.will(busy(Retry_After="soon"), ANSWER)
    predict(client)
    assert naps == [0.1]


def test_a_server_that_wants_to_be_left_alone_for_long_is(server, client, naps):
    server.will(busy(Retry_After="31"))
    with pytest.raises(OverloadedError) as caught:
        predict(client)
    assert (caught.value.retry_after_s, naps) == (31, [])


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 12 ", 12),
        ("-1", None),
        ("1.5", None),
        ("1" * 5000, None),
        ("Thu, 01 Jan 2026 00:00:10 GMT", 10),
        ("Thu, 01 Jan 2026 00:00:10 -0000", 10),
        ("Thu, 01 Jan 2026 01:00:10 +0100", 10),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0),
        ("Thu, 99 Jan 2026 00:00:10 GMT", None),
        ("Thu, 01 Jan 99999 00:00:10 GMT", None),
        ("", None),
    ],
)
def test_reading_retry_after(header, seconds):
    assert retry_after_s(header, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_a_wait_that_would_outlast_the_deadline_is_not_begun(server, client, naps):
    server.will(busy(Retry_After="5"))
    with pytest.raises(OverloadedError):
        client.predict("m", [1], timeout_ms=4000)
    assert (len(server.asked), naps) == (1, [])


def test_the_clients_own_time_limit_covers_all_attempts(server, make, naps):
    server.will(busy(Retry_After="8"), busy(Retry_After="8"), ANSWER)
    with pytest.raises(OverloadedError):
        predict(make(server.url, timeout_s=10))
    assert len(naps) == 1
    assert "timeoutMs" not in server.asked[0].body


def test_the_server_is_told_what_is_left(server, client, naps):
    server.will(busy(Retry_After="3"), busy(Retry_After="3"), ANSWER)
    client.predict("m", [1], timeout_ms=10_000)
    first, second, third = (asked.body["timeoutMs"] for asked in server.asked)
    assert 5000 < first <= 10_000
    assert second <= first - 3000
    assert 0 < third <= second - 3000


def test_a_slow_server_is_given_up_at_the_deadline(server, client):
    slow = Held(ANSWER)
    server.will(slow)
    with pytest.raises(DeadlineExceededError, match="within 50 ms"):
        client.predict("m", [1], timeout_ms=50)
    slow.free.set()
    assert len(server.asked) == 1


def test_a_server_that_answers_byte_by_byte_is_given_up_at_the_deadline(server, client):
    drip = Drip()
    server.will(drip)
    with pytest.raises(DeadlineExceededError):
        client.predict("m", [1], timeout_ms=100)
    assert drip.left.wait(20)


def test_each_retry_is_told_before_the_wait(server, make, naps):
    told = []
    server.will(OVERLOADED, reset, ANSWER)
    predict(make(server.url, retries=Retries(limit=5, on_retry=told.append)))
    assert [(retry.number, retry.limit, retry.wait_s) for retry in told] == [(1, 5, 0.1), (2, 5, 0.2)]
    assert [type(retry.error) for retry in told] == [OverloadedError, ConnectionBrokenError]


def test_what_being_told_raises_ends_the_call(server, make, naps):
    def tell(retry):
        raise KeyError(retry.number)

    server.will(OVERLOADED)
    with pytest.raises(KeyError):
        predict(make(server.url, retries=Retries(on_retry=tell)))


@pytest.mark.parametrize("field", ["limit", "first_wait_s", "longest_wait_s", "longest_retry_after_s"])
def test_nonsense_is_refused(field):
    with pytest.raises(ValueError, match="below 0"):
        Retries(**{field: -1})


def test_a_negative_number_of_retries_is_refused(make):
    with pytest.raises(ValueError, match="below 0"):
        make("http://localhost", retries=-1)


def test_health_is_asked_once(server, client, naps):
    server.will(reset)
    with pytest.raises(ServerUnreachableError):
        client.health()
    assert naps == []


def test_an_answer_of_no_server_of_ours_is_not_asked_for_again(server, client, naps):
    server.will(reply(b"<html>"))
    with pytest.raises(InvalidAnswerError):
        predict(client)
    assert naps == []


def test_closing_the_client_ends_a_wait(server):
    waits = threading.Event()
    outcome = []
    client = Client(server.url, retries=Retries(first_wait_s=1e6, longest_wait_s=25.0, on_retry=lambda _: waits.set()))
    server.will(busy(Retry_After="20"))

    def call():
        try:
            predict(client)
        except ClientError as error:
            outcome.append(type(error))

    thread = threading.Thread(target=call)
    thread.start()
    assert waits.wait(20)
    client.close()
    thread.join(20)
    assert outcome == [RequestCancelledError]
