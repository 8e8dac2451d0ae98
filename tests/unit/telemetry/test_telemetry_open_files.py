"""The limit of open files is raised, never lowered, and never above what the system allows."""

from __future__ import annotations

import resource

import pytest

from tensorhost.telemetry import allow_open_files


@pytest.mark.parametrize(
    ("soft", "hard", "asked", "expected"),
    [
        (1024, 4096, 2000, 2000),
        (1024, 4096, 9000, 4096),
        (1024, resource.RLIM_INFINITY, 9000, 9000),
        (1024, 4096, 1000, None),
        (4096, 4096, 9000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 9000, None),
    ],
)
def test_the_limit_is_raised_as_far_as_needed_and_allowed(monkeypatch, soft, hard, asked, expected):
    said = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: said.append(limits))
    allow_open_files(asked)
    assert said == ([] if expected is None else [(expected, hard)])
