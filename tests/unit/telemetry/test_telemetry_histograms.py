import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.telemetry.histograms import ROWS_BOUNDS, SECONDS_BOUNDS, Histogram

seconds = st.lists(st.floats(0, 60, allow_nan=False), min_size=1, max_size=200)


def filled(values, bounds=SECONDS_BOUNDS):
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    return histogram


@given(seconds)
def test_counts_and_sum_agree_with_numpy(values):
    histogram = filled(values)
    below = [int((np.asarray(values) <= bound).sum()) for bound in SECONDS_BOUNDS]
    assert histogram.cumulative() == [*below, len(values)]
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))
    assert histogram.mean == pytest.approx(np.mean(values))


@given(seconds, st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, fraction):
    true = float(np.quantile(values, fraction, method="inverted_cdf"))
    estimate = filled(values).quantile(fraction)
    index = int(np.searchsorted(SECONDS_BOUNDS, true))
    lower = SECONDS_BOUNDS[index - 1] if index else 0.0
    upper = SECONDS_BOUNDS[index] if index < len(SECONDS_BOUNDS) else lower
    assert lower <= estimate <= upper * (1 + 1e-12)


@given(seconds, seconds)
def test_absorbing_equals_observing_both(first, second):
    together = filled(first)
    together.absorb(filled(second))
    assert together.counts == filled(first + second).counts
    assert together.sum == pytest.approx(math.fsum(first + second))


def test_quantiles_never_decrease():
    histogram = filled([0.0001, 0.003, 0.003, 0.2, 7.0, 100.0])
    estimates = [histogram.quantile(fraction / 100) for fraction in range(101)]
    assert estimates == sorted(estimates)


def test_interpolation_is_linear_in_a_bucket():
    histogram = filled([2.0] * 4, bounds=(1.0, 3.0))
    assert histogram.quantile(0.5) == pytest.approx(2.0)
    assert histogram.quantile(1.0) == pytest.approx(3.0)


def test_empty_histogram_is_all_zero():
    histogram = Histogram()
    assert (histogram.count, histogram.mean, histogram.quantile(0.99)) == (0, 0.0, 0.0)


def test_a_value_on_a_bound_belongs_below_it():
    assert filled([32], ROWS_BOUNDS).cumulative()[ROWS_BOUNDS.index(32)] == 1


def test_absorbing_other_bounds_is_refused():
    with pytest.raises(ValueError, match="different bounds"):
        Histogram().absorb(Histogram(ROWS_BOUNDS))
