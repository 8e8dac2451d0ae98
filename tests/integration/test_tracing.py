"""Traces of a real server process, taken by a real receiver, and what happens where there is none."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from native_server import COMMAND, TIMEOUT_S, RunningServer
from otlp_receiver import Receiver, receiving

import tensorhost
from tensorhost.codecs.protobuf import message_class

WINE = Path(tensorhost.__file__).parent / "demo" / "models" / "wine"
STAGES = {"preprocessing", "queue", "inference", "postprocessing"}
ROW = [1.0] * 13
PARENT = "b7ad6b7169203331"
QUICK = {"TENSORHOST_DRAIN_WINDOW_S": "0", "OTEL_BSP_SCHEDULE_DELAY": "50"}


def parent(trace: str, *, sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-0{int(sampled)}"}


def trace_id(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(receiver) -> Iterator[RunningServer]:
    """A server whose calls take exactly three rows, so that who shares one is no matter of time."""
    flags = ("--tracing", "--access-log", "--max-batch-size", 3, "--batch-timeout-ms", 60_000, "--no-probe")
    flags += ("--grpc-port", -1)
    environment = QUICK | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "wine-cellar"}
    with RunningServer(WINE, *flags, **environment) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


def ask(server: RunningServer, rows: int = 3, *, inputs: object = None, model: str = "wine", **headers: str):
    body = {"modelName": model, "inputs": [ROW] * rows if inputs is None else inputs}
    return server.request("POST", "/predict", body, **headers)


def test_a_request_arrives_as_a_tree(traced, receiver):
    assert ask(traced, x_request_id="tree-1", **parent(trace_id(1))).status == 200
    spans = receiver.trace(trace_id(1), 5)
    server = spans.pop("POST /predict")
    assert set(spans) == STAGES
    assert server.parent == PARENT
    assert {span.parent for span in spans.values()} == {server.id}
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["tensorhost.request_id"] == "tree-1"
    assert (server.attributes["tensorhost.model.name"], server.attributes["tensorhost.rows"]) == ("wine", 3)
    assert server.attributes["server.port"] == traced.port
    assert server.resource["service.name"] == "wine-cellar"
    assert server.resource["process.pid"] == traced.process.pid
    ((batch_trace, batch_id),) = spans["inference"].links
    (batch,) = [span for span in receiver.spans if span.context == (batch_trace, batch_id)]
    assert batch.name == "batch"
    assert batch.links == {server.context}
    assert batch.attributes["tensorhost.batch.close_reason"] == "full"
    assert server.began <= batch.began <= batch.ended <= server.ended
    assert (spans["inference"].began, spans["inference"].ended) == (batch.began, batch.ended)


def test_a_grpc_call_arrives_as_a_tree_too(traced, receiver):
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "wine"
    (spec,) = traced.get("/models/wine").json["versions"][0]["signatures"]["serving_default"]["inputs"]
    name = spec["name"]
    request.inputs[name].dtype = 1
    for size in (3, 13):
        request.inputs[name].tensor_shape.dim.add(size=size)
    request.inputs[name].float_val.extend(ROW * 3)
    with grpc.insecure_channel(traced.wait_for("listening")["grpc"]) as channel:
        ask = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        ask(request.SerializeToString(), metadata=list(parent(trace_id(4)).items()), timeout=TIMEOUT_S)
    spans = receiver.trace(trace_id(4), 5)
    server = spans.pop("tensorflow.serving.PredictionService/Predict")
    assert server.parent == PARENT
    assert set(spans) == STAGES
    assert server.attributes["rpc.grpc.status_code"] == 0
    assert (server.attributes["tensorhost.model.name"], server.attributes["tensorhost.rows"]) == ("wine", 3)


def test_the_trace_id_is_in_the_log_records_of_the_request(traced):
    ask(traced, x_request_id="logged-1", **parent(trace_id(2)))
    ask(traced, inputs=[[1.0]], x_request_id="logged-2", **parent(trace_id(3), sampled=False))
    assert traced.wait_for("request", request_id="logged-1")["trace_id"] == trace_id(2)
    assert traced.wait_for("request failed", request_id="logged-2")["trace_id"] == trace_id(3)
    traced.get("/health/live", x_request_id="other-1")
    assert "trace_id" not in traced.wait_for("request", request_id="other-1")


def test_several_requests_in_one_call_are_linked_to_it_and_it_to_those_recorded(traced, receiver):
    traces = {10: True, 11: True, 12: False}
    with ThreadPoolExecutor(3) as threads:
        answers = threads.map(lambda number: ask(traced, 1, **parent(trace_id(number), sampled=traces[number])), traces)
        assert [answer.status for answer in answers] == [200] * 3
    first, second = (receiver.trace(trace_id(number), 5) for number in (10, 11))
    assert first["inference"].links == second["inference"].links
    (batch,) = [span for span in receiver.spans if {span.context} == first["inference"].links]
    assert batch.links == {first["POST /predict"].context, second["POST /predict"].context}
    assert batch.attributes["tensorhost.batch.requests"] == batch.attributes["tensorhost.batch.rows"] == 3
    # It was sent with them, had there been one.
    assert not [span for span in receiver.spans if span.trace == trace_id(12)]


def test_errors_are_on_the_span(traced, receiver):
    assert ask(traced, model="beer", **parent(trace_id(20))).status == 404
    span = receiver.trace(trace_id(20), 1)["POST /predict"]
    assert (span.attributes["error.type"], span.failed) == ("MODEL_NOT_FOUND", False)
    assert span.attributes["tensorhost.model.name"] == "beer"


@pytest.mark.parametrize("header", ["nonsense", f"00-{trace_id(30)}-{PARENT}", f"00-{'0' * 32}-{PARENT}-01"])
def test_a_malformed_parent_begins_a_trace_of_its_own(traced, receiver, header):
    request_id = f"malformed-{len(header)}"
    assert ask(traced, traceparent=header, x_request_id=request_id).status == 200

    def named(spans):
        return [span for span in spans if span.attributes.get("tensorhost.request_id") == request_id]

    (span,) = named(receiver.wait_for(named))
    assert span.parent == ""
    assert span.trace not in (trace_id(30), "0" * 32)


def test_what_is_left_is_sent_at_the_stop(receiver, tmp_path):
    environment = QUICK | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with RunningServer(tmp_path, "--tracing", **environment) as running:
        running.wait_for("ready")
        assert ask(running, **parent(trace_id(40))).status == 404
        assert not [span for span in receiver.spans if span.trace == trace_id(40)]
        assert running.stop() == 0
    assert [span.name for span in receiver.spans if span.trace == trace_id(40)] == ["POST /predict"]


def test_workers_send_their_own_spans_and_say_who_they_are(receiver, tmp_path):
    environment = QUICK | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}

    def workers(spans):
        return {span.resource["tensorhost.worker"] for span in spans if "tensorhost.worker" in span.resource}

    with RunningServer(tmp_path, "--tracing", "--workers", 2, **environment) as running:
        running.wait_for("ready")
        sent = 0
        while len(workers(receiver.spans)) < 2:
            # The kernel chooses who gets a connection.
            sent += 1
            assert ask(running, **parent(trace_id(1000 + sent))).status == 404
            receiver.trace(trace_id(1000 + sent), 1)
        assert running.stop() == 0
    assert workers(receiver.spans) == {0, 1}
    theirs = [span.resource for span in receiver.spans if "tensorhost.worker" in span.resource]
    assert len({each["process.pid"] for each in theirs}) == 2
    assert len({each["service.instance.id"] for each in theirs}) == 2


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """An address where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["silent_endpoint", "closed_endpoint"])
def test_a_receiver_that_cannot_be_reached_holds_up_nothing(kind, request, tmp_path):
    environment = QUICK | {"OTEL_EXPORTER_OTLP_ENDPOINT": request.getfixturevalue(kind), "OTEL_BSP_SCHEDULE_DELAY": "1"}
    with RunningServer(tmp_path, "--tracing", **environment) as running:
        running.wait_for("ready")
        for _ in range(200):
            assert ask(running).status == 404
        assert running.stop() == 0
        running.wait_for("the last spans were not sent in time")
        running.wait_for("stopped")
    said = [record for record in running.records if record["logger"].startswith("opentelemetry")]
    templates = [record["event"].split(" encountered")[0][:40] for record in said]
    assert len(templates) <= 4, said


@pytest.fixture
def without_opentelemetry(tmp_path) -> dict[str, str]:
    """An environment in which the extra is not installed."""
    package = tmp_path / "shadow" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError(\"No module named 'opentelemetry'\")\n", encoding="utf-8")
    path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_missing_extra_is_said_and_not_needed_without_tracing(without_opentelemetry, tmp_path, workers):
    command = [str(COMMAND), "serve", str(tmp_path), "--port", "0", "--workers", workers]
    ended = subprocess.run(
        [*command, "--tracing"],
        env=without_opentelemetry,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 2
    assert "pip install 'tensorhost[otel]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    if workers == "1":
        with RunningServer(tmp_path, **QUICK, PYTHONPATH=without_opentelemetry["PYTHONPATH"]) as running:
            assert running.get("/health/live").status == 200
            assert running.stop() == 0


def test_a_protocol_that_is_not_spoken_is_said(tmp_path):
    command = [str(COMMAND), "serve", str(tmp_path), "--port", "0", "--tracing"]
    environment = os.environ | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in ended.stderr
