"""Spans of requests and model calls as they come out, with the real application and engine in between."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import InvalidRequestError
from tensorhost.frontends.native import NativeApp
from tensorhost.inference.admission import Admission
from tensorhost.server.tracing import check_tracing, open_tracing, wrap_tracing
from tensorhost.settings import Settings
from tensorhost.telemetry.spans import Tracing
from tensorhost.telemetry.traces import MAX_RUNS, RequestTrace, current_trace, enter_trace, leave_trace

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
STAGES = ["preprocessing", "queue", "inference", "postprocessing"]


def _route_of(path):
    return path if path in {"/predict", "/batch-predict"} else None


class TracedApp:
    """The native API over an engine bench, with spans kept in memory."""

    def __init__(self, **options):
        self.bench = EngineBench(tracing=True, **options)
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(SimpleSpanProcessor(self.exporter), Resource.create({"service.name": "test"}))
        native = NativeApp(self.bench.engine, self.bench.manager.settings)
        self.app = wrap_tracing(native, self.tracing, _route_of)
        self.statuses = []

    def ask(self, body, *traceparents, path="/predict", method="POST", **headers):
        """A request in a task of its own, as the server runs it."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"host": "models.example:3000", **headers}
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        lines += [(b"traceparent", each.encode()) for each in traceparents]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "http_version": "1.1",
            "headers": lines,
            "client": ("10.0.0.9", 5),
        }

        async def receive():
            return {"type": "http.request", "body": raw}

        async def send(message):
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])

        return asyncio.create_task(self.app(scope, receive, send))

    def predict(self, *traceparents, inputs=((1.0, 2.0),), model="m", **fields):
        return self.ask({"modelName": model, "inputs": inputs, **fields}, *traceparents)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def the(self, name):
        (span,) = self.named(name)
        return span


def ids(span):
    return span.context.trace_id, span.context.span_id


def linked(span):
    return {(link.context.trace_id, link.context.span_id) for link in span.links}


async def test_a_request_has_a_span_with_one_child_per_stage():
    app = TracedApp()
    await app.predict(SAMPLED, inputs=[[1.0, 2.0], [3.0, 4.0]])
    server, batch = app.the("POST /predict"), app.the("batch")
    assert server.kind is SpanKind.SERVER
    assert (f"{server.context.trace_id:032x}", f"{server.parent.span_id:016x}") == (TRACE, PARENT)
    stages = [app.the(name) for name in STAGES]
    for stage in stages:
        assert stage.context.trace_id == server.context.trace_id
        assert stage.parent.span_id == server.context.span_id
        assert stage.kind is SpanKind.INTERNAL
        assert server.start_time <= stage.start_time <= stage.end_time <= server.end_time
    for before, after in itertools.pairwise(stages):
        assert before.end_time <= after.start_time
    assert linked(app.the("inference")) == {ids(batch)}
    assert linked(batch) == {ids(server)}
    assert batch.parent is None
    assert {span.status.status_code for span in app.spans} == {StatusCode.UNSET}


async def test_attributes_follow_the_conventions():
    app = TracedApp()
    body = {"modelName": "m", "inputs": [[1.0, 2.0], [3.0, 4.0]]}
    await app.ask(body, **{"x-request-id": "r-1", "user-agent": "curl/8"})
    assert dict(app.the("POST /predict").attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.path": "/predict",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "models.example",
        "server.port": 3000,
        "client.address": "10.0.0.9",
        "user_agent.original": "curl/8",
        "tensorhost.request_id": "r-1",
        "tensorhost.model.name": "m",
        "tensorhost.model.version": "1",
        "tensorhost.rows": 2,
    }
    assert dict(app.the("batch").attributes) == {
        "tensorhost.model.name": "m",
        "tensorhost.model.version": "1",
        "tensorhost.signature": "serving_default",
        "tensorhost.runtime": "doubling",
        "tensorhost.batch.rows": 2,
        "tensorhost.batch.requests": 1,
        "tensorhost.batch.close_reason": "drained",
    }


