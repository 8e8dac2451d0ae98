"""What a run of the load generator is told: how hard to ask, and whom. Plain values that travel as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

DEFAULT_DURATION_S = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """How hard to ask.

    Closed loop without ``rate``: each of ``concurrency`` lanes asks again when it has its answer. Open loop with it:
    requests are due at even intervals whether or not earlier ones are answered, on at most ``concurrency`` lanes.

    Attributes:
        concurrency: requests in flight (closed loop), or the most there may be (open loop).
        rate: requests per second that are due; None for a closed loop.
        duration_s: how long new requests are begun; None for until ``requests`` have been.
        requests: how many are begun at most; None for no such limit.
        warmup_s: the same load for so long before anything is counted.
        timeout_s: after so long a request counts as failed and its connection is closed.
        first_s: when the first request of an open loop is due, so that several generators take turns.
    """

    concurrency: int
    rate: float | None = None
    duration_s: float | None = DEFAULT_DURATION_S
    requests: int | None = None
    warmup_s: float = 1.0
    timeout_s: float = 30.0
    first_s: float = 0.0

    def share(self, index: int, count: int) -> Load:
        """What the generator ``index`` of ``count`` does of this load; ``count`` is at most the concurrency."""
        return dataclasses.replace(
            self,
            concurrency=_part(self.concurrency, index, count),
            rate=None if self.rate is None else self.rate / count,
            requests=None if self.requests is None else _part(self.requests, index, count),
            first_s=0.0 if self.rate is None else index / self.rate,
        )


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A server: where to connect, and the bytes of the request's head. The body travels beside it."""

    host: str
    port: int
    head: str
    tls: bool = False


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """A model on this machine's disk, to be loaded by the generator itself.

    Attributes:
        path: a model's folder, a version's folder or a model file.
        version, signature: None for the newest, and for the default one.
        rows: rows of a request that is made up; without meaning where a body is given.
        bare: call the runtime from ``concurrency`` threads, without engine and queue.
        settings: of a server, by name, as given on the command line.
    """

    path: str
    version: str | None = None
    signature: str | None = None
    rows: int = 1
    bare: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """One generator's work: a target, and loads to put on it one after the other."""

    target: HttpTarget | ModelTarget
    loads: tuple[Load, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` reads it."""
        kind = "http" if isinstance(self.target, HttpTarget) else "model"
        return {kind: dataclasses.asdict(self.target), "loads": [dataclasses.asdict(load) for load in self.loads]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The plan ``to_json`` wrote."""
        target = HttpTarget(**document["http"]) if "http" in document else ModelTarget(**document["model"])
        return cls(target, tuple(Load(**load) for load in document["loads"]))


def _part(whole: int, index: int, count: int) -> int:
    return whole // count + (index < whole % count)
