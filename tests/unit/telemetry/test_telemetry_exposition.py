import sys
from importlib import metadata

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import Timings
from tensorhost.telemetry import exposition
from tensorhost.telemetry.definitions import METRICS
from tensorhost.telemetry.metrics import OTHER, UNKNOWN, MetricsCollector

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.fixture
def collector():
    collector = MetricsCollector(clock=lambda: 5.0)
    for version, count in (("1", 3), ("2", 5)):
        metrics = collector.version("m", version)
        for _ in range(count):
            metrics.requests += 1
            metrics.record_request(Timings(0.001, 0.0005, 0.002, 0.0001), 0.004)
        metrics.requests += 1
        metrics.record_error(ErrorCode.DEADLINE_EXCEEDED)
        metrics.record_batch(count, "full", 0.002)
        metrics.weights_bytes, metrics.memory_bytes, metrics.in_flight = 100, 300, 1
        metrics.queue_rows, metrics.load_s, metrics.warmup_s = 4, 1.5, 0.5
        metrics.batch_limit_rows, metrics.queue_limit_rows, metrics.late = 8, 4096, 2
    collector.record_unattributed_error(ErrorCode.MODEL_NOT_FOUND)
    collector.models_by_state = lambda: {"AVAILABLE": 2}
    collector.record_load("failed")
    collector.serving_calls.count_logged("m", "written", 7)
    return collector


def samples(collector, accept):
    body, _ = collector.exposition(accept)
    parse = parse_openmetrics if accept == OPENMETRICS else parse_text
    found = {}
    for family in parse(body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


@pytest.mark.parametrize("accept", [None, "text/plain", OPENMETRICS])
def test_numbers_agree_with_the_json(collector, accept):
    found, snapshot = samples(collector, accept), collector.snapshot()
    assert value(found, "tensorhost_server_requests_total") == snapshot["requestCount"] == 11
    mean = value(found, "tensorhost_server_inference_seconds_sum") / value(
        found, "tensorhost_server_inference_seconds_count"
    )
    assert mean * 1000 == pytest.approx(snapshot["averageInferenceTimeMs"])
    assert value(found, "tensorhost_uptime_seconds") == snapshot["uptime"]
    assert value(found, "tensorhost_memory_weights_bytes") == snapshot["memoryUsage"]["external"] == 200
    for code in ErrorCode:
        assert value(found, "tensorhost_server_errors_total", code=code.value) == snapshot["errors"].get(code, 0)
    assert value(found, "tensorhost_loads_total", outcome="failed") == snapshot["loads"]["failed"] == 1
    assert value(found, "tensorhost_model_versions", state="AVAILABLE") == snapshot["modelsByState"]["AVAILABLE"]


@pytest.mark.parametrize("accept", [None, OPENMETRICS])
@pytest.mark.parametrize("version", ["1", "2"])
def test_numbers_of_a_version_agree_with_the_json(collector, accept, version):
    found, shown = samples(collector, accept), collector.snapshot()["models"]["m"][version]
    labels = {"model": "m", "version": version}
    assert value(found, "tensorhost_requests_total", **labels) == shown["requestCount"]
    for code in ErrorCode:
        assert value(found, "tensorhost_errors_total", **labels, code=code.value) == shown["errors"].get(code, 0)
    assert value(found, "tensorhost_requests_in_flight", **labels) == shown["inFlight"]
    assert value(found, "tensorhost_queue_rows", **labels) == shown["queueRows"]
    assert value(found, "tensorhost_queue_limit_rows", **labels) == shown["queueLimitRows"] == 4096
    assert value(found, "tensorhost_batch_limit_rows", **labels) == shown["batchLimitRows"] == 8
    assert value(found, "tensorhost_late_requests_total", **labels) == shown["lateRequests"] == 2
    assert value(found, "tensorhost_model_weights_bytes", **labels) == shown["weightsBytes"]
    assert value(found, "tensorhost_model_memory_bytes", **labels) == shown["memoryBytes"]
    assert value(found, "tensorhost_load_duration_seconds", **labels) * 1000 == shown["loadTimeMs"]
    assert value(found, "tensorhost_warmup_duration_seconds", **labels) * 1000 == shown["warmupTimeMs"]
    assert value(found, "tensorhost_batches_total", **labels, reason="full") == shown["batches"]["closed"]["full"]
    assert value(found, "tensorhost_batch_rows_count", **labels) == shown["batches"]["count"]
    for stage in ("queue", "preprocessing", "inference", "postprocessing"):
        name = "tensorhost_request_stage_duration_seconds"
        count = value(found, f"{name}_count", **labels, stage=stage)
        assert count == shown["latency"][stage]["count"]
        total_s = value(found, f"{name}_sum", **labels, stage=stage)
        assert total_s / count * 1000 == pytest.approx(shown["latency"][stage]["averageMs"])
    for name, key in (("request", "total"), ("execution", "execution")):
        assert value(found, f"tensorhost_{name}_duration_seconds_count", **labels) == shown["latency"][key]["count"]


@pytest.mark.parametrize("accept", [None, OPENMETRICS])
def test_every_defined_metric_is_exposed_with_its_labels_and_no_other(collector, accept):
    extra = {"histogram": {"le"}}
    expected = {}
    for metric in METRICS:
        suffixes = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}.get(metric.kind, ("",))
        for suffix in suffixes:
            labels = set(metric.labels) | (extra.get(metric.kind, set()) if suffix == "_bucket" else set())
            expected[metric.name + suffix] = labels
    found = {}
    for name, labels in samples(collector, accept):
        if name.startswith("tensorhost_"):
            assert found.setdefault(name, {key for key, _ in labels}) == {key for key, _ in labels}
    assert found == expected


def test_unattributed_errors_have_one_label_set(collector):
    found = samples(collector, None)
    assert value(found, "tensorhost_requests_total", model=UNKNOWN, version=UNKNOWN) == 1
    labels = {"model": UNKNOWN, "version": UNKNOWN, "code": "MODEL_NOT_FOUND"}
    assert value(found, "tensorhost_errors_total", **labels) == 1


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("Application/OpenMetrics-Text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=evil\r\nX: y",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_content_type_repeats_nothing_of_the_client(collector, accept, content_type):
    assert collector.exposition(accept)[1] == content_type


def test_label_sets_are_bounded():
    collector = MetricsCollector(max_versions=4)
    for number in range(50):
        collector.version("m", str(number)).requests += 1
    found = samples(collector, None)
    names = {labels for name, labels in found if name == "tensorhost_requests_total"}
    assert len(names) == 6
    assert value(found, "tensorhost_requests_total", model=OTHER, version=OTHER) == 46


def test_build_info_names_tensorflow_without_importing_it(collector, monkeypatch):
    found = [dict(labels) for name, labels in samples(collector, None) if name == "tensorhost_build_info"]
    assert [set(labels) for labels in found] == [{"version", "python", "tensorflow"}]
    assert found[0]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_tensorflow_version_without_tensorflow(monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    assert exposition.tensorflow_version.__wrapped__() == "none"


def test_process_metrics_are_included(collector):
    body, _ = collector.exposition(None)
    assert b"\npython_info{" in body
    if sys.platform == "linux":
        assert b"\nprocess_resident_memory_bytes " in body