async def test_requests_that_share_a_call_share_its_span():
    app = TracedApp()
    await asyncio.gather(*(app.predict(f"00-{number:032x}-{PARENT}-01") for number in (1, 2, 3)))
    batch, servers = app.the("batch"), app.named("POST /predict")
    assert batch.attributes["tensorhost.batch.requests"] == batch.attributes["tensorhost.batch.rows"] == 3
    assert {server.context.trace_id for server in servers} == {1, 2, 3}
    assert linked(batch) == {ids(server) for server in servers}
    assert [linked(span) for span in app.named("inference")] == [{ids(batch)}] * 3
    assert batch.context.trace_id not in {1, 2, 3}


async def test_only_recorded_requests_are_linked_and_the_others_are_counted():
    app = TracedApp()
    await asyncio.gather(app.predict(SAMPLED), app.predict(UNSAMPLED), app.predict(UNSAMPLED))
    batch = app.the("batch")
    assert batch.attributes["tensorhost.batch.requests"] == 3
    assert linked(batch) == {ids(app.the("POST /predict"))}


async def test_a_request_whose_parent_is_not_sampled_leaves_nothing():
    app = TracedApp()
    await app.predict(UNSAMPLED)
    await app.predict(UNSAMPLED, model="none")
    assert app.statuses == [200, 404]
    assert app.spans == ()


async def test_a_request_in_several_calls_is_linked_to_each():
    app = TracedApp()
    await app.predict(inputs=[[1.0, 2.0]] * 20)
    batches = app.named("batch")
    assert [batch.attributes["tensorhost.batch.rows"] for batch in batches] == [8, 8, 4]
    inference = app.the("inference")
    assert linked(inference) == {ids(batch) for batch in batches}
    assert (inference.start_time, inference.end_time) == (batches[0].start_time, batches[-1].end_time)
    assert app.the("POST /predict").attributes["tensorhost.rows"] == 20


@pytest.mark.parametrize(
    "traceparents",
    [
        ["", ""],
        [SAMPLED, SAMPLED],
        ["nonsense"],
        [SAMPLED.upper()],
        [SAMPLED[:-1]],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"{SAMPLED}-more"],
        ["0" * 100_000],
    ],
)
async def test_a_malformed_parent_is_ignored(traceparents, caplog):
    app = TracedApp()
    await app.predict(*traceparents)
    server = app.the("POST /predict")
    assert server.parent is None
    assert f"{server.context.trace_id:032x}" != TRACE
    assert caplog.records == []


async def test_the_state_of_the_trace_is_kept_unless_it_is_too_long():
    app = TracedApp()
    await app.ask({"modelName": "m", "inputs": [[1.0, 2.0]]}, SAMPLED, tracestate="a=1,b=2")
    await app.ask({"modelName": "m", "inputs": [[1.0, 2.0]]}, SAMPLED, tracestate=f"a={'x' * 600}")
    assert [span.context.trace_state.to_header() for span in app.named("POST /predict")] == ["a=1,b=2", ""]
    assert {f"{span.context.trace_id:032x}" for span in app.named("POST /predict")} == {TRACE}


async def test_a_model_that_fails_marks_inference_and_the_request():
    app = TracedApp(failure=RuntimeError("no"))
    await app.predict(inputs=[[-1.0, 2.0]])
    assert app.statuses == [500]
    assert [span.name for span in app.spans] == ["batch", "preprocessing", "queue", "inference", "POST /predict"]
    for name in ("batch", "inference", "POST /predict"):
        assert app.the(name).attributes["error.type"] == "MODEL_FAILED", name
        assert app.the(name).status.status_code is StatusCode.ERROR, name
    assert app.the("queue").status.status_code is StatusCode.UNSET


