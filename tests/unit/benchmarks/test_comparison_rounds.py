import pytest
from benchmarks.compare.plan import CASES, OPEN, PNG, Case, choose, quick
from benchmarks.compare.rounds import measure_case
from benchmarks.contenders import Contender, tensorhost
from benchmarks.load import LoadFailedError


class Player:
    """Takes turns from a list; an exception in it is raised."""

    def __init__(self, name, turns, log, is_ours=False):
        self.name, self.is_ours = name, is_ours
        self._turns, self._log = list(turns), log

    def takes(self, case):
        return case.connections != 99

    def warm_up(self):
        pass

    def turn(self, case):
        self._log.append(self.name)
        turn = self._turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return {"requests_s": turn, "cpu_us_per_request": 1000 / turn, "p99_ms": 1.0}


CASE = Case("tiny", 8, 2)


def test_every_other_round_runs_backwards_and_ratios_stay_inside_a_round():
    log = []
    players = [Player("ours", [100, 300], log, is_ours=True), Player("a", [50, 100], log), Player("b", [10, 20], log)]
    result = measure_case(CASE, players, 2)
    assert log == ["ours", "a", "b", "b", "a", "ours"]
    assert result["servers"]["ours"]["times"] == {}
    assert result["servers"]["a"]["times"]["ours"]["requests_s"] == {"median": 2.5, "lowest": 2, "highest": 3}
    assert result["servers"]["b"]["spread"]["requests_s"] == {"median": 15, "lowest": 10, "highest": 20}
    assert len(result["servers"]["b"]["rounds"]) == 2


def test_a_peer_that_fails_is_said_to_have_failed_and_takes_no_more_turns():
    log = []
    players = [
        Player("ours", [100, 100], log, is_ours=True),
        Player("a", [LoadFailedError("7 of 9 failed\nand more")], log),
    ]
    result = measure_case(CASE, players, 2)
    assert result["servers"]["a"] == {"failed": "7 of 9 failed"}
    assert log == ["ours", "a", "ours"]
    assert result["servers"]["ours"]["requests_s"] == 100


def test_a_failure_of_tensorhosts_own_ends_the_run():
    with pytest.raises(LoadFailedError, match="gone"):
        measure_case(CASE, [Player("ours", [LoadFailedError("gone")], [], is_ours=True)], 2)


def test_whoever_does_not_take_a_case_is_not_in_it():
    result = measure_case(Case("tiny", 99, 2), [Player("ours", [], [], is_ours=True)], 2)
    assert result["servers"] == {}


def test_a_case_may_need_fewer_rounds_than_are_asked_for():
    log = []
    measure_case(Case("tiny", 8, 2, rounds=1), [Player("ours", [1, 1], log, is_ours=True)], 3)
    assert log == ["ours"]


def test_only_tensorhost_takes_an_image_and_variants_stay_out_of_long_cases():
    peer, variant = Contender("ray", (), peer="ray"), Contender("fastapi_async", (), peer="fastapi")
    image = Case("resnet50", 1, 3, body=PNG)
    assert [image.admits(one) for one in (tensorhost(), peer, variant)] == [True, False, False]
    assert [CASE.admits(one) for one in (tensorhost(), peer, variant)] == [True, True, True]
    assert not Case("resnet50", 1, 3, thorough=False).admits(variant)
    assert CASE.has_loops
    assert not image.has_loops
    assert not Case("tiny", 8, 2, rate=100).has_loops


def test_cases_are_chosen_by_model_and_turns_made_as_long_as_asked():
    chosen = choose("mlp", 9)
    assert {case.model for case in chosen} == {"mlp"}
    assert {case.seconds for case in chosen} == {9}
    assert choose(None, None) == list(CASES)


def test_a_quick_run_has_one_short_turn_of_every_model_and_kind_of_load():
    chosen = quick(CASES)
    assert {(case.seconds, case.rounds) for case in chosen} == {(1, 1)}
    assert {case.model for case in chosen} == {case.model for case in CASES}
    assert {case.load for case in chosen} == {"closed", OPEN}
    assert len(chosen) < len(CASES)
