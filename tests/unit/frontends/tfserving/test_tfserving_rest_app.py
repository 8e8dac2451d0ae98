"""The REST application over an engine without a server: how it fails, what it adds to answers, what it counts."""

import asyncio
import gzip
import json
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import ErrorCode, InvalidRequestError
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.frontends.tfserving.rest import RestApp, predictions
from tensorhost.inference import Alone

PREDICT = "/v1/models/m:predict"
BODY = b'{"instances": [[1, 2]]}'


class Rest:
    """An application and what it answers."""

    def __init__(self, **options):
        self.bench = EngineBench(**options)
        manager = self.bench.manager
        self.app = RestApp(self.bench.engine, manager.settings, Alone(manager), RequestLog(manager, manager.settings))
        self.calls = manager.metrics.serving_calls

    async def ask(self, path=PREDICT, body=BODY, method="POST", **headers):
        waiting = [body]

        async def receive():
            return {"type": "http.request", "body": waiting.pop(0), "more_body": False}

        async def send(message):
            sent.append(message)

        sent = []
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
        await self.app(scope, receive, send)
        start, end = sent
        return start["status"], dict(start["headers"]), end["body"]

    @property
    def unattributed(self):
        errors = self.bench.manager.metrics.view().unattributed.errors
        return {code: count for code, count in errors.items() if count}


async def test_an_answer_is_counted_once():
    rest = Rest()
    status, headers, body = await rest.ask()
    assert (status, headers[b"content-type"], body) == (200, b"application/json", b'{"predictions": [[2.0,4.0]]}')
    assert rest.calls.requests == {("m", "OK"): 1}
    assert rest.calls.latency["m", "predict", "REST"].count == 1
    assert rest.bench.metrics.requests == 1
    rest.bench.check_idle()


@pytest.mark.parametrize(
    ("path", "body", "status", "label", "code"),
    [
        (PREDICT, b"{", 400, "m", ErrorCode.INVALID_REQUEST),
        ("/v1/models/m:classify", b"{}", 400, "m", ErrorCode.INVALID_REQUEST),
        ("/v1/models/nope:predict", BODY, 404, "_unknown", ErrorCode.MODEL_NOT_FOUND),
        ("/v1/models/m:nope", BODY, 400, "", ErrorCode.INVALID_REQUEST),
    ],
)
async def test_what_fails_before_a_version_is_known_is_counted_once(path, body, status, label, code):
    rest = Rest()
    given, _, answered = await rest.ask(path, body)
    assert (given, list(json.loads(answered))) == (status, ["error"])
    assert rest.unattributed == {code: 1}
    assert [key[0] for key in rest.calls.requests] == [label]
    assert list(rest.calls.requests.values()) == [1]
    [error] = rest.bench.manager.metrics.recent_errors.newest_first()
    assert (error.path, error.status, error.code) == (path, status, code.value)


async def test_what_fails_at_a_version_is_counted_there():
    rest = Rest(failure=InvalidRequestError("no"))
    assert (await rest.ask(body=b'{"instances": [[-1, 1]]}'))[0] == 400
    assert (await rest.ask(body=b'{"instances": ["x"]}'))[0] == 400
    assert rest.unattributed == {}
    assert rest.bench.metrics.error_count == 2
    rest.bench.check_idle()


async def test_an_unforeseen_fault_is_no_business_of_the_client():
    rest = Rest(failure=RuntimeError("a secret"))
    status, _, body = await rest.ask(body=b'{"instances": [[-1, 1]]}')
    assert status == 500
    assert b"secret" not in body


async def test_words_that_json_cannot_carry_are_mended_and_long_ones_cut():
    rest = Rest(failure=InvalidRequestError("half \ud800 a character"))
    status, _, body = await rest.ask(body=b'{"instances": [[-1, 1]]}')
    assert (status, json.loads(body)) == (400, {"error": "half ? a character"})
    rest = Rest(failure=InvalidRequestError("x" * 5000))
    _, _, body = await rest.ask(body=b'{"instances": [[-1, 1]]}')
    assert json.loads(body) == {"error": "x" * 1024 + "...TRUNCATED"}


async def test_overload_says_when_to_come_again():
    rest = Rest(max_in_flight=1)
    rest.bench.engine._in_flight.count = 1
    status, headers, body = await rest.ask()
    assert status == 503
    assert headers[b"retry-after"] == b"1"
    assert b"error" in body
    assert rest.calls.requests == {("m", "UNAVAILABLE"): 1}


