"""The life of one version, as one table. An illegal move is a bug and raises."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class VersionState(StrEnum):
    """Where a version is in its life."""

    NEW = "NEW"
    """Known, not loaded: waiting its turn, its files, its first request, or the next attempt."""
    LOADING = "LOADING"
    WARMING = "WARMING"
    AVAILABLE = "AVAILABLE"
    DRAINING = "DRAINING"
    """No new requests; those in flight finish."""
    UNLOADING = "UNLOADING"
    END = "END"
    """Gone, or given up on; with the error that ended it, if one did."""


TRANSITIONS: Mapping[VersionState, frozenset[VersionState]] = {
    VersionState.NEW: frozenset({VersionState.LOADING, VersionState.END}),
    VersionState.LOADING: frozenset({VersionState.WARMING, VersionState.NEW, VersionState.END}),
    VersionState.WARMING: frozenset({VersionState.AVAILABLE, VersionState.NEW, VersionState.END}),
    VersionState.AVAILABLE: frozenset({VersionState.DRAINING}),
    VersionState.DRAINING: frozenset({VersionState.UNLOADING}),
    VersionState.UNLOADING: frozenset({VersionState.END, VersionState.NEW}),
    VersionState.END: frozenset({VersionState.NEW}),
}


def advance(current: VersionState, to: VersionState) -> VersionState:
    """``to``, if the table allows it after ``current``; RuntimeError otherwise."""
    if to not in TRANSITIONS[current]:
        raise RuntimeError(f"illegal version state change: {current} to {to}")
    return to
