import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.batching import CostCurve, Pace, Padding, Span

SIZES = [1, 2, 4, 8, 16, 32]
COSTS = st.lists(st.floats(1e-5, 1.0), min_size=6, max_size=6)


def pace(cost, goal_s, padding=()):
    measured = {rows: cost(rows) for rows in SIZES}
    return Pace(goal_s, 32, CostCurve(measured, 32), Padding(padding))


def limits(made, *, late=False):
    return made.limit("g", late=late)


@given(COSTS, st.floats(1e-4, 10), st.booleans())
def test_a_limit_is_at_least_one_row_and_at_most_the_largest_batch(costs, goal_s, late):
    made = Pace(goal_s, 32, CostCurve(dict(zip(SIZES, costs, strict=True)), 32), Padding([Span(4, 8)]))
    for _ in range(300):
        assert 1 <= limits(made, late=late) <= 32
    report = made.report()
    assert 1 <= report.overload_rows <= report.usual_rows <= 32


@given(COSTS.map(sorted), st.floats(1e-4, 10), st.floats(1.0, 10))
def test_a_larger_goal_never_makes_smaller_batches(costs, goal_s, more):
    def report(goal_s):
        return Pace(goal_s, 32, CostCurve(dict(zip(SIZES, costs, strict=True)), 32), Padding()).report()

    first, second = report(goal_s), report(goal_s * more)
    assert second.usual_rows == first.usual_rows
    if first.reachable:
        assert second.reachable
        assert second.overload_rows >= first.overload_rows


def test_where_rows_get_cheaper_together_the_largest_batch_is_usual():
    assert limits(pace(lambda rows: 0.004 + 0.001 * rows, 0.1)) == 32


def test_where_rows_get_dearer_together_the_best_size_is_usual():
    assert limits(pace(lambda rows: 0.004 + 0.001 * rows + 0.003 * max(rows - 8, 0), 1.0)) == 8


def test_where_rows_cost_the_same_together_small_batches_are_usual():
    assert limits(pace(lambda rows: 0.004 * rows, 1.0)) == 1


def test_in_overload_one_can_wait_for_a_call_and_be_in_the_next():
    made = pace(lambda rows: 0.004 + 0.001 * rows, 0.05)
    rows = made.report().overload_rows
    seconds = 0.004 + 0.001 * rows
    assert seconds * (1 + made.report().spread) <= 0.05
    assert (seconds + 0.001) * (1 + made.report().spread) > 0.05


def test_more_than_any_size_can_serve_makes_batches_small():
    made = pace(lambda rows: 0.004 + 0.001 * rows, 0.05)
    made.arrived(0, 0.0)
    made.arrived(5000, 1.0)
    assert limits(made) == 32
    assert limits(made, late=True) == made.report().overload_rows < 32
    assert made.report().limit_rows == made.report().overload_rows


def test_a_burst_that_larger_calls_can_serve_does_not():
    made = pace(lambda rows: 0.004 + 0.001 * rows, 0.02)
    made.arrived(0, 0.0)
    made.arrived(700, 1.0)
    assert made.report().overload_rows == 5
    assert limits(made, late=True) == 32


def test_a_goal_out_of_reach_is_said_to_be_and_the_most_for_its_latency_is_served():
    made = pace(lambda rows: 0.004 + 0.001 * rows, 0.001)
    report = made.report()
    assert not report.reachable
    assert limits(made) == limits(made, late=True) == report.overload_rows == 4
    made.arrived(0, 0.0)
    made.arrived(600, 1.0)
    # More than four rows a call can serve: throughput first.
    assert limits(made) == 32


def test_the_limit_follows_a_change_of_cost():
    made = pace(lambda rows: 0.004 + 0.001 * rows, 0.05)
    before = made.report().overload_rows
    for _ in range(100):
        made.observe(16, 2 * (0.004 + 0.001 * 16), "g")
    assert made.report().overload_rows < before
    assert made.report().call_s[16] == pytest.approx(0.04, rel=0.1)


def test_a_size_above_the_limit_that_has_become_cheap_is_found_out():
    def cost(rows):
        return 0.004 + 0.001 * rows + 0.003 * max(rows - 8, 0)

    made = pace(cost, 1.0)
    for _ in range(3000):
        rows = limits(made)
        made.observe(rows, 0.004 + 0.001 * rows, "g")
    assert made.report().usual_rows > 8


def test_sizes_that_are_filled_up_are_no_limit():
    made = pace(lambda rows: 0.001 * rows + 0.01, 0.05, padding=[Span(8, 16)])
    assert made.report().overload_rows == 8


@pytest.mark.parametrize(
    ("rows", "padded"), [(0, 0), (1, 1), (4, 4), (5, 8), (7, 8), (8, 8), (9, 9), (17, 32), (40, 40)]
)
def test_batches_are_filled_up_inside_spans_only(rows, padded):
    padding = Padding([Span(16, 32), Span(4, 8)])
    assert padding.padded(rows) == padded
    assert padding.below(rows) == (rows if rows == padded else {5: 4, 7: 4, 17: 16}[rows])


def test_one_short_call_in_many_is_learned_from():
    made = pace(lambda rows: 1e-5, 0.05)
    assert sum(made.wants_short() for _ in range(310)) == 10