async def test_the_neighbour_of_a_guilty_request_is_not_marked():
    app = TracedApp(failure=RuntimeError("no"))
    await asyncio.gather(app.predict(inputs=[[-1.0, 2.0]]), app.predict())
    assert sorted(app.statuses) == [200, 500]
    assert app.the("batch").attributes["tensorhost.batch.failed_requests"] == 1
    statuses = sorted(span.status.status_code.name for span in app.named("inference"))
    assert statuses == ["ERROR", "UNSET"]


async def test_a_clients_mistake_has_its_code_and_no_error_status():
    app = TracedApp()
    await app.predict(inputs=[[1.0]])
    await app.predict(model="none", modelVersion="7")
    await app.ask(b"{")
    assert app.statuses == [400, 404, 400]
    first, second, third = app.named("POST /predict")
    assert first.attributes["error.type"] == "INVALID_INPUT_SHAPE"
    assert second.attributes["error.type"] == "MODEL_NOT_FOUND"
    assert (second.attributes["tensorhost.model.name"], second.attributes["tensorhost.model.version"]) == ("none", "7")
    assert third.attributes["error.type"] == "INVALID_REQUEST"
    assert {span.status.status_code for span in app.spans} == {StatusCode.UNSET}
    assert len(app.spans) == 3


async def test_a_request_that_the_queue_refuses_marks_the_queue():
    app = TracedApp(batch_timeout_s=0.05, max_queue_rows=2)
    await asyncio.gather(app.predict(UNSAMPLED, inputs=[[1.0, 2.0]] * 2), app.predict())
    assert sorted(app.statuses) == [200, 503]
    assert [span.name for span in app.spans] == ["preprocessing", "queue", "POST /predict"]
    assert app.the("queue").attributes["error.type"] == "OVERLOADED"
    assert app.the("POST /predict").status.status_code is StatusCode.ERROR


async def test_a_client_that_leaves_ends_the_span_as_cancelled():
    app = TracedApp(batch_timeout_s=30.0)
    request = app.predict()
    while not app.bench.servable.queue_rows():  # noqa: ASYNC110 - the request is on its way there
        await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    server = app.the("POST /predict")
    assert server.attributes["error.type"] == "CANCELLED"
    assert server.status.status_code is StatusCode.ERROR
    assert "http.response.status_code" not in server.attributes
    assert app.the("queue").attributes["error.type"] == "CANCELLED"
    app.bench.check_idle()


async def test_a_batch_of_items_has_each_stage_once():
    app = TracedApp()
    items = [{"inputs": [[float(number), 1.0]]} for number in range(20)] + [{"inputs": "x"}, {"inputs": [[1.0]]}]
    await app.ask({"modelName": "m", "batch": items}, path="/batch-predict")
    server = app.the("POST /batch-predict")
    assert [app.the(name).parent.span_id for name in STAGES] == [server.context.span_id] * 4
    batches = app.named("batch")
    assert linked(app.the("inference")) == {ids(batch) for batch in batches}
    assert [linked(batch) for batch in batches] == [{ids(server)}] * len(batches)
    assert server.attributes["tensorhost.rows"] == 20
    assert server.attributes["tensorhost.items.failed"] == 2


async def test_items_beyond_the_limit_are_counted_only():
    app = TracedApp()
    await app.ask({"modelName": "m", "batch": [{"inputs": [[1.0, 1.0]]}] * (MAX_RUNS + 5)}, path="/batch-predict")
    server = app.the("POST /batch-predict")
    assert server.attributes["tensorhost.items.untraced"] == 5
    assert server.attributes["tensorhost.rows"] == MAX_RUNS


async def test_other_routes_and_methods_have_no_span():
    app = TracedApp()
    await app.ask(b"", path="/health/live", method="GET")
    await app.ask(b"", path="/predict", method="GET")
    await app.ask(b"", path="/models/m/unload")
    assert app.statuses[:2] == [200, 405]
    assert app.spans == ()


