"""How many cores a process may use, as far as its system tells."""

from __future__ import annotations

from tensorhost.runtimes import cores


def test_cores_are_those_the_process_may_run_on(monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _process: {3, 5, 7}, raising=False)
    assert cores.usable_cores() == 3


def test_cores_are_counted_where_affinity_is_unknown(monkeypatch):
    monkeypatch.delattr(cores.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1
