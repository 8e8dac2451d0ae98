"""How many cores a process may use, as far as its system tells."""

from __future__ import annotations

import pytest

from tensorhost.runtimes import cores


@pytest.fixture
def machine(monkeypatch):
    """Sets how many cores there are to run on, and the quota."""

    def has(core_count: int, quota: float | None) -> None:
        monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _process: set(range(core_count)), raising=False)
        monkeypatch.setattr(cores, "processor_quota", lambda: quota)

    return has


def test_cores_are_those_the_process_may_run_on(machine):
    machine(3, None)
    assert cores.usable_cores() == 3


def test_cores_are_counted_where_affinity_is_unknown(monkeypatch):
    monkeypatch.setattr(cores, "processor_quota", lambda: None)
    monkeypatch.delattr(cores.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


@pytest.mark.parametrize(("quota", "usable"), [(0.1, 1), (1.0, 1), (1.4, 1), (1.6, 2), (4.0, 4), (16.0, 8)])
def test_a_quota_is_worth_some_of_the_cores(machine, quota, usable):
    machine(8, quota)
    assert cores.usable_cores() == usable


@pytest.mark.parametrize(
    ("quota", "asked", "told"),
    [(None, 0, 0), (None, 3, 3), (2.0, 0, 2), (2.0, 3, 3), (8.0, 0, 0), (16.0, 0, 0)],
)
def test_a_library_that_knows_no_quota_is_told_of_it_unless_the_operator_decided(machine, quota, asked, told):
    machine(8, quota)
    assert cores.threads_within_quota(asked) == told
