from pathlib import Path
from types import SimpleNamespace

import comparison_page
import pytest
from benchmarks.asking import NoAnswerError
from benchmarks.compare.__main__ import arguments, takes_part
from benchmarks.compare.plan import BODIES, CASES, MODELS, OPEN, Case, choose, quick
from benchmarks.compare.rounds import measure_case
from benchmarks.compare.turns import participants_of
from benchmarks.contenders import Contender, all_of_ours, peer, tensorhost
from benchmarks.load import LoadFailedError
from benchmarks.models import MAKERS
from benchmarks.peers.environment import PEERS
from benchmarks.protocols import BINARY, GRPC, JSON, PNG


class Player:
    """Takes turns from a list; an exception in it is raised."""

    def __init__(self, name, turns, log, is_ours=False, is_measure=None):
        self.name, self.is_ours = name, is_ours
        self.is_measure = is_ours if is_measure is None else is_measure
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


def test_a_peer_that_refuses_a_request_has_failed():
    players = [Player("a", [NoAnswerError("answers 503: no", is_early=True)], [])]
    assert measure_case(CASE, players, 1)["servers"]["a"] == {"failed": "answers 503: no"}


def test_tensorhost_asked_in_another_way_is_compared_with_itself():
    players = [
        Player("ours", [300], [], is_ours=True),
        Player("ours_json", [100], [], is_ours=True, is_measure=False),
        Player("a", [50], []),
    ]
    servers = measure_case(CASE, players, 1)["servers"]
    assert servers["ours_json"]["times"]["ours"]["requests_s"]["median"] == 3
    assert servers["a"]["times"].keys() == {"ours"}


def test_tensorhosts_own_failure_ends_the_run_whatever_it_is_asked():
    gone = NoAnswerError("gone", is_early=False)
    players = [Player("ours_json", [gone], [], is_ours=True, is_measure=False)]
    with pytest.raises(NoAnswerError):
        measure_case(CASE, players, 1)


def test_whoever_does_not_take_a_case_is_not_in_it():
    result = measure_case(Case("tiny", 99, 2), [Player("ours", [], [], is_ours=True)], 2)
    assert result["servers"] == {}


def test_a_case_may_need_fewer_rounds_than_are_asked_for():
    log = []
    measure_case(Case("tiny", 8, 2, rounds=1), [Player("ours", [1, 1], log, is_ours=True)], 3)
    assert log == ["ours"]


def test_only_tensorhost_takes_an_image_and_variants_stay_out_of_long_cases():
    peer, variant = Contender("ray", (), peer="ray"), Contender("fastapi_async", (), peer="fastapi")
    image = Case("mobilenetv2", 1, 3, body=PNG)
    assert [image.admits(one) for one in (tensorhost(), peer, variant)] == [True, False, False]
    assert [CASE.admits(one) for one in (tensorhost(), peer, variant)] == [True, True, True]
    assert not Case("resnet50", 1, 3, thorough=False).admits(variant)
    assert CASE.has_loops
    assert not image.has_loops
    assert not Case("tiny", 8, 2, rate=100).has_loops


def test_whoever_takes_tensors_as_bytes_is_asked_in_json_beside():
    case = Case("mobilenetv2", 1, 3, body=BINARY)
    ours, json_only = tensorhost(bodies=(JSON, BINARY)), tensorhost()
    assert case.rows_of(ours) == {"tensorhost": BINARY, "tensorhost_json": JSON}
    assert case.rows_of(json_only) == {}
    assert case.rows_of(tensorhost(bodies=(BINARY,))) == {"tensorhost": BINARY}
    assert Case("mobilenetv2", 1, 3).rows_of(ours) == {"tensorhost": JSON}
    assert not case.has_loops


def test_a_server_takes_part_once_for_each_row_and_kind_of_body(tmp_path):
    server = SimpleNamespace(contender=tensorhost(bodies=(JSON, BINARY)), name="tensorhost")
    cases = [Case("mobilenetv2", 1, 3), Case("mobilenetv2", 1, 3, body=BINARY), Case("mobilenetv2", 8, 3, body=BINARY)]
    taking = participants_of(server, cases, tmp_path)
    assert [(one.name, one.is_measure, [one.takes(case) for case in cases]) for one in taking] == [
        ("tensorhost", True, [True, False, False]),
        ("tensorhost", True, [False, True, True]),
        ("tensorhost_json", False, [False, True, True]),
    ]


