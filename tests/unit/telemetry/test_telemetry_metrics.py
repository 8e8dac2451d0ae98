import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import Timings
from tensorhost.telemetry.metrics import OTHER, UNKNOWN, MetricsCollector
from tensorhost.telemetry.versions import STAGES, VersionMetrics


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def serve(metrics, count=1, inference_s=0.002):
    for _ in range(count):
        metrics.requests += 1
        metrics.record_request(Timings(0.001, 0.0005, inference_s, 0.0001), 0.004)


def fail(metrics, code=ErrorCode.MODEL_FAILED):
    metrics.requests += 1
    metrics.record_error(code)


def test_version_is_made_once(clock):
    collector = MetricsCollector(clock)
    assert collector.version("m", "1") is collector.version("m", "1")
    assert collector.version("m", "1") is not collector.version("m", "2")


@given(st.lists(st.floats(0, 40), min_size=5, max_size=5))
def test_record_request_equals_observing_each_stage(values):
    fast, plain = VersionMetrics("m", "1"), VersionMetrics("m", "1")
    total_s, *stages = values
    fast.record_request(Timings(*stages), total_s)
    plain.total.observe(total_s)
    for stage, value in zip(STAGES, stages, strict=True):
        getattr(plain, stage).observe(value)
    for name in ("total", *STAGES):
        assert getattr(fast, name).counts == getattr(plain, name).counts
        assert getattr(fast, name).sum == getattr(plain, name).sum


def test_snapshot_of_a_new_server_has_every_key_and_no_division_by_zero(clock):
    collector = MetricsCollector(clock)
    clock.now += 12.5
    snapshot = collector.snapshot()
    assert {key: snapshot[key] for key in ("requestCount", "errorCount", "errorRate", "averageInferenceTimeMs")} == {
        "requestCount": 0,
        "errorCount": 0,
        "errorRate": 0.0,
        "averageInferenceTimeMs": 0.0,
    }
    assert snapshot["uptime"] == 12.5
    assert set(snapshot["memoryUsage"]) == {"rss", "heapTotal", "heapUsed", "external"}
    assert snapshot["models"] == {}


def test_snapshot_counts_by_model_and_version(clock):
    collector = MetricsCollector(clock)
    first = collector.version("m", "1")
    serve(first, 3)
    fail(first)
    first.record_batch(8, "full", 0.002)
    first.record_batch(2, "drained", 0.001)
    first.in_flight = 2
    first.queue_rows = lambda: 17
    first.batch_limit_rows = lambda: 12
    first.record_late(3)
    first.load_s, first.warmup_s, first.weights_bytes, first.memory_bytes = 1.5, 0.25, 1000, 3000
    serve(collector.version("m", "2"), 1, inference_s=0.006)
    collector.models_by_state = lambda: {"AVAILABLE": 2}
    collector.record_load("succeeded")
    snapshot = collector.snapshot()
    json.dumps(snapshot, allow_nan=False)
    assert snapshot["requestCount"] == 5
    assert snapshot["errorCount"] == 1
    assert snapshot["errorRate"] == pytest.approx(0.2)
    assert snapshot["averageInferenceTimeMs"] == pytest.approx(3.0)
    assert snapshot["memoryUsage"]["external"] == 1000
    assert snapshot["modelsByState"] == {"AVAILABLE": 2}
    assert snapshot["loads"] == {"succeeded": 1, "failed": 0}
    version = snapshot["models"]["m"]["1"]
    assert (version["requestCount"], version["errorCount"], version["inFlight"], version["queueRows"]) == (4, 1, 2, 17)
    assert version["errors"] == {"MODEL_FAILED": 1}
    assert (version["batchLimitRows"], version["lateRequests"]) == (12, 3)
    assert version["latency"]["inference"]["averageMs"] == pytest.approx(2.0)
    assert version["latency"]["inference"]["count"] == 3
    assert 1.0 <= version["latency"]["inference"]["p99Ms"] <= 2.5
    assert version["batches"]["count"] == 2
    assert version["batches"]["averageRows"] == 5
    assert sum(version["batches"]["byRows"].values()) == version["batches"]["count"]
    assert version["batches"]["closed"] == {"full": 1, "drained": 1}
    assert (version["loadTimeMs"], version["warmupTimeMs"]) == (1500.0, 250.0)
    assert (version["weightsBytes"], version["memoryBytes"]) == (1000, 3000)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_is_counted(code):
    collector = MetricsCollector()
    fail(collector.version("m", "1"), code)
    collector.record_unattributed_error(code)
    snapshot = collector.snapshot()
    assert snapshot["errors"] == {code.value: 2}
    assert snapshot["unattributedErrors"] == {code.value: 1}
    assert snapshot["errorRate"] == 1.0
    assert UNKNOWN not in snapshot["models"]


