"""The metrics of a real server agree with what was sent, in every form."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def samples(server, accept):
    answer = server.get("/metrics", Accept=accept)
    assert answer.status == 200
    openmetrics = answer.headers["content-type"].startswith("application/openmetrics-text")
    families = (read_openmetrics if openmetrics else read_text)(answer.body.decode())
    found = {}
    for family in families:
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def labelled(name, **labels):
    return name, frozenset(labels.items())


LINEAR = {"model": "linear", "version": "1"}


def test_the_keys_of_the_json_form(server):
    metrics = server.metrics()
    assert set(metrics) >= {
        "requestCount",
        "averageInferenceTimeMs",
        "errorCount",
        "errorRate",
        "uptime",
        "memoryUsage",
        "models",
    }
    assert set(metrics["memoryUsage"]) == {"rss", "heapTotal", "heapUsed", "external"}
    assert metrics["memoryUsage"]["rss"] > 50e6
    assert metrics["memoryUsage"]["external"] > 0
    assert metrics["uptime"] > 0
    assert metrics["modelsByState"]["AVAILABLE"] >= 14
    assert set(metrics["models"]["digits"]) >= {"1", "2"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/plain;q=0", "application/json"),
        ("text/plain", "text/plain"),
        ("text/plain, */*", "text/plain"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        (PROMETHEUS, "application/openmetrics-text"),
    ],
)
def test_the_form_is_what_the_client_prefers(server, accept, content_type):
    assert server.get("/metrics", Accept=accept).headers["content-type"].startswith(content_type)


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_every_form_counts_what_was_sent(server, accept):
    json_before, before = server.metrics(), samples(server, accept)
    for _ in range(3):
        server.predict("linear", [[1, 2, 3]] * 2)
    server.refuse("linear", [[1, 2]])
    server.refuse("no-such-model", [1])
    json_after, after = server.metrics(), samples(server, accept)

    def grown(name, **labels):
        key = labelled(name, **labels)
        return after.get(key, 0) - before.get(key, 0)

    assert grown("tensorhost_requests_total", **LINEAR) == 4
    assert grown("tensorhost_errors_total", **LINEAR, code="INVALID_INPUT_SHAPE") == 1
    assert grown("tensorhost_request_duration_seconds_count", **LINEAR) == 3
    assert grown("tensorhost_request_duration_seconds_sum", **LINEAR) > 0
    for stage in ("queue", "preprocessing", "inference", "postprocessing"):
        assert grown("tensorhost_request_stage_duration_seconds_count", **LINEAR, stage=stage) == 3
    assert grown("tensorhost_batch_rows_count", **LINEAR) == 3
    assert grown("tensorhost_batch_rows_sum", **LINEAR) == 6
    assert grown("tensorhost_server_requests_total") == 5
    assert grown("tensorhost_server_errors_total", code="MODEL_NOT_FOUND") == 1
    assert after[labelled("tensorhost_requests_in_flight", **LINEAR)] == 0
    assert after[labelled("tensorhost_queue_rows", **LINEAR)] == 0
    assert not any(("model", "no-such-model") in labels for _, labels in after)
    assert json_after["requestCount"] - json_before["requestCount"] == 5
    assert json_after["errorCount"] - json_before["errorCount"] == 2
    model_before, model_after = (each["models"]["linear"]["1"] for each in (json_before, json_after))
    assert model_after["requestCount"] - model_before["requestCount"] == 4
    assert model_after["batches"]["count"] - model_before["batches"]["count"] == 3
    assert after[labelled("tensorhost_requests_total", **LINEAR)] == model_after["requestCount"]
    assert after[labelled("tensorhost_server_requests_total")] == json_after["requestCount"]


def test_loads_are_counted(server):
    metrics = server.metrics()
    assert metrics["loads"]["succeeded"] >= 14
    assert metrics["models"]["linear"]["1"]["loadTimeMs"] > 0
    assert metrics["models"]["digits"]["2"]["weightsBytes"] > 0


def test_asking_for_metrics_is_no_inference_request(server):
    before = server.metrics()["requestCount"]
    server.get("/models")
    server.get("/health")
    assert server.metrics()["requestCount"] == before