async def test_a_body_over_the_limit_is_413():
    rest = Rest(max_body_bytes=10)
    status, _, body = await rest.ask()
    assert (status, json.loads(body)) == (413, {"error": "The body is larger than 10 bytes."})


@pytest.mark.parametrize(("settings", "timeout_s"), [({"tfserving_timeout_ms": 250}, 0.25), ({}, None)])
async def test_the_deadline_is_the_settings(settings, timeout_s, monkeypatch):
    rest = Rest(**settings)
    asked = []

    def passed(given):
        asked.append(given)
        return asyncio.get_running_loop().time() - 1

    monkeypatch.setattr(rest.bench.engine, "deadline", passed)
    status, _, _ = await rest.ask()
    assert (status, asked) == (504, [timeout_s])
    assert rest.calls.requests == {("m", "DEADLINE_EXCEEDED"): 1}
    rest.bench.check_idle()


async def test_a_client_that_leaves_is_counted_and_leaves_nothing_behind():
    rest = Rest(batch_timeout_s=5.0)
    asking = asyncio.ensure_future(rest.ask())
    await asyncio.sleep(0)
    assert rest.bench.engine.in_flight == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert rest.calls.requests == {("m", "CANCELLED"): 1}
    rest.bench.check_idle()


@pytest.mark.parametrize(("path", "method"), [(PREDICT, "POST"), ("/v1/models/m:x", "POST"), (PREDICT, "OPTIONS")])
async def test_pages_of_every_origin_only_where_the_settings_say_so(path, method):
    expected = {
        b"access-control-allow-origin": b"*",
        b"access-control-allow-methods": b"POST, GET",
        b"access-control-allow-headers": b"Content-Type",
    }
    _, headers, _ = await Rest(tfserving_cors=True).ask(path, method=method, origin="https://pages.example")
    assert expected.items() <= headers.items()
    _, headers, _ = await Rest().ask(path, method=method, origin="https://pages.example")
    assert not expected.keys() & headers.keys()


async def test_metrics_on_the_path_of_the_settings():
    rest = Rest(tfserving_metrics_path="/monitoring/prometheus/metrics")
    await rest.ask()
    status, headers, body = await rest.ask("/monitoring/prometheus/metrics?x=1", b"", "GET")
    assert (status, headers[b"content-type"]) == (200, b"text/plain; version=0.0.4; charset=utf-8")
    assert any(
        family.name == ":tensorflow:serving:request_count" for family in text_string_to_metric_families(body.decode())
    )
    status, _, body = await rest.ask("/monitoring/prometheus/metrics", b"", "GET", accept_encoding="gzip")
    assert b":tensorflow:serving" in gzip.decompress(body)
    status, _, _ = await rest.ask("/monitoring/prometheus/metrics", b"")
    assert status == 400
    assert rest.calls.requests["m", "OK"] == 1


async def test_which_paths_are_for_it():
    rest = Rest(tfserving_metrics_path="/prometheus").app
    assert [rest.answers(path) for path in ("/v1/models", "/V1/x", "/prometheus")] == [True] * 3
    assert [rest.answers(path) for path in ("/v1", "/models", "/", "", "/prometheus/x", "/v2/models")] == [False] * 6
    assert not Rest().app.answers("")
    assert rest.traced_route("/v1/models/a:Predict") == "/v1/models/{model}:predict"
    assert rest.traced_route("/v1/models/a") is None
    assert rest.traced_route("/models/a:predict") is None


@pytest.mark.parametrize(
    ("work", "path", "body"),
    [
        ("parse_document", PREDICT, b'{"instances": [' + b'"a",' * 5000 + b"]}"),
        ("parse_document", PREDICT, b'{"instances": [' + b"[NaN, 1]," * 3000 + b"[1, 2]]}"),
        ("encode_example", "/v1/models/m:classify", b'{"examples": [' + b'{"x": 1},' * 3000 + b"{}]}"),
    ],
)
async def test_slow_work_on_a_middling_body_does_not_hold_up_the_loop(work, path, body, monkeypatch):
    real, threads = getattr(predictions, work), set()

    def watched(*args, **kwargs):
        threads.add(threading.get_ident())
        return real(*args, **kwargs)

    monkeypatch.setattr(predictions, work, watched)
    await Rest().ask(path, body)
    assert threads
    assert threading.get_ident() not in threads
