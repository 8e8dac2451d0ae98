import pytest
from benchmarks.figures import compare, percentile, spread, summarise
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 10), (1, 10), (50, 50), (50.1, 60), (90, 90), (99, 100), (99.9, 100), (100, 100)]
)
def test_a_percentile_is_the_nearest_rank(percent, value):
    assert percentile([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], percent) == value


@given(
    st.lists(st.floats(0, 1e6), min_size=1).map(sorted),
    st.floats(0, 100),
)
def test_a_percentile_is_a_value_that_enough_of_all_reach_at_most(ordered, percent):
    value = percentile(ordered, percent)
    assert sum(one <= value for one in ordered) >= percent / 100 * len(ordered)
    assert sum(one < value for one in ordered) <= percent / 100 * len(ordered)


def test_ratios_are_taken_between_turns_of_one_round():
    ours = [{"requests_s": 100, "cpu_us_per_request": 10}, {"requests_s": 300, "cpu_us_per_request": 20}]
    theirs = [{"requests_s": 50, "cpu_us_per_request": 40}, {"requests_s": 100, "cpu_us_per_request": 20}]
    assert compare(ours, theirs) == {
        "requests_s": {"median": 2.5, "lowest": 2, "highest": 3},
        "cpu": {"median": 2.5, "lowest": 1, "highest": 4},
    }


def test_rounds_of_different_length_have_no_ratio():
    with pytest.raises(ValueError, match="zip"):
        compare([{"requests_s": 1, "cpu_us_per_request": 1}], [])


def test_a_summary_has_the_medians_and_keeps_the_rounds():
    rounds = [{"p50_ms": 1.0}, {"p50_ms": 9.0}, {"p50_ms": 2.0}]
    assert summarise(rounds) == {"p50_ms": 2.0, "rounds": rounds}


def test_a_spread_is_rounded():
    assert spread([1.234, 9.876]) == {"median": 5.55, "lowest": 1.23, "highest": 9.88}
