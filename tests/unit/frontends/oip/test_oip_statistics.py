"""What the statistics extension tells, against requests whose fate is known."""

import asyncio
import json
import time

import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import InvalidRequestError, ModelFailedError, OverloadedError, TensorhostError
from tensorhost.frontends.oip.statistics import Statistics
from tensorhost.inference import Alone
from tensorhost.telemetry.versions import MOST_CALL_SIZES, VersionMetrics


def statistics(bench):
    return Statistics(bench.manager, Alone(bench.manager))


async def of_the_model(bench):
    [found] = (await statistics(bench).model_statistics("m"))["model_stats"]
    return found


async def test_a_version_that_was_never_asked_has_zeros():
    found = await of_the_model(EngineBench())
    zero = {"count": 0, "ns": 0}
    names = ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"]
    assert found == {
        "name": "m",
        "version": "1",
        "last_inference": 0,
        "inference_count": 0,
        "execution_count": 0,
        "inference_stats": dict.fromkeys(names, zero),
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }
    json.dumps(found)


async def test_they_add_up():
    bench = EngineBench()
    before = time.time() * 1000
    results = [await bench.ask([[1.0, 2.0]])]
    results += await asyncio.gather(bench.ask([[1.0, 2.0]] * 3), bench.ask([[3.0, 4.0]]))
    results.append(await bench.ask([[1.0, 2.0]]))
    found = await of_the_model(bench)
    stats, batches = found["inference_stats"], found["batch_stats"]
    assert before - 1 <= found["last_inference"] <= time.time() * 1000 + 1
    assert (found["inference_count"], found["execution_count"]) == (6, 3)
    assert [(each["batch_size"], each["compute_infer"]["count"]) for each in batches] == [(1, 2), (4, 1)]
    assert sum(each["batch_size"] * each["compute_infer"]["count"] for each in batches) == found["inference_count"]
    assert {stats[part]["count"] for part in ("success", "queue", "compute_input", "compute_infer")} == {4}
    parts = sum(stats[part]["ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert 0 < stats["compute_infer"]["ns"] <= parts <= stats["success"]["ns"]
    # Two requests shared the second call, each of which has all of it, and what came before and after it besides.
    alone, together = batches
    assert stats["compute_infer"]["ns"] == pytest.approx(
        alone["compute_infer"]["ns"] + 2 * together["compute_infer"]["ns"], abs=3
    )
    timings = [result.timings for result in results]
    for part, around_s in (
        ("compute_input", sum(each.preprocessing_s for each in timings)),
        ("compute_output", sum(each.postprocessing_s for each in timings)),
    ):
        assert alone[part]["ns"] == 0 < together[part]["ns"]
        assert stats[part]["ns"] == pytest.approx(2 * together[part]["ns"] + around_s * 1e9, abs=3)
    told_s = sum(each.preprocessing_s + each.inference_s + each.postprocessing_s for each in timings)
    assert parts - stats["queue"]["ns"] == pytest.approx(told_s * 1e9, abs=3)


async def test_requests_that_fail_and_that_are_shed_are_counted_too():
    bench = EngineBench(failure=ModelFailedError("no"), max_queue_rows=2)
    with pytest.raises(ModelFailedError):
        await bench.ask([[-1.0, 2.0]])
    outcomes = await asyncio.gather(*(bench.ask([[1.0, 2.0]]) for _ in range(5)), return_exceptions=True)
    shed = [each for each in outcomes if isinstance(each, OverloadedError)]
    assert 0 < len(shed) < 5
    bench.engine.close()
    with pytest.raises(TensorhostError):
        await bench.ask([[1.0, 2.0]])
    stats = (await of_the_model(bench))["inference_stats"]
    assert stats["fail"]["count"] == len(shed) + 2
    assert stats["fail"]["ns"] > 0
    assert stats["success"]["count"] == 5 - len(shed)


async def test_all_models_one_model_or_one_version():
    bench = EngineBench()
    for ask in (("", ""), ("m", ""), ("m", "1"), ("m", "01")):
        answer = await statistics(bench).model_statistics(*ask)
        assert [(each["name"], each["version"]) for each in answer["model_stats"]] == [("m", "1")]
    for name, version in (("nope", ""), ("m", "2"), ("m", "abc"), ("m", "²"), ("nope", "1"), ("m", "9" * 5000)):
        with pytest.raises(InvalidRequestError, match=f"^requested model '{name}'.* is not available$"):
            await statistics(bench).model_statistics(name, version)


async def test_memory_is_told_of_what_is_loaded():
    bench = EngineBench()
    bench.engine.metrics.version("m", "1").memory_bytes = 4096
    assert (await of_the_model(bench))["memory_usage"] == [{"type": "CPU", "id": 0, "byte_size": 4096}]


def test_sizes_of_calls_have_a_limit():
    metrics = VersionMetrics("m", "1")
    for rows in range(2 * MOST_CALL_SIZES):
        metrics.record_batch(rows, "full", 0.5)
    metrics.record_batch(3, "full", 0.5)
    assert len(metrics.calls_by_rows) == MOST_CALL_SIZES
    assert (metrics.calls_by_rows[3].count, metrics.calls_by_rows[3].seconds) == (2, 1.0)
    assert metrics.execution.count == 2 * MOST_CALL_SIZES + 1
    more = VersionMetrics("m", "1")
    more.record_batch(5 * MOST_CALL_SIZES, "full", 0.5)
    more.record_batch(7, "full", 0.25)
    metrics.absorb(more)
    assert len(metrics.calls_by_rows) == MOST_CALL_SIZES
    assert metrics.calls_by_rows[7].seconds == 0.75
