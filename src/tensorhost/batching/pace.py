"""How many rows the next call takes when a model has a latency goal. Pure: a function of the cost curve and of ``now``.

A call of many rows makes those in it wait for each other and those behind it wait for all of them; several small calls
make those at the end wait longer still, as long as a row gets cheaper in company. So the usual limit is the smallest
size that serves about as many rows a second as the best one: below it throughput is lost and with it, sooner or later,
the goal; above it rows only wait for each other. When more comes than any size can serve, nobody's wait can be kept
short by larger calls: then the limit is the most rows for which waiting for one call and being in the next stays within
the goal, so that those who can still be in time are.

It neither holds requests back nor turns them away. What must stay true: a limit is at least one row and at most the
largest batch.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from tensorhost.batching.costs import CostCurve
from tensorhost.batching.padding import Padding

_NEAR_BEST = 0.97
"""A size counts as serving as many rows as the best when it serves this share of them."""

_ENOUGH = 0.85
"""A size carries what arrives when that is at most this share of what it serves: the rest is for bursts."""

_REFRESH_CALLS = 16
_SHORT_CALL_S = 0.001
_SHORT_CALLS = 31
"""Of calls shorter than that one in so many is learned from: they come in such numbers that more would only cost time.
A prime, lest sizes that alternate are seen one-sidedly."""

_MAX_PLANS = 64
_TRIAL_CALLS = 256
"""So often one call takes up to the next point above the limit, to know what that costs now. Rare enough that its
rows are outside the 99th percentile."""

_RATE_WINDOW_S = 0.1
_RATE_WINDOW_GOALS = 10


@dataclass(frozen=True, slots=True)
class PaceReport:
    """What is believed and done now, of the shapes called last.

    Attributes:
        goal_s: the goal.
        usual_rows: the limit as long as requests are in time.
        overload_rows: the limit when more comes than can be served in time.
        limit_rows: the limit in force.
        reachable: whether a request that waits for one call of a row and runs in another is within the goal.
        spread: what the slowest twentieth of calls takes, as a multiple of the expected time.
        call_s: expected seconds of a call by rows.
    """

    goal_s: float
    usual_rows: int
    overload_rows: int
    limit_rows: int
    reachable: bool
    spread: float
    call_s: dict[int, float]


@dataclass(slots=True)
class Calm:
    """When nothing needs deciding, which is most of the time: at most ``rows`` wait in all, the next batch is of
    ``group``, and its oldest request has waited for at most ``wait_s``. For that to hold ``call_s`` is enough time."""

    rows: int = 0
    group: Hashable = None
    wait_s: float = 0.0
    call_s: float = 0.0


NEVER_CALM = Calm()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows from the curve for one group until it is looked at again.

    ``rows`` is the limit while requests are in time. ``head_start_s`` after ``now``, which is before it, the oldest
    request that is in time in a call of so many rows was offered; -inf where the goal is out of reach.
    """

    rows: int
    overload_rows: int
    reachable: bool
    head_start_s: float


