import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.batching import CostCurve

SIZES = [1, 2, 4, 8, 16, 32]


def affine(fixed_s, row_s):
    return {rows: fixed_s + row_s * rows for rows in SIZES}


@given(st.dictionaries(st.sampled_from(SIZES), st.floats(1e-6, 10), min_size=1), st.floats(1e-7, 20))
def test_rows_within_is_the_most_that_the_curve_allows(measured, seconds):
    curve = CostCurve(measured, 32)
    found = curve.rows_within(seconds)
    assert 0 <= found <= max(measured)
    assert not found or curve.seconds(found) <= seconds * (1 + 1e-9)
    for rows in range(max(found + 1, min(measured)), max(measured) + 1):
        assert curve.seconds(rows) > seconds * (1 - 1e-9)


def test_the_curve_is_what_was_measured_and_straight_between():
    curve = CostCurve({1: 1.0, 4: 4.0, 8: 5.0}, 8)
    assert [curve.seconds(rows) for rows in (1, 2, 4, 6, 8)] == [1.0, 2.0, 4.0, 4.5, 5.0]


@pytest.mark.parametrize("change", [0.5, 2.0])
def test_a_lasting_twofold_change_is_followed_within_some_dozens_of_calls(change):
    rng = random.Random(1)
    measured = affine(0.004, 0.001)
    curve = CostCurve(measured, 32)
    for _ in range(50):
        curve.observe(8, measured[8] * rng.uniform(0.95, 1.05))
    for _ in range(60):
        curve.observe(8, change * measured[8] * rng.uniform(0.95, 1.05))
    assert curve.seconds(8) == pytest.approx(change * measured[8], rel=0.1)
    # What was not called is expected to have changed as well, in part at least.
    assert (curve.seconds(32) > measured[32]) is (change > 1)


def test_one_stall_changes_little():
    measured = affine(0.004, 0.001)
    curve = CostCurve(measured, 32)
    for _ in range(50):
        curve.observe(8, measured[8])
    curve.observe(8, 100 * measured[8])
    assert curve.seconds(8) < 1.05 * measured[8]
    assert curve.spread < 1.2


def test_the_spread_is_what_the_slowest_twentieth_takes():
    rng = random.Random(2)
    curve = CostCurve({8: 1.0}, 8)
    for _ in range(3000):
        curve.observe(8, 3.0 if rng.random() < 0.1 else 1.0)
    assert curve.spread > 1.5
    for _ in range(3000):
        curve.observe(8, rng.uniform(0.95, 1.05))
    assert curve.spread < 1.15


def test_groups_have_levels_of_their_own_and_share_the_form():
    measured = affine(0.004, 0.001)
    curve = CostCurve(measured, 32)
    for _ in range(60):
        curve.observe(4, measured[4], "short")
        curve.observe(4, 5 * measured[4], "long")
    assert curve.seconds(4, "short") == pytest.approx(measured[4], rel=0.1)
    assert curve.seconds(4, "long") == pytest.approx(5 * measured[4], rel=0.1)
    assert curve.seconds(32, "long") == pytest.approx(5 * curve.seconds(32, "short"), rel=0.1)


def test_shapes_that_clients_make_up_do_not_fill_memory():
    curve = CostCurve({1: 1.0, 8: 2.0}, 8)
    for shape in range(10_000):
        curve.observe(1, 1.0, shape)
    assert len(curve._levels) <= 64


def test_without_warm_up_the_first_calls_teach_the_level():
    curve = CostCurve({}, 32)
    assert curve.seconds(4) == 0
    assert curve.rows_within(0.001) == 32
    for _ in range(20):
        curve.observe(4, 0.02)
    assert curve.seconds(4) == pytest.approx(0.02, rel=0.05)


def test_a_point_not_called_for_long_returns_to_what_was_measured():
    measured = affine(0.004, 0.001)
    curve = CostCurve(measured, 32)
    for _ in range(200):
        curve.observe(32, 3 * measured[32])
    for _ in range(4000):
        curve.observe(1, measured[1])
    assert curve.seconds(32) < 1.5 * measured[32]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 32),
            st.one_of(st.just(0.0), st.floats(1e-9, 1e4)),
            st.sampled_from(["a", "b"]),
        ),
        max_size=60,
    )
)
def test_whatever_is_observed_the_curve_stays_positive_and_finite(calls):
    curve = CostCurve(affine(1e-6, 1e-7), 32)
    for rows, seconds, group in calls:
        curve.observe(rows, seconds, group)
    for rows in range(1, 40):
        for group in ("a", "b", "new"):
            assert 0 < curve.seconds(rows, group) < math.inf
    assert 1.0 <= curve.spread <= 4.0


def test_a_level_that_is_far_off_does_not_bend_the_form():
    """Or a slow start would make the sizes in use look better, and larger ones worse, than they are."""
    measured = affine(0.004, 0.001)
    curve = CostCurve(measured, 32)
    for _ in range(8):
        curve.observe(2, 5 * measured[2])
    for index in range(60):
        curve.observe(1 + index % 3, measured[1] + 0.001 * (index % 3))
    for rows in SIZES:
        assert curve.form(rows) == pytest.approx(measured[rows], rel=0.15)
