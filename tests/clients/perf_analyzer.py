"""Triton's perf_analyzer as a program, and what its report says."""

from __future__ import annotations

import os
import re
import subprocess
from typing import NamedTuple

import pytest
from client_tools import PERF_ANALYZER
from pinned_wheels import programs_run_here

if not programs_run_here():
    pytest.skip("perf_analyzer is a program for Linux on x86-64", allow_module_level=True)

ONCE = ("--request-count", "500")
"""Measure so many requests, which takes a second at least. One level of load only."""
WINDOWS = ("--measurement-mode", "time_windows", "-p", "100", "-s", "1000000")
"""Measure in three windows of 100 ms, whose figures may differ as they like."""
_TIMEOUT_S = 60.0


class Level(NamedTuple):
    """What was measured under one level of load. Times are averages in microseconds.

    Attributes:
        requests: that the client counted.
        latency: as the client saw it.
        inferences, executions, successes: how far the server's statistics rose meanwhile.
        server: the time of a request there, and its parts, by their names in the report.
    """

    requests: int
    latency: int
    inferences: int
    executions: int
    successes: int
    server: dict[str, int]


def run(*options: object) -> subprocess.CompletedProcess[str]:
    """perf_analyzer with these options, ended; its report is all on standard output."""
    return subprocess.run(
        [PERF_ANALYZER / "perf_analyzer", *map(str, options)],
        env=os.environ | {"LD_LIBRARY_PATH": str(PERF_ANALYZER)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def report(*options: object) -> str:
    """The report of a run that must succeed."""
    ended = run(*options)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def measure(*options: object) -> list[Level]:
    """The levels that a run measured, in their order; it must succeed."""
    text = report(*options)
    return [_level(part) for part in re.split(r"^Request (?:concurrency|Rate): [^,\n]*$", text, flags=re.MULTILINE)[1:]]


def _level(text: str) -> Level:
    def figure(name: str) -> int:
        found = re.search(rf"^ +{name}: (\d+)", text, flags=re.MULTILINE)
        assert found, f"no {name!r} in {text}"
        return int(found[1])

    parts = re.search(r"^ +Avg request latency: \d+ usec \((.*)\)$", text, flags=re.MULTILINE)
    assert parts, text
    return Level(
        figure("Request count"),
        figure("Avg latency"),
        figure("Inference count"),
        figure("Execution count"),
        figure("Successful request count"),
        {name: int(usec) for name, usec in re.findall(r"([a-z ]+) (\d+) usec(?: \+ )?", parts[1])}
        | {"total": figure("Avg request latency")},
    )