@pytest.mark.parametrize("host", ["", "a b", "host:port", "[::1", "x" * 300, "h:123456"])
async def test_a_strange_host_is_left_out(host):
    app = TracedApp()
    await app.ask({"modelName": "m", "inputs": [[1.0, 2.0]]}, host=host)
    assert "server.address" not in app.the("POST /predict").attributes


async def test_an_application_that_fails_ends_the_span_and_raises():
    exporter = InMemorySpanExporter()

    async def broken(scope, receive, send):
        raise ValueError("broken")

    app = wrap_tracing(broken, Tracing(SimpleSpanProcessor(exporter), Resource.create({})), _route_of)
    scope = {"type": "http", "method": "POST", "path": "/predict", "scheme": "http", "http_version": "1.1"}
    with pytest.raises(ValueError, match="broken"):
        await app(scope | {"headers": [], "client": None}, None, None)
    (span,) = exporter.get_finished_spans()
    assert span.attributes["error.type"] == "INTERNAL"
    assert current_trace() is None


async def test_the_sampler_is_the_environments(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    app = TracedApp()
    await app.predict()
    assert app.spans == ()
    await app.predict(SAMPLED)
    assert len(app.spans) == 6


async def test_roots_are_recorded_by_ratio_and_their_trace_id_is_the_one_decided_on(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    app = TracedApp()
    begun = [app.tracing.begin("request", []) for _ in range(200)]
    recorded = [trace_id for trace_id, span in begun if span is not None]
    assert recorded == [f"{span.get_span_context().trace_id:032x}" for _, span in begun if span is not None]
    assert 0 < len(recorded) < 200
    # By the ratio sampler's rule: the low half of the id decides.
    assert {trace_id for trace_id, _ in begun if int(trace_id[16:], 16) < 2**63} == set(recorded)
    assert len({trace_id for trace_id, _ in begun}) == 200


@pytest.mark.parametrize("sampler", ["always_on", "traceidratio"])
async def test_a_sampler_that_follows_no_parent_decides_itself(monkeypatch, sampler):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
    app = TracedApp()
    await app.predict(UNSAMPLED)
    assert f"{app.the('POST /predict').context.trace_id:032x}" == TRACE


async def test_without_tracing_requests_get_what_they_always_got():
    bench = EngineBench()
    assert bench.engine._make_admission is Admission
    assert bench.servable.queue("serving_default")._on_call is None
    token = enter_trace(RequestTrace(None, None))
    assert (await bench.ask()).predictions.tolist() == [[2.0, 4.0]]
    assert current_trace().runs == []
    leave_trace(token)


@pytest.mark.parametrize("tracing", [False, True])
async def test_without_tracing_no_function_of_it_is_called(tracing):
    app = TracedApp()
    if not tracing:
        app.bench = EngineBench()
        app.app = NativeApp(app.bench.engine, app.bench.manager.settings)
    called = set()
    sys.setprofile(lambda frame, event, _: called.add(frame.f_code.co_filename) if event == "call" else None)
    try:
        await app.predict(SAMPLED)
    finally:
        sys.setprofile(None)
    assert app.statuses == [200]
    modules = ("/traced.py", "/traces.py", "/tracing.py", "/stages.py", "/spans.py")
    ours = {name for name in called if "/tensorhost/" in name and name.endswith(modules)}
    assert bool(ours) is tracing, ours


async def test_from_inside_the_process_a_traced_engine_serves_without_a_trace():
    bench = EngineBench(tracing=True)
    assert (await bench.ask()).predictions.tolist() == [[2.0, 4.0]]
    bench.check_idle()


def test_tracing_is_off_by_default():
    assert open_tracing(Settings()) is None
    check_tracing(Settings())


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorhost.telemetry.span_export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'tensorhost\[otel\]'"):
        check_tracing(Settings(tracing=True))
