"""Figures of a load: every count of the tally is in the report, in the unit its name says."""

from __future__ import annotations

from collections import Counter

import pytest

from tensorhost.bench.plan import Load
from tensorhost.bench.report import batches_between, report
from tensorhost.bench.tally import Tally


def tally_of(*seconds, **fields):
    tally = Tally(**fields)
    for value in seconds:
        tally.latencies.add(value)
    return tally


def test_rates_latencies_errors_and_batches():
    tally = tally_of(
        *[0.001] * 98,
        *[0.5] * 2,
        errors=Counter({"OVERLOADED": 20}),
        answered_in_time=100,
        window_s=2.0,
        elapsed_s=2.5,
        cpu_s=0.5,
        batch_rows=Counter({"4": 10, "8": 5}),
        rows=75.0,
    )
    made = report(Load(8), tally, rows=4, interrupted=False)
    assert (made["requests"], made["failed"], made["errors"]) == (100, 20, {"OVERLOADED": 20})
    assert (made["requestsPerS"], made["rowsPerS"], made["elapsedS"]) == (50.0, 200.0, 2.5)
    assert made["latencyMs"]["p50"] == made["latencyMs"]["p95"] == pytest.approx(1.0, rel=0.01)
    assert made["latencyMs"]["p99"] == made["latencyMs"]["max"] == pytest.approx(500.0)
    assert sum(bar["requests"] for bar in made["histogram"]) == 100
    assert made["batches"] == {"count": 15, "averageRows": 5.0, "byRows": {"4": 10, "8": 5}}
    assert made["generator"]["cpuCores"] == 0.2
    assert made["generator"]["cpuUsPerRequest"] == pytest.approx(0.5 / 120 * 1e6, abs=0.1)
    assert made["generator"]["latenessMs"] is None
    assert not made["serverGone"]
    assert not made["interrupted"]


def test_an_open_loop_says_how_late_the_generator_was():
    tally = tally_of(0.01, waited=3, unsent=2)
    tally.lateness.add(0.0002)
    made = report(Load(8, rate=100.0), tally, rows=1, interrupted=True)["generator"]
    assert made["latenessMs"]["p99"] == pytest.approx(0.2, rel=0.01)
    assert (made["waitedForConnection"], made["unsent"]) == (3, 2)


def test_nothing_was_answered():
    made = report(Load(1), Tally(), rows=1, interrupted=True)
    assert made["requestsPerS"] == 0.0
    assert made["histogram"] == []
    assert set(made["latencyMs"].values()) == {None}
    assert made["batches"] is None
    assert made["generator"]["cpuUsPerRequest"] is None


def test_tallies_of_generators_at_work_together_add_up():
    first = tally_of(0.001, errors=Counter(A=1), answered_in_time=1, window_s=2.0, elapsed_s=2.0, cpu_s=0.5)
    second = tally_of(0.002, errors=Counter(A=2, B=1), answered_in_time=1, window_s=2.1, elapsed_s=3.0, cpu_s=0.25)
    first.absorb(Tally.from_json(second.to_json()))
    assert (first.answered, first.errors, first.failed) == (2, {"A": 3, "B": 1}, 4)
    assert (first.window_s, first.elapsed_s, first.cpu_s) == (2.1, 3.0, 0.75)
    assert not first.gone
    first.absorb(Tally(gone=True))
    assert first.gone


def test_model_calls_between_two_readings_of_a_servers_counters():
    before = {"count": 10, "averageRows": 2.0, "byRows": {"2": 10}}
    after = {"count": 14, "averageRows": 5.0, "byRows": {"2": 11, "16": 3}}
    assert batches_between(before, after) == ({"2": 1, "16": 3}, 50.0)
    assert batches_between(None, after) == ({}, 0.0)
    assert batches_between(before, None) == ({}, 0.0)
