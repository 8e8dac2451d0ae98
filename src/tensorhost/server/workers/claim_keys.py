"""What workers claim from their supervisor: the turn to load, and the trial of a model in a child process."""

from __future__ import annotations

LOAD_TURN = "load"
"""Held while a version loads and warms up; as many at once as ``load_threads``, over all workers."""

TRIAL = "try"
"""The kind of claim that is held while a model is tried: by one worker at a time, whose child process has imported the
framework already."""


def trial_of(probe_key: str) -> str:
    """The claim on trying what ``probe_key`` stands for."""
    return f"{TRIAL} {probe_key}"
