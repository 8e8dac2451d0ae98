"""What one run of one generator saw: counts and latencies that add up over generators. No clock of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tensorhost.bench.latencies import Latencies


@dataclass(slots=True)
class Tally:
    """The outcome of a load, or of the part of it that is done.

    Attributes:
        latencies: of requests that were answered well. In an open loop they begin when the request was due.
        lateness: how long after a request was due the generator came to it, whether or not a lane was free; empty in a
            closed loop.
        errors: failed requests by code.
        answered_in_time: answered well before the last request was begun or the time was up.
        waited: due requests for which no lane was free when the generator came to them.
        unsent: requests that were due and never sent, since no lane was free until the end.
        unanswered: sent, and given up without an answer because the run was ended.
        window_s: from the first request to the end of sending.
        elapsed_s: from the first request to the last answer.
        cpu_s: processor time of the generator's process in ``elapsed_s``.
        gone: nobody could be reached any more and the run was ended for it.
        batch_rows: model calls by the upper bound of their rows, where the generator runs the model itself.
        rows: rows in those calls.
    """

    latencies: Latencies = field(default_factory=Latencies)
    lateness: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter)
    answered_in_time: int = 0
    waited: int = 0
    unsent: int = 0
    unanswered: int = 0
    window_s: float = 0.0
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    gone: bool = False
    batch_rows: Counter[str] = field(default_factory=Counter)
    rows: float = 0.0

    @property
    def answered(self) -> int:
        """Requests answered well."""
        return self.latencies.count

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return self.errors.total()

    @property
    def requests_per_s(self) -> float:
        """Requests answered well per second, while requests were being sent."""
        if self.answered_in_time and self.window_s:
            return self.answered_in_time / self.window_s
        return self.answered / self.elapsed_s if self.elapsed_s else 0.0

    def absorb(self, other: Tally) -> None:
        """Add what another generator saw at the same time."""
        self.latencies.absorb(other.latencies)
        self.lateness.absorb(other.lateness)
        self.errors += other.errors
        self.batch_rows += other.batch_rows
        for name in ("answered_in_time", "waited", "unsent", "unanswered", "cpu_s", "rows"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.window_s = max(self.window_s, other.window_s)
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)
        self.gone = self.gone or other.gone

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` reads it."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The tally ``to_json`` wrote."""
        tally = cls()
        for name, value in document.items():
            if name in ("latencies", "lateness"):
                setattr(tally, name, Latencies.from_json(value))
            else:
                setattr(tally, name, Counter(value) if name in ("errors", "batch_rows") else value)
        return tally


def _plain(value: Any) -> Any:
    if isinstance(value, Latencies):
        return value.to_json()
    return dict(value) if isinstance(value, Counter) else value
