"""The REST application over an engine without a server: how it fails, who may control it, what it counts."""

import asyncio
import json

import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import (
    ErrorCode,
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    OutOfMemoryError,
    ShuttingDownError,
)
from tensorhost.frontends.oip import OpenInference, RestApp
from tensorhost.frontends.oip.rest.app import _handlers
from tensorhost.frontends.oip.rest.targets import Api
from tensorhost.inference import Alone

INFER = "/v2/models/m/infer"
LOAD, UNLOAD = "/v2/repository/models/m/load", "/v2/repository/models/m/unload"
BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'


class ToldGroup(Alone):
    """Notes what it is to load and unload, and fails as it is told."""

    def __init__(self, manager):
        super().__init__(manager)
        self.told = []
        self.failure = None

    async def load_model(self, name, source=None, version=None):
        self._note("load", name, source, version)

    async def unload_model(self, name, version=None):
        self._note("unload", name, version)

    def _note(self, *what):
        self.told.append(what)
        if self.failure is not None:
            raise self.failure


class Rest:
    """An application and what it answers."""

    def __init__(self, **options):
        self.bench = EngineBench(**options)
        self.group = ToldGroup(self.bench.manager)
        self.offered = OpenInference(self.bench.engine, self.bench.manager.settings, self.group)
        self.app = RestApp(self.offered)

    async def ask(self, path=INFER, body=BODY, method="POST", **headers):
        waiting = [body]

        async def receive():
            return {"type": "http.request", "body": waiting.pop(0), "more_body": False}

        async def send(message):
            sent.append(message)

        sent = []
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
        await self.app(scope, receive, send)
        start, end = sent
        return start["status"], dict(start["headers"]), end["body"]

    @property
    def unattributed(self):
        errors = self.bench.manager.metrics.view().unattributed.errors
        return {code: count for code, count in errors.items() if count}


async def test_every_route_has_a_handler():
    assert set(_handlers(Rest().offered)) == set(Api)


async def test_an_answer_is_counted_once():
    rest = Rest()
    status, headers, body = await rest.ask()
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(body)["outputs"][0]["data"] == [2.0, 4.0]
    assert rest.bench.metrics.requests == 1
    assert rest.unattributed == {}
    rest.bench.check_idle()


@pytest.mark.parametrize(
    ("path", "body", "method", "status", "code"),
    [
        (INFER, b"{", "POST", 400, ErrorCode.INVALID_REQUEST),
        ("/v2/models/nope/infer", BODY, "POST", 404, ErrorCode.MODEL_NOT_FOUND),
        ("/v2/models/m/versions/9/infer", BODY, "POST", 404, ErrorCode.VERSION_NOT_FOUND),
        (f"/v2/models/m/versions/{2**63}/infer", BODY, "POST", 400, ErrorCode.INVALID_REQUEST),
        ("/v2/models/m/generate", b"{", "POST", 400, ErrorCode.INVALID_REQUEST),
        ("/v2/models/m/generate_stream", b'{"x":[1,2,3]}', "POST", 400, ErrorCode.INVALID_INPUT_SHAPE),
        (f"/v2/models/m/versions/{2**63}/generate", b"{}", "POST", 400, ErrorCode.INVALID_REQUEST),
        ("/v2/models/m/versions/9/generate", b"{}", "POST", 404, ErrorCode.VERSION_NOT_FOUND),
        ("/v2/nope", b"", "GET", 404, ErrorCode.NOT_FOUND),
        (INFER, b"", "GET", 405, ErrorCode.METHOD_NOT_ALLOWED),
        ("/v2/models/nope/stats", b"", "GET", 400, ErrorCode.INVALID_REQUEST),
    ],
)
async def test_what_fails_before_a_version_is_known_is_counted_once(path, body, method, status, code):
    rest = Rest()
    given, _, answered = await rest.ask(path, body, method)
    assert (given, list(json.loads(answered))) == (status, ["error"])
    assert rest.unattributed == {code: 1}
    assert rest.bench.metrics.requests == 0
    [error] = rest.bench.manager.metrics.recent_errors.newest_first()
    assert (error.path, error.status, error.code) == (path, status, code.value)


