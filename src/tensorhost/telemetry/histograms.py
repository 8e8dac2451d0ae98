"""Histograms with fixed buckets, cheap enough to fill for every request.

One thread writes, any thread reads, and there are no locks: a reader may miss the newest observation but never sees
a count that disagrees with the buckets, because the count is always their sum.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import ceil

SECONDS_BOUNDS: tuple[float, ...] = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
"""Upper bounds of every latency histogram, in seconds."""

ROWS_BOUNDS: tuple[float, ...] = tuple(float(2**power) for power in range(13))
"""Upper bounds of the batch size histogram, in rows: 1, 2, 4 … 4096."""


class Histogram:
    """Counts of observations by bucket, and their sum.

    Bucket ``i`` holds values greater than ``bounds[i - 1]`` and at most ``bounds[i]``; one more bucket holds the rest.
    ``bounds`` must increase strictly.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one finite value, in the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Average of the observations; 0 when there are none."""
        count = self.count
        return self.sum / count if count else 0.0

    def cumulative(self) -> list[int]:
        """Observations at most each bound, in order; the last element is the count."""
        return list(accumulate(self.counts))

    def quantile(self, fraction: float) -> float:
        """Estimate of the value that ``fraction`` (0 to 1) of the observations do not exceed.

        Linear inside the bucket that holds it, from 0 in the first; the highest bound when it lies above all of them;
        0 when there are no observations.
        """
        cumulative = self.cumulative()
        rank = fraction * cumulative[-1]
        index = bisect_left(cumulative, max(1, ceil(rank)))
        if index >= len(self.bounds):
            return self.bounds[-1] if cumulative[-1] else 0.0
        below = cumulative[index - 1] if index else 0
        lower = self.bounds[index - 1] if index else 0.0
        share = (rank - below) / (cumulative[index] - below)
        return lower + (self.bounds[index] - lower) * max(0.0, share)

    def absorb(self, other: Histogram) -> None:
        """Add the observations of ``other``, which must have the same bounds."""
        if other.bounds != self.bounds:
            raise ValueError("histograms with different bounds cannot be added")
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum
