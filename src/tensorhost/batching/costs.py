"""What a call costs by its rows: a curve measured at warm-up and kept current by every call. Pure.

It knows nothing of goals or queues. The curve has points at the sizes warm-up has timed and is linear between them.
Calls of several inner shapes cost differently, so each group of shapes has a level of its own, and all share the
curve's form. What must stay true: one call, however long it took, changes little; a lasting change is followed within
some dozens of calls; what has not been seen for long is doubted: a point that no call has come near moves the more at
the next one, and drifts back to what warm-up measured until then; memory does not grow with the number of shapes that
clients send.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

_CLOCK_S = 1e-9
"""No call is believed to take less."""

_LEVEL_GAIN = 0.08
_DRIFT_GAIN = 0.15
_PERSISTENCE = 3.0
_LARGEST_DRIFT = 2.0
_POINT_GAIN = 0.1
_LARGEST_ERROR = 0.25
"""A call that took longer than expected counts for at most a quarter more. No call is faster than it can be by chance,
so that one that took less counts in full."""

_NEW_CALLS = 8
_LARGEST_FIRST_ERROR = 1.0
"""The same for the first calls of a group, whose level is not known yet."""

_DOUBT_CALLS = 512
_LARGEST_POINT_GAIN = 0.5
_LARGEST_DOUBTED_ERROR = 1.0
"""A point that no call has come near for so many calls moves by so much of an error of at most so much."""

_RETURN_CALLS = 32
_RETURN_GAIN = 0.02

_SPREAD_QUANTILE = 0.95
_SPREAD_GAIN = 0.04
_FIRST_SPREAD = 1.15
_LARGEST_SPREAD = 4.0

_MAX_GROUPS = 64
_UNKNOWN_ROWS = 8.0
"""Where nothing was timed, a call is taken to cost as much as so many rows, and each row on top."""


@dataclass(slots=True)
class Level:
    """One group's factor on the curve, how many calls it was learned from, and by how much of the expected time calls
    of all sizes have strayed of late: that is the level's fault, not the points'."""

    factor: float
    calls: int = 0
    drift: float = 0.0


class CostCurve:
    """Expected seconds of a call by rows and group, and how far calls stray above that.

    Args:
        measured: seconds by rows, from warm-up; may be empty, then the form is guessed and the level learned.
        max_rows: the largest batch.
    """

    def __init__(self, measured: Mapping[int, float], max_rows: int) -> None:
        self._known = bool(measured)
        points = {rows: max(seconds, _CLOCK_S) for rows, seconds in measured.items() if rows <= max_rows}
        if not points:
            points = {rows: _UNKNOWN_ROWS + rows for rows in _powers_of_two(max_rows)}
        self.sizes = sorted(points)
        self._first = [points[rows] for rows in self.sizes]
        self._values = list(self._first)
        self._touched = [0] * len(self.sizes)
        self._levels: dict[Hashable, Level] = {}
        self._last_factor = 1.0 if self._known else 0.0
        self._calls = 0
        self.spread = _FIRST_SPREAD
        """What the slowest twentieth of calls takes, as a multiple of what was expected; at least 1."""

    @property
    def calls(self) -> int:
        """Calls observed so far."""
        return self._calls

    def form(self, rows: float) -> float:
        """The curve itself at ``rows``, without a group's level; beyond its ends as its last piece goes on."""
        sizes, values = self.sizes, self._values
        index = bisect_left(sizes, rows)
        if index < len(sizes) and sizes[index] == rows:
            return values[index]
        if len(sizes) == 1:
            return values[0] * rows / sizes[0]
        index = min(max(index, 1), len(sizes) - 1)
        low, high = values[index - 1], values[index]
        share = (rows - sizes[index - 1]) / (sizes[index] - sizes[index - 1])
        return max(low + (high - low) * share, _CLOCK_S)

    def factor(self, group: Hashable) -> float:
        """The level of ``group``: its own, or for one not seen yet that of the last call; 0 while nothing is known."""
        level = self._levels.get(group)
        return self._last_factor if level is None else level.factor

    def seconds(self, rows: int, group: Hashable = None) -> float:
        """Expected seconds of a call; 0 while nothing is known."""
        return self.form(rows) * self.factor(group)

    def rows_within(self, seconds: float, group: Hashable = None) -> int:
        """The most rows, up to the last point, whose call is expected to take at most ``seconds``; 0 for none."""
        factor = self.factor(group)
        if factor == 0:
            return self.sizes[-1]
        target = seconds / factor
        sizes, values = self.sizes, self._values
        if values[-1] <= target:
            return sizes[-1]
        for index in range(len(sizes) - 2, -1, -1):
            low, high = values[index], values[index + 1]
            if low <= target:
                return sizes[index] + int((sizes[index + 1] - sizes[index]) * (target - low) / (high - low))
        return 0

    def observe(self, rows: int, seconds: float, group: Hashable = None) -> None:
        """Learn from one call of ``rows`` rows, at least 1."""
        seconds = max(seconds, _CLOCK_S)
        level = self._levels.get(group)
        if level is None:
            level = self._add(group, rows, seconds)
        expected = self.form(rows) * level.factor
        ratio = seconds / expected
        level.calls += 1
        self._calls += 1
        if level.calls <= _NEW_CALLS:
            error = min(ratio - 1.0, _LARGEST_FIRST_ERROR)
            level.factor *= 1.0 + error / (level.calls + 1)
        else:
            # A stall is one call; where many in a row take longer it is no stall.
            error = min(ratio - 1.0, _LARGEST_ERROR + _PERSISTENCE * max(level.drift, 0.0), _LARGEST_DRIFT)
            level.factor *= 1.0 + _LEVEL_GAIN * error
            level.drift += _DRIFT_GAIN * (error - level.drift)
            self._move_points(rows, ratio - 1.0, level.drift)
            self._widen(above=ratio > self.spread)
        self._last_factor = level.factor

    def _add(self, group: Hashable, rows: int, seconds: float) -> Level:
        if len(self._levels) >= _MAX_GROUPS:
            del self._levels[next(iter(self._levels))]
        level = self._levels[group] = Level(self._last_factor or seconds / self.form(rows))
        return level

    def _move_points(self, rows: int, error: float, drift: float) -> None:
        sizes = self.sizes
        index = min(bisect_left(sizes, rows), len(sizes) - 1)
        share = 1.0
        if index and sizes[index] > rows:
            share = (rows - sizes[index - 1]) / (sizes[index] - sizes[index - 1])
            self._move_point(index - 1, 1.0 - share, error, drift)
        self._move_point(index, share, error, drift)
        if self._known and self._calls % _RETURN_CALLS == 0:
            for point, first in enumerate(self._first):
                # Of points in use, so that what has changed for all ends up in the level; of forgotten ones, since
                # nothing is believed for ever; but not of those tried now and then, which would undo the trials.
                if not _RETURN_CALLS < self._calls - self._touched[point] < _DOUBT_CALLS:
                    self._values[point] += _RETURN_GAIN * (first - self._values[point])

    def _move_point(self, point: int, share: float, error: float, drift: float) -> None:
        doubt = min((self._calls - self._touched[point]) / _DOUBT_CALLS, 1.0)
        most = _LARGEST_ERROR + doubt * (_LARGEST_DOUBTED_ERROR - _LARGEST_ERROR)
        gain = _POINT_GAIN + doubt * (_LARGEST_POINT_GAIN - _POINT_GAIN)
        self._values[point] *= 1.0 + gain * share * (min(error, max(most, drift)) - drift)
        self._touched[point] += int(share * (self._calls - self._touched[point]))

    def _widen(self, *, above: bool) -> None:
        # In balance when one call in twenty is above.
        step = _SPREAD_QUANTILE if above else _SPREAD_QUANTILE - 1.0
        self.spread = min(max(self.spread * (1.0 + _SPREAD_GAIN * step), 1.0), _LARGEST_SPREAD)


def _powers_of_two(largest: int) -> list[int]:
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == largest else [*sizes, largest]
