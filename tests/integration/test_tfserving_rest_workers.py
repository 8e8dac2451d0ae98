"""TensorFlow Serving's REST API on a port of its own, for pages, with its metrics, served by several processes."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest
from native_server import TIMEOUT_S, Answer, RunningServer, exchange
from prometheus_client.parser import text_string_to_metric_families

METRICS = "/monitoring/prometheus/metrics"
PREDICT = "/v1/models/half_plus_two_tf2:predict"
BODY = b'{"instances": [1.0]}'
REQUESTS = 24
CALLS = ":tensorflow:serving:request_count"


@pytest.fixture(scope="module")
def own_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def served(serving_repository, own_port) -> Iterator[RunningServer]:
    """One model, two workers."""
    model = serving_repository / "half_plus_two_tf2"
    options = ("--tfserving-port", own_port, "--tfserving-metrics-path", METRICS, "--tfserving-cors", "--workers", 2)
    with RunningServer(model, *options, "--poll-interval-s", 0, "--settle-s", 0) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        return exchange(connection, "GET" if body is None else "POST", path, body, headers)
    finally:
        connection.close()


def counts_at(port: int) -> dict[tuple[str, ...], float]:
    """Calls by model and status, and those with a latency by model and API."""
    given = ask(port, METRICS)
    assert given.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(given.body.decode())}
    assert "tensorhost_requests" in families
    counts = {tuple(sample.labels.values()): sample.value for sample in families[CALLS].samples}
    latency = families[":tensorflow:serving:request_latency"].samples
    return counts | {
        (sample.labels["model_name"], sample.labels["API"], "latency"): sample.value
        for sample in latency
        if sample.name.endswith("_count")
    }


def test_both_ports_answer_and_every_worker_counts(served, own_port):
    before = counts_at(own_port)
    for number in range(REQUESTS):
        given = ask((served.port, own_port)[number % 2], PREDICT, BODY)
        assert given.json == {"predictions": [2.5]}
        assert given.headers["access-control-allow-origin"] == "*"
    assert ask(own_port, "/v1/models/" + "x" * 50).status == 404
    assert ask(own_port, "/elsewhere").status == 404
    for port in (served.port, own_port):
        after = counts_at(port)
        assert {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)} == {
            ("half_plus_two_tf2", "OK"): REQUESTS,
            ("half_plus_two_tf2", "predict", "latency"): REQUESTS,
            ("_unknown", "NOT_FOUND"): 1,
        }


def test_the_port_of_its_own_has_nothing_else_but_health(served, own_port):
    assert ask(own_port, "/readyz").json == {"status": "healthy"}
    assert ask(own_port, "/healthz").json == {"status": "alive"}
    for path in ("/models", "/metrics", "/", "/openapi.json"):
        given = ask(own_port, path)
        assert (given.status, given.json) == (404, {"error": f"There is no route {path}."})
        assert ask(served.port, path).status == 200
    refused = ask(own_port, "/models/half_plus_two_tf2/unload", json.dumps({}).encode())
    assert refused.status == 404
    assert ask(own_port, PREDICT, BODY).status == 200
