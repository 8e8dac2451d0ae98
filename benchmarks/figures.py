"""Figures from many turns: medians and spreads, ratios between neighbours in time, percentiles. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all reach at most (nearest rank); ``ordered`` ascends."""
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def summarise(rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Medians of the rounds, and the rounds themselves."""
    medians = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}
    return {**medians, "rounds": list(rounds)}


def compare(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """How many times better the first did, round by round: median, lowest and highest.

    ``requests_s`` is its rate over theirs, ``cpu`` their processor time per request over its own.
    """
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "requests_s": spread([mine["requests_s"] / other["requests_s"] for mine, other in pairs]),
        "cpu": spread([other["cpu_us_per_request"] / mine["cpu_us_per_request"] for mine, other in pairs]),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    named = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: round(value, 2) for name, value in named.items()}