class Pace:
    """The limits on the next call's rows.

    Args:
        goal_s: what 99 of 100 requests should take from entering the queue to their outputs.
        max_rows: the largest batch.
        curve: what calls cost.
        padding: the sizes that are filled up to a larger one.
    """

    def __init__(self, goal_s: float, max_rows: int, curve: CostCurve, padding: Padding) -> None:
        self.goal_s = goal_s
        self.max_rows = max_rows
        self._curve = curve
        self._padding = padding
        self._group: Hashable = None
        self._usual_rows = max_rows
        self._plans: dict[Hashable, _Plan] = {}
        self._short_calls = 0
        self.calm = Calm()
        self.limit_rows = max_rows
        """The limit last in force."""
        self._arrived_rows = 0
        self._takes = 0
        self._rate_since = -math.inf
        self._arrival_rate = 0.0
        self._refresh()

    @property
    def usual_rows(self) -> int:
        """The limit as long as requests are in time."""
        return self._usual_rows

    def call_s(self, rows: int, group: Hashable) -> float:
        """What to expect of a call, on the safe side."""
        return self._expected_s(rows, group) * self._curve.spread

    def in_time_from(self, group: Hashable, now: float) -> float:
        """What was offered then or later can be in time in a call of the usual rows; -inf where nothing can."""
        plan = self._plans.get(group) or self._make_plan(group)
        return now + plan.head_start_s

    def calm_down(self, group: Hashable) -> None:
        """All of ``group`` that waits is in time: until the curve is looked at again, calm can be told at a glance."""
        plan = self._plans.get(group)
        calm = self.calm
        if plan is not None and plan.reachable:
            calm.rows, calm.group, calm.wait_s = plan.rows, group, -plan.head_start_s
            calm.call_s = min(self.goal_s + plan.head_start_s, _SHORT_CALL_S)

    def limit(self, group: Hashable, *, late: bool) -> int:
        """Most rows of the next call. ``late``: some of the group cannot be in time any more."""
        self._group = group
        self._takes += 1
        plan = self._plans.get(group) or self._make_plan(group)
        limit = plan.rows
        if self._takes % _TRIAL_CALLS == 0:
            limit = self._trial(limit, group)
        elif (late or not plan.reachable) and limit != plan.overload_rows:
            rate, small = self._arrival_rate, plan.overload_rows
            # What no size can serve may be served in small calls, as long as there is a goal to keep by that.
            overloaded = plan.reachable and rate > self._rate(limit, group)
            if overloaded or rate < _ENOUGH * self._rate(small, group):
                limit = small
        self.limit_rows = limit
        return limit

    def arrived(self, rows: int, now: float) -> None:
        """Told now and then of all rows that have come since the beginning, those refused among them."""
        elapsed_s = now - self._rate_since
        if elapsed_s < max(_RATE_WINDOW_S, _RATE_WINDOW_GOALS * self.goal_s):
            return
        rate = max(rows - self._arrived_rows, 0) / elapsed_s
        self._arrival_rate = (self._arrival_rate + rate) / 2 if self._arrival_rate else rate
        self._arrived_rows = rows
        self._rate_since = now

    def wants_short(self) -> bool:
        """Whether to learn from a short call."""
        self._short_calls += 1
        return self._short_calls % _SHORT_CALLS == 0

    def observe(self, rows: int, seconds: float, group: Hashable) -> None:
        """Learn from a call that went well."""
        curve = self._curve
        curve.observe(self._padding.padded(rows), seconds, group)
        if curve.calls % _REFRESH_CALLS == 0 or curve.calls < _REFRESH_CALLS:
            self._refresh()

    def report(self) -> PaceReport:
        """What is believed and done now."""
        group = self._group
        plan = self._plans.get(group) or self._make_plan(group)
        return PaceReport(
            self.goal_s,
            self._usual_rows,
            plan.overload_rows,
            self.limit_rows,
            plan.reachable,
            self._curve.spread,
            {rows: self._curve.seconds(rows, group) for rows in self._curve.sizes},
        )

    def _expected_s(self, rows: int, group: Hashable) -> float:
        return self._curve.seconds(self._padding.padded(rows), group)

    def _rate(self, rows: int, group: Hashable) -> float:
        seconds = self._expected_s(rows, group)
        return rows / seconds if seconds else math.inf

    def _refresh(self) -> None:
        # A piece of the curve is a straight line, on which rows a second only rise or only fall: the best is a point.
        rates = {rows: rows / self._curve.form(rows) for rows in self._curve.sizes}
        enough = _NEAR_BEST * max(rates.values())
        best = next(rows for rows, rate in rates.items() if rate >= enough)
        # Warm-up may not have timed the largest batches, for want of memory; beyond its last point nothing is known
        # against them.
        self._usual_rows = self.max_rows if best == self._curve.sizes[-1] else best
        self._plans.clear()
        self.calm.rows = 0

    def _trial(self, limit: int, group: Hashable) -> int:
        larger = next((rows for rows in self._curve.sizes if rows > limit), limit)
        return larger if self.call_s(larger, group) <= self.goal_s else limit

    def _make_plan(self, group: Hashable) -> _Plan:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        usual = self._usual_rows
        if self._expected_s(1, group) * (1.0 + self._curve.spread) <= self.goal_s:
            head_start_s = self.call_s(usual, group) - self.goal_s
            plan = _Plan(usual, self._most_in_time(group), reachable=True, head_start_s=head_start_s)
        else:
            plan = _Plan(usual, self._most_for_its_latency(), reachable=False, head_start_s=-math.inf)
        self._plans[group] = plan
        return plan

    def _most_in_time(self, group: Hashable) -> int:
        """The most rows of a call for which one can wait and be in the next."""
        rows = self._curve.rows_within(self.goal_s / (1.0 + self._curve.spread), group)
        return max(min(self._padding.below(rows), self._usual_rows), 1)

    def _most_for_its_latency(self) -> int:
        """Out of reach: the size with the most throughput for the latency it costs."""
        form = self._curve.form
        sizes = [rows for rows in self._curve.sizes if rows <= self._usual_rows]
        return max(sizes, key=lambda rows: rows / form(rows) ** 2)
