"""What is done next, situation by situation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.ids import ModelId
from tensorhost.models.config import ModelConfig
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.reconcile import backoff_s, plan
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.states import VersionState
from tensorhost.runtimes.base import ModelFormat

NOW = 1000.0


def record(version, *, serving=False, failed=False, problem="", **changes):
    on_disk = VersionOnDisk(version, Path("/m") / version, ModelFormat.SAVED_MODEL, 1, 1.0, problem)
    made = VersionRecord(ModelId("m", version), on_disk)
    if serving:
        made.state = VersionState.AVAILABLE
        made.served_fingerprint = on_disk.fingerprint
    if failed:
        made.error, made.attempts = ModelFailedError("It is broken."), 1
        made.next_attempt_at = NOW + 5
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def given_up(version):
    return record(version, failed=True, next_attempt_at=math.inf, state=VersionState.END)


def model(*records, policy="latest", **changes):
    made = ModelRecord("m", Path("/m"), policy=VersionPolicy.parse(policy), **changes)
    made.versions = {each.id.version: each for each in records}
    return made


def steps(*args, **changes):
    made = plan([model(*args, **changes)], NOW)
    return {
        what: [each.id.version for each in getattr(made, what)]
        for what in ("load", "replace", "unload")
        if getattr(made, what)
    }


CHANGED = {"served_fingerprint": ("other", 0, 0.0, "")}
LABELS = {"config": ModelConfig(version_labels={"stable": "1"})}

SITUATIONS = {
    "nothing there": ([], {}, {}),
    "one new version": ([record("1")], {}, {"load": ["1"]}),
    "all is well": ([record("1", serving=True)], {}, {}),
    "only the newest": ([record("1"), record("2"), record("10")], {}, {"load": ["10"]}),
    "all, the newest first": ([record("1"), record("10"), record("2")], {"policy": "all"}, {"load": ["10", "2", "1"]}),
    "new version appears": ([record("1", serving=True), record("2")], {}, {"load": ["2"]}),
    "new version loads": ([record("1", serving=True), record("2", busy=True)], {}, {}),
    "new version serves": ([record("1", serving=True), record("2", serving=True)], {}, {"unload": ["1"]}),
    "new version fails": ([record("1", serving=True), record("2", failed=True)], {}, {}),
    "new version was given up": ([record("1", serving=True), given_up("2")], {}, {}),
    "new version is tried again": (
        [record("1", serving=True), record("2", failed=True, next_attempt_at=NOW)],
        {},
        {"load": ["2"]},
    ),
    "new version is half-copied": ([record("1", serving=True), record("2", problem="Missing.")], {}, {}),
    "newest fails at start": ([record("1"), record("2", failed=True)], {}, {"load": ["1"]}),
    "newest version vanishes": (
        [record("1"), record("2", serving=True, vanished=True)],
        {},
        {"load": ["1"]},
    ),
    "the one before it serves": (
        [record("1", serving=True), record("2", serving=True, vanished=True)],
        {},
        {"unload": ["2"]},
    ),
    "the one before it is broken": (
        [given_up("1"), record("2", serving=True, vanished=True)],
        {},
        {"unload": ["2"]},
    ),
    "only version vanishes": ([record("1", serving=True, vanished=True)], {}, {"unload": ["1"]}),
    "vanished while it loads": ([record("1", busy=True, vanished=True)], {}, {}),
    "operator stops a version": (
        [record("1"), record("2", serving=True, stopped=True)],
        {},
        {"load": ["1"], "unload": ["2"]},
    ),
    "operator stops the model": (
        [record("1", serving=True), record("2")],
        {"stopped": True},
        {"unload": ["1"]},
    ),
    "stopped stays stopped": ([record("1", stopped=True, state=VersionState.END)], {}, {}),
    "pinned besides the policy": ([record("1", pinned=True), record("2", serving=True)], {}, {"load": ["1"]}),
    "pinned stays": ([record("1", serving=True, pinned=True), record("2", serving=True)], {}, {}),
    "a label keeps its version": ([record("1", serving=True), record("2", serving=True)], LABELS, {}),
    "a label loads its version": ([record("1"), record("2", serving=True)], LABELS, {"load": ["1"]}),
    "lazy and not asked": ([record("1")], {"lazy": True}, {}),
    "lazy and asked": ([record("1", asked_for=True)], {"lazy": True}, {"load": ["1"]}),
    "lazy and pinned": ([record("1", pinned=True)], {"lazy": True}, {"load": ["1"]}),
    "lazy in use, new version": ([record("1", serving=True), record("2")], {"lazy": True}, {"load": ["2"]}),
    "lazy not in use, new version": ([record("1", state=VersionState.END), record("2")], {"lazy": True}, {}),
    "lazy in use, new version fails": ([record("1", serving=True), record("2", failed=True)], {"lazy": True}, {}),
    "lazy and given up": ([given_up("1")], {"lazy": True}, {}),
    "lazy, asked and given up": (
        [record("1", failed=True, next_attempt_at=math.inf, state=VersionState.END, asked_for=True)],
        {"lazy": True},
        {},
    ),
    "files replaced": ([record("1", serving=True, **CHANGED)], {}, {"replace": ["1"]}),
    "files replaced, half-copied": ([record("1", serving=True, problem="Missing.", **CHANGED)], {}, {}),
    "replacement is tried again later": ([record("1", serving=True, next_attempt_at=NOW + 1, **CHANGED)], {}, {}),
    "files vanish half-way": ([record("1", serving=True, problem="Missing.")], {}, {}),
    "broken model.toml while serving": (
        [record("1", serving=True, **CHANGED), record("2")],
        {"problem": "model.toml is not valid."},
        {},
    ),
    "broken model.toml at start": ([record("1")], {"problem": "model.toml is not valid."}, {}),
    "explicit and pinned": ([record("1", pinned=True)], {"explicit": True}, {"load": ["1"]}),
    "explicit and let go": ([record("1", serving=True)], {"explicit": True}, {"unload": ["1"]}),
    "policy becomes stricter": (
        [record("1", serving=True), record("2", serving=True)],
        {"policy": ["1"]},
        {"unload": ["2"]},
    ),
    "policy names another": ([record("1", serving=True), record("2")], {"policy": ["2"]}, {"load": ["2"]}),
    "replacement under way keeps the others": (
        [record("1", serving=True), record("2", serving=True, busy=True)],
        {},
        {},
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_next_steps(situation):
    records, changes, expected = SITUATIONS[situation]
    copies = [replace(each) for each in records]
    assert steps(*copies, **changes) == expected


def test_it_wakes_for_the_next_attempt_and_no_earlier():
    soon, later = record("1", failed=True, next_attempt_at=NOW + 3), record("2", failed=True, next_attempt_at=NOW + 7)
    assert plan([model(soon, later, policy="all")], NOW).wake_at == NOW + 3
    assert plan([model(record("1", serving=True))], NOW).wake_at == math.inf
    assert plan([model(given_up("1"))], NOW).wake_at == math.inf


def test_models_do_not_touch_each_other():
    broken, good = model(given_up("1")), model(record("1"))
    assert plan([broken, good], NOW).load == [good.versions["1"]]


RECORDS = st.builds(
    record,
    st.integers(1, 6).map(str),
    serving=st.booleans(),
    failed=st.booleans(),
    problem=st.sampled_from(["", "Missing."]),
    pinned=st.booleans(),
    asked_for=st.booleans(),
    stopped=st.booleans(),
    vanished=st.booleans(),
    busy=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=6), st.booleans(), st.booleans(), st.sampled_from(["latest", "latest:2", "all"]))
def test_whatever_the_situation_the_busy_are_left_alone_and_nothing_good_goes(records, lazy, stopped, policy):
    made = model(*records, lazy=lazy, stopped=stopped, policy=policy)
    todo = plan([made], NOW)
    touched = [*todo.load, *todo.replace, *todo.unload]
    assert len({each.id for each in touched}) == len(touched)
    assert not any(each.busy for each in touched)
    assert not any(each.available for each in todo.load)
    assert all(each.available for each in (*todo.replace, *todo.unload))
    assert not {each.id.version for each in todo.unload} & made.wanted()
    assert {each.id.version for each in (*todo.load, *todo.replace)} <= made.wanted()
    kept = [each for each in made.versions.values() if each.available and each not in todo.unload]
    for gone in todo.unload:
        if not gone.stopped and not stopped and todo.load and not lazy:
            # Something is still to come for those that go: then others answer meanwhile.
            assert all(each.failed for each in todo.load) or kept


def test_waits_double_up_to_a_limit():
    assert [backoff_s(attempts, 0.5) for attempts in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert backoff_s(10_000, 0.5) == 300.0
    assert backoff_s(10_000, 0.5, longest_s=20.0) == 20.0
