import json

import pytest
from benchmarks.compare import saved as results
from benchmarks.compare.plan import CASES, Case
from benchmarks.compare.saved import MixedRunsError, as_text, has, merge
from benchmarks.protocols import BINARY, JSON

TINY, MLP = Case("tiny", 1, 2), Case("mlp", 32, 2)
ORDER = [TINY.key, MLP.key]


def run(*cases, peers=None, machine="here", tensorflow="2.21.0", unavailable=None):
    return {
        "machine": {"cpu": machine, "cores": 2},
        "versions": {"tensorflow-cpu": tensorflow},
        "peers": peers or {},
        "unavailable": unavailable or {},
        "cases": [case.key | {"servers": servers} for case, servers in cases],
    }


def test_the_first_run_is_saved_as_it_is():
    new = run((TINY, {"mosec": {"requests_s": 1}}))
    assert merge(None, new, ORDER) is new


def test_what_is_measured_anew_replaces_what_was_saved_server_by_server():
    old = run((TINY, {"mosec": {"requests_s": 1}, "ray": {"requests_s": 2}}))
    new = run((TINY, {"ray": {"requests_s": 3}, "triton": {"requests_s": 4}}))
    (case,) = merge(old, new, ORDER)["cases"]
    assert case["servers"] == {"mosec": {"requests_s": 1}, "ray": {"requests_s": 3}, "triton": {"requests_s": 4}}


def test_cases_stand_in_the_order_of_the_plan_and_old_ones_stay():
    gone = Case("mlp", 7, 2)
    merged = merge(run((gone, {}), (MLP, {})), run((TINY, {})), ORDER)
    assert [(case["model"], case["connections"]) for case in merged["cases"]] == [("tiny", 1), ("mlp", 32), ("mlp", 7)]


def test_a_peer_that_is_measured_after_all_is_no_longer_unavailable():
    old = run(unavailable={"ray": "no wheel", "mosec": "no wheel"})
    merged = merge(old, run(peers={"ray": {"ray": "2"}}), ORDER)
    assert merged["unavailable"] == {"mosec": "no wheel"}
    assert merged["peers"] == {"ray": {"ray": "2"}}


@pytest.mark.parametrize(
    "other",
    [
        run(machine="elsewhere", peers={"ray": {"ray": "1"}}),
        run(tensorflow="2.22.0", peers={"ray": {"ray": "1"}}),
        run(peers={"ray": {"ray": "2"}}),
    ],
    ids=["machine", "tensorflow", "peer"],
)
def test_runs_that_differ_in_more_than_time_do_not_mix(other):
    with pytest.raises(MixedRunsError):
        merge(run(peers={"ray": {"ray": "1"}}), other, ORDER)


def test_a_case_is_saved_when_everybody_asked_for_is_in_it():
    saved = run((TINY, {"mosec": {}, "ray": {}}))
    assert has(saved, TINY.key, ["ray"])
    assert not has(saved, TINY.key, ["ray", "triton"])
    assert not has(saved, MLP.key, ["ray"])
    assert not has(None, TINY.key, [])


def test_no_two_cases_of_the_plan_have_one_key():
    keys = [tuple(case.key.values()) for case in CASES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "cases", [[], [(TINY, {})], [(TINY, {"ray": {"rounds": [1.5]}, "mosec": {}}), (MLP, {"a": {}})]]
)
def test_the_text_is_the_result_with_a_line_for_each_server(cases):
    saved = run(*cases, unavailable={"ray": 'said "no"'})
    text = as_text(saved)
    assert json.loads(text) == saved
    assert all(
        any(line.lstrip().startswith(f'"{name}":') for line in text.splitlines()) for _, s in cases for name in s
    )


def test_what_was_written_is_read_again_each_group_from_its_own_file(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    assert results.read(JSON) is None
    results.write(JSON, run((TINY, {"ray": {}})))
    assert results.read(BINARY) is None
    results.write(BINARY, run((MLP, {"ray": {}})))
    assert results.read(JSON) == run((TINY, {"ray": {}}))
    assert results.read(BINARY) == run((MLP, {"ray": {}}))
    assert {path.name for path in tmp_path.iterdir()} == {"compare.json", "compare_binary.json"}