def test_an_unloaded_version_stays_visible_for_a_while_with_empty_gauges(clock):
    collector = MetricsCollector(clock, retention_s=60)
    metrics = collector.version("m", "1")
    metrics.weights_bytes = metrics.memory_bytes = metrics.queue_rows = 9
    serve(metrics)
    collector.forget("m", "1")
    clock.now += 59
    shown = collector.snapshot()["models"]["m"]["1"]
    assert shown["requestCount"] == 1
    assert (shown["weightsBytes"], shown["memoryBytes"], shown["queueRows"]) == (0, 0, 0)
    clock.now += 1
    assert collector.snapshot()["models"] == {}


def test_a_version_that_comes_back_in_time_goes_on_counting(clock):
    collector = MetricsCollector(clock, retention_s=60)
    serve(collector.version("m", "1"))
    collector.forget("m", "1")
    clock.now += 59
    serve(collector.version("m", "1"))
    clock.now += 1000
    assert collector.snapshot()["models"]["m"]["1"]["requestCount"] == 2


def test_a_version_that_comes_back_late_starts_at_zero_and_the_server_forgets_nothing(clock):
    collector = MetricsCollector(clock, retention_s=60)
    serve(collector.version("m", "1"), 5)
    collector.forget("m", "1")
    clock.now += 60
    serve(collector.version("m", "1"))
    snapshot = collector.snapshot()
    assert snapshot["models"]["m"]["1"]["requestCount"] == 1
    assert snapshot["requestCount"] == 6


def test_forgetting_the_unknown_is_harmless():
    collector = MetricsCollector()
    collector.forget("m", "1")
    assert collector.snapshot()["models"] == {}


@given(
    st.lists(st.tuples(st.sampled_from(["serve", "fail", "forget", "wait", "unknown"]), st.integers(0, 4)), max_size=40)
)
def test_server_totals_never_go_down(moves):
    clock = Clock()
    collector = MetricsCollector(clock, max_versions=2, retention_s=10)
    seen = [collector.snapshot()]
    finished = failed = 0
    for move, version in moves:
        if move == "serve":
            serve(collector.version("m", str(version)))
        elif move == "fail":
            fail(collector.version("m", str(version)))
        elif move == "forget":
            collector.forget("m", str(version))
        elif move == "unknown":
            collector.record_unattributed_error(ErrorCode.MODEL_NOT_FOUND)
        else:
            clock.now += 6
        finished += move in ("serve", "fail", "unknown")
        failed += move in ("fail", "unknown")
        seen.append(collector.snapshot())
        assert (seen[-1]["requestCount"], seen[-1]["errorCount"]) == (finished, failed)
        assert len(seen[-1]["models"]) <= 2
        assert sum(len(versions) for versions in seen[-1]["models"].values()) <= 3
    others = [shot["models"].get(OTHER, {}).get(OTHER, {"requestCount": 0})["requestCount"] for shot in seen]
    assert all(before <= after for before, after in pairwise(others))


def test_versions_beyond_the_limit_are_shown_together():
    collector = MetricsCollector(max_versions=3)
    for number in range(10):
        metrics = collector.version("m", str(number))
        serve(metrics)
        metrics.in_flight, metrics.weights_bytes, metrics.queue_rows = 1, 100, lambda: 2
    models = collector.snapshot()["models"]
    assert set(models["m"]) == {"0", "1", "2"}
    other = models[OTHER][OTHER]
    assert (other["requestCount"], other["inFlight"], other["weightsBytes"], other["queueRows"]) == (7, 7, 700, 14)
    assert collector.snapshot()["requestCount"] == 10


@pytest.mark.parametrize("name", [OTHER, UNKNOWN])
def test_a_model_with_a_reserved_name_cannot_collide(name):
    collector = MetricsCollector()
    serve(collector.version(name, name))
    assert collector.snapshot()["models"][OTHER][OTHER]["requestCount"] == 1