async def test_a_stream_of_one_event():
    rest = Rest()
    status, headers, body = await rest.ask("/v2/models/m/generate_stream", b'{"x":[1,2]}')
    assert (status, headers[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    assert body == b'data: {"model_name":"m","model_version":"1","y":[2.0,4.0]}\n\n'
    # What fails before the first event is no event: clients see its status.
    status, headers, body = await rest.ask("/v2/models/m/generate_stream", b"{}")
    assert (status, headers[b"content-type"], list(json.loads(body))) == (400, b"application/json", ["error"])
    rest.bench.check_idle()


async def test_long_bodies_are_read_and_written_elsewhere():
    rest = Rest()
    body = json.dumps({"x": [[1, 2]], "more": "m" * 300_000}).encode()
    status, _, answered = await rest.ask("/v2/models/m/generate", body)
    assert (status, b"proper shape: 1 values for [-1, 2]" in answered) == (400, True)
    rest.bench.check_idle()


async def test_a_fault_of_ours_shows_nothing_and_is_counted_for_the_model():
    rest = Rest(failure=KeyError("secret"))
    status, _, body = await rest.ask(body=BODY.replace(b"[1,2]}", b"[-1,2]}"))
    assert status == 500
    assert b"secret" not in body
    assert rest.unattributed == {}
    rest.bench.check_idle()


async def test_a_client_that_leaves_leaves_nothing():
    rest = Rest()
    rest.bench.servable.queue("serving_default")._busy = True
    asking = asyncio.ensure_future(rest.ask())
    for _ in range(5):
        await asyncio.sleep(0)
    assert rest.bench.engine.in_flight == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    rest.bench.check_idle()


async def test_readiness_follows_the_server():
    rest = Rest()
    rest.bench.manager._settled = False
    assert (await rest.ask("/v2/health/ready", b"", "GET"))[0] == 400
    rest.bench.manager._settled = True
    assert (await rest.ask("/v2/health/ready", b"", "GET"))[0] == 200
    rest.offered.begin_drain()
    status, _, body = await rest.ask("/v2/health/ready", b"", "GET")
    assert (status, json.loads(body)) == (400, {"ready": False, "error": "Server not ready"})
    assert (await rest.ask("/v2/health/live", b"", "GET"))[0] == 200
    assert (await rest.ask())[0] == 200


@pytest.mark.parametrize("api", [api for api in Api if api.role.name == "CONTROL"], ids=lambda api: api.name)
async def test_control_wants_the_token(api):
    rest = Rest(admin_token="s3cret")
    path = api.path.replace("[", "").replace("]", "").format(name="m", repository="r", region="a", version="1")
    for headers in ({}, {"authorization": "Bearer wrong"}):
        status, sent, body = await rest.ask(path, b"{}", api.method, **headers)
        assert (status, sent[b"www-authenticate"], list(json.loads(body))) == (401, b"Bearer", ["error"])
    assert rest.group.told == []
    assert (await rest.ask(path, b"{}", api.method, authorization="Bearer s3cret"))[0] not in (401, 403)


async def test_loading_and_unloading_reach_all_processes():
    rest = Rest()
    assert (await rest.ask(LOAD, b""))[::2] == (200, b"")
    assert (await rest.ask(UNLOAD, b'{"parameters":{"unload_dependents":true}}'))[::2] == (200, b"")
    assert rest.group.told == [("load", "m", None, None), ("unload", "m", None)]


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (ModelNotFoundError("no"), 500, "failed to load 'm', failed to poll from model repository"),
        (InvalidRequestError("no name"), 500, "failed to load 'm', failed to poll from model repository"),
        (ModelFailedError("it is broken."), 500, "failed to load 'm', it is broken."),
        (OutOfMemoryError("too large."), 500, "failed to load 'm', too large."),
        (ShuttingDownError("bye"), 503, "bye"),
    ],
)
async def test_a_load_that_fails_says_why(failure, status, text):
    rest = Rest()
    rest.group.failure = failure
    given, _, body = await rest.ask(LOAD, b"{}")
    assert (given, json.loads(body)) == (status, {"error": text})


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"parameters":[]}', b'{"parameters":{"config":"{}"}}', b'{"nope":1}'])
async def test_a_load_that_asks_for_more_loads_nothing(body):
    rest = Rest()
    status, _, answered = await rest.ask(LOAD, body)
    assert status in (400, 501)
    assert list(json.loads(answered)) == ["error"]
    assert rest.group.told == []


async def test_unloading_what_is_not_there_is_done_already():
    rest = Rest()
    rest.group.failure = ModelNotFoundError("no")
    assert (await rest.ask(UNLOAD, b"{}"))[::2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "answered"),
    [("/v2", True), ("/v2/", True), ("/v2/models", True), ("/v2x", False), ("/v1/models", False), ("/", False)],
)
async def test_paths_of_the_application(path, answered):
    app = Rest().app
    assert app.answers(path) is answered
    assert app.traced_route(path) is None
    assert app.traced_route("/v2/models/m/versions/1/infer") == "/v2/models/{name}/infer"
