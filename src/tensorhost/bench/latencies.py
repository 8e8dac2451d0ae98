"""Latencies of any number of requests in a fixed amount of memory, exact to one per cent.

Buckets grow by one per cent each; smallest, largest and sum are kept exactly. Observations are collected plainly and
sorted into buckets many at a time, since this happens for every request on cores the server needs.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

_SMALLEST_S = 1e-6
_GROWTH = 1.01
_BUCKETS = 2100
"""The last bucket ends at twenty minutes."""

_FOLD_AT = 4096


class Latencies:
    """Times in seconds. Adding is cheap; reading sorts what has been added since."""

    __slots__ = ("_counts", "_fresh", "_highest_s", "_lowest_s", "_sum_s")

    def __init__(self) -> None:
        self._fresh = array("d")
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._lowest_s = math.inf
        self._highest_s = 0.0
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Take in one observation, at least 0."""
        self._fresh.append(seconds)
        if len(self._fresh) >= _FOLD_AT:
            self._fold()

    def absorb(self, other: Latencies) -> None:
        """Take in all observations of ``other``."""
        self._fold()
        other._fold()
        self._counts += other._counts
        self._lowest_s = min(self._lowest_s, other._lowest_s)
        self._highest_s = max(self._highest_s, other._highest_s)
        self._sum_s += other._sum_s

    @property
    def count(self) -> int:
        """Number of observations."""
        return int(self._counts.sum()) + len(self._fresh)

    @property
    def lowest_s(self) -> float:
        """The smallest observation; infinite when there are none."""
        self._fold()
        return self._lowest_s

    @property
    def highest_s(self) -> float:
        """The largest observation; 0 when there are none."""
        self._fold()
        return self._highest_s

    @property
    def mean_s(self) -> float:
        """Average; 0 when there are none."""
        self._fold()
        count = self.count
        return self._sum_s / count if count else 0.0

    def quantile(self, fraction: float) -> float:
        """The time that ``fraction`` (above 0, to 1) of the observations do not exceed, at most one per cent too high.

        0 when there are no observations.
        """
        self._fold()
        cumulative = np.cumsum(self._counts)
        if not cumulative[-1]:
            return 0.0
        bucket = int(np.searchsorted(cumulative, max(1, math.ceil(fraction * cumulative[-1] - 1e-9))))
        return max(min(_bound(bucket), self._highest_s), self._lowest_s)

    def bars(self, count: int) -> list[tuple[float, int]]:
        """``count`` bars of equal width on a logarithmic scale, as upper bound in seconds and number of observations.

        From the smallest observation to the largest; empty when there are none.
        """
        self._fold()
        if not self.count:
            return []
        low, high = _bucket(self._lowest_s), _bucket(self._highest_s)
        edges = sorted({low + round((high - low + 1) * step / count) for step in range(1, count + 1)} - {low})
        bars, start = [], low
        for edge in edges:
            bars.append((min(_bound(edge - 1), self._highest_s), int(self._counts[start:edge].sum())))
            start = edge
        return bars

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` reads it."""
        self._fold()
        filled = np.flatnonzero(self._counts)
        return {
            "buckets": {str(index): int(self._counts[index]) for index in filled},
            "lowest": self._lowest_s if len(filled) else 0.0,
            "highest": self._highest_s,
            "sum": self._sum_s,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The latencies ``to_json`` wrote."""
        latencies = cls()
        for index, count in document["buckets"].items():
            latencies._counts[int(index)] = count
        latencies._lowest_s = document["lowest"] if document["buckets"] else math.inf
        latencies._highest_s = document["highest"]
        latencies._sum_s = document["sum"]
        return latencies

    def _fold(self) -> None:
        if not self._fresh:
            return
        seconds = np.array(self._fresh)
        self._fresh = array("d")
        buckets = np.ceil(np.log(np.maximum(seconds, _SMALLEST_S) / _SMALLEST_S) / math.log(_GROWTH)).astype(np.int64)
        self._counts += np.bincount(np.minimum(buckets, _BUCKETS - 1), minlength=_BUCKETS)
        self._lowest_s = min(self._lowest_s, float(seconds.min()))
        self._highest_s = max(self._highest_s, float(seconds.max()))
        self._sum_s += float(seconds.sum())


def _bound(bucket: int) -> float:
    return float(_SMALLEST_S * _GROWTH**bucket)


def _bucket(seconds: float) -> int:
    return min(math.ceil(math.log(max(seconds, _SMALLEST_S) / _SMALLEST_S) / math.log(_GROWTH)), _BUCKETS - 1)
