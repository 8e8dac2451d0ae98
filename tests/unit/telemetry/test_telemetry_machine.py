"""How busy the machine is, from what the system counts."""

from types import SimpleNamespace

import psutil
import pytest

from tensorhost.telemetry.machine import Machine

LINUX = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
OTHERS = ("user", "nice", "system", "idle")


def reading(names, *seconds):
    """As psutil gives it."""
    return SimpleNamespace(_asdict=lambda: dict(zip(names, seconds, strict=True)))


def test_processors_are_as_busy_as_they_were_since_somebody_last_asked(monkeypatch):
    readings = [
        reading(LINUX, 30, 0, 10, 50, 10, 0, 0, 0, 20, 0),  # of 100 s; what guests had is among what users had
        reading(LINUX, 31, 1, 11, 51, 10, 0, 0, 0, 20, 0),
        reading(LINUX, 31, 1, 11, 51, 10, 0, 0, 0, 20, 0),  # nothing has passed
        reading(LINUX, 31, 1, 11, 61, 10, 0, 0, 0, 20, 0),
        reading(LINUX, 41, 1, 11, 60, 10, 0, 0, 0, 20, 0),  # idle time that goes back, as virtual machines have it
    ]
    monkeypatch.setattr(psutil, "cpu_times", lambda: readings.pop(0))
    machine = Machine()
    assert [machine.cpu_utilization() for _ in range(5)] == pytest.approx([0.4, 0.75, 0.0, 0.0, 1.0])


def test_other_systems_count_less(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_times", lambda: reading(OTHERS, 30, 10, 10, 50))
    assert Machine().cpu_utilization() == pytest.approx(0.5)