def test_a_case_may_leave_somebody_out():
    case = Case("tiny", 1, 2, body=GRPC, without=frozenset({"slow"}))
    assert case.admits(tensorhost(bodies=(GRPC,)))
    assert not case.admits(tensorhost(bodies=(GRPC,), name="slow"))


def test_our_grpc_port_is_open_only_where_it_is_asked():
    assert "{grpc_port}" in tensorhost(bodies=(JSON, GRPC)).command
    assert "{grpc_port}" not in tensorhost().command


def everybody():
    return [*all_of_ours(), *(one for name in PEERS for one in peer(name, Path("python")))]


def test_both_transports_and_every_peer_that_has_grpc_are_asked_over_it():
    case = Case("tiny", 128, 2, body=GRPC)
    names = [one.name for one in everybody() if case.admits(one)]
    assert names == [
        "tensorhost",
        "tensorhost_tensorflow",
        "tensorhost_grpcio",
        "mlserver",
        "ray",
        "kserve",
        "triton",
    ]


def test_the_page_has_words_for_everybody_and_everything_in_the_plan():
    rows = {row for case in CASES for one in everybody() for row in case.rows_of(one)}
    assert rows <= comparison_page.SERVERS.keys()
    assert set(MODELS) <= comparison_page.MODELS.keys()
    as_bytes = {one.peer for case in CASES if case.group == BINARY for one in everybody() if case.admits(one)}
    assert as_bytes - {""} == comparison_page.BINARY_PEERS.keys()
    assert set(MODELS) <= MAKERS.keys()


def test_cases_are_chosen_by_model_and_kind_and_turns_made_as_long_as_asked():
    chosen = choose(["mlp"], 9)
    assert {case.model for case in chosen} == {"mlp"}
    assert {case.seconds for case in chosen} == {9}
    assert {case.group for case in choose([GRPC, BINARY], None)} == {BINARY}
    assert {case.body for case in choose([GRPC, "resnet50"], None)} == {GRPC, JSON, PNG}
    assert choose([], None) == list(CASES)


def test_every_kind_of_body_is_in_the_plan_and_belongs_to_one_result():
    assert {case.body for case in CASES} == set(BODIES)
    assert {case.body: case.group for case in CASES} == {JSON: JSON, PNG: JSON, BINARY: BINARY, GRPC: BINARY}


def test_a_quick_run_has_one_short_turn_of_every_model_and_kind_of_load():
    chosen = quick(CASES)
    assert {(case.seconds, case.rounds) for case in chosen} == {(1, 1)}
    assert {case.model for case in chosen} == {case.model for case in CASES}
    assert {case.load for case in chosen} == {"closed", OPEN}
    assert len(chosen) < len(CASES)


def test_only_peers_that_have_something_to_do_are_installed():
    over_grpc = choose([GRPC], None)
    assert [name for name in PEERS if takes_part(name, over_grpc)] == ["mlserver", "ray", "kserve", "triton"]
    assert all(takes_part(name, CASES) for name in PEERS)


@pytest.mark.parametrize(
    ("flags", "said"), [(["--only", "tiny,rest"], "unknown: rest"), (["--peers", "all"], "unknown: all")]
)
def test_names_that_nobody_has_are_refused(monkeypatch, capsys, flags, said):
    monkeypatch.setattr("sys.argv", ["compare", *flags])
    with pytest.raises(SystemExit):
        arguments()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "only", "peers"),
    [([], [], list(PEERS)), (["--only", "grpc,mlp", "--peers", "none"], ["grpc", "mlp"], [])],
)
def test_cases_and_peers_are_named_by_comma(monkeypatch, flags, only, peers):
    monkeypatch.setattr("sys.argv", ["compare", *flags])
    assert (arguments().only, arguments().peers) == (only, peers)
