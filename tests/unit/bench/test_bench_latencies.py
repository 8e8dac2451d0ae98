"""Latencies in buckets: within one per cent of the exact order statistics, whoever adds what in which order."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.bench.latencies import Latencies

SECONDS = st.lists(st.floats(1e-6, 900.0), min_size=1, max_size=60)


def latencies_of(values):
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


@given(SECONDS, st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_at_most_one_per_cent_above_the_exact_one(values, fraction):
    exact = sorted(values)[math.ceil(fraction * len(values) - 1e-9) - 1]
    assert exact * 0.999999 <= latencies_of(values).quantile(fraction) <= exact * 1.010001


@given(SECONDS)
def test_extremes_mean_and_count_are_exact(values):
    latencies = latencies_of(values)
    assert latencies.count == len(values)
    assert latencies.mean_s == pytest.approx(sum(values) / len(values))
    assert (latencies.quantile(1e-9), latencies.quantile(1.0)) == pytest.approx((min(values), max(values)), rel=0.0101)
    assert (latencies.lowest_s, latencies.highest_s) == (min(values), max(values))


@given(SECONDS, SECONDS)
def test_absorbing_is_adding(first, second):
    both = latencies_of(first)
    both.absorb(Latencies.from_json(json.loads(json.dumps(latencies_of(second).to_json()))))
    together = latencies_of(first + second)
    assert (both.count, both.lowest_s, both.highest_s) == (together.count, together.lowest_s, together.highest_s)
    assert both.mean_s == pytest.approx(together.mean_s)
    assert [both.quantile(share) for share in (0.1, 0.5, 0.99)] == [
        together.quantile(share) for share in (0.1, 0.5, 0.99)
    ]


@given(SECONDS, st.integers(1, 20))
def test_bars_hold_every_observation_once(values, count):
    bars = latencies_of(values).bars(count)
    assert 1 <= len(bars) <= count
    assert sum(number for _, number in bars) == len(values)
    bounds = [bound for bound, _ in bars]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(max(values), rel=0.0101)


def test_many_observations_are_folded_away():
    latencies = latencies_of([0.001, 0.002] * 10_000)
    assert len(latencies._fresh) < 10_000
    assert latencies.count == 20_000
    assert latencies.quantile(0.5) == pytest.approx(0.001, rel=0.0101)


def test_nothing_was_observed():
    nothing = Latencies.from_json(Latencies().to_json())
    assert (nothing.count, nothing.mean_s, nothing.quantile(0.99), nothing.bars(4)) == (0, 0.0, 0.0, [])
    nothing.absorb(latencies_of([0.5]))
    assert nothing.lowest_s == nothing.highest_s == 0.5


def test_longer_than_the_last_bucket_and_shorter_than_the_first():
    extreme = latencies_of([0.0, 1e-9, 1e5])
    assert extreme.count == sum(number for _, number in extreme.bars(8)) == 3
    assert extreme.highest_s == 1e5
