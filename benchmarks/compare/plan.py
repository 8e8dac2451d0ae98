"""What is measured: cases, each one model under one kind of load, and which of them a command line asks for.

The whole plan is meant to fit into about 35 minutes on two cores with two rounds, and what is over gRPC or has binary
tensors into ten of them; small models get many connections, large ones long turns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import VARIANTS, Contender
from benchmarks.protocols import BINARY, GRPC, JSON, PNG

CLOSED, OPEN = "closed", "open"
OPEN_CONNECTIONS = 128
_BESIDE = "_json"


@dataclass(frozen=True, slots=True)
class Case:
    """One model under one load, measured for ``seconds`` per server and round.

    Attributes:
        connections: how many there are; in a closed loop that many requests are under way all the time. Over gRPC only
            the requests are so many, since a connection takes several.
        rate: requests a second in an open loop; 0 for a closed one.
        body: ``json`` is numbers, ``png`` the image itself, which only tensorhost takes, ``binary`` a tensor as bytes
            behind JSON, ``grpc`` a message. Whoever takes binary tensors is asked in JSON as well, beside.
        rounds: at most so many rounds, where one is enough; 0 for as many as are asked for.
        thorough: also the peers' second configurations, which cost as much time as the first.
        without: names of contenders that have nothing to show here.
    """

    model: str
    connections: int
    seconds: int
    rate: int = 0
    body: str = JSON
    rounds: int = 0
    thorough: bool = True
    without: frozenset[str] = frozenset()

    @property
    def load(self) -> str:
        """``closed`` or ``open``."""
        return OPEN if self.rate else CLOSED

    @property
    def has_loops(self) -> bool:
        """Whether the model called in a loop stands beside the servers."""
        return not self.rate and self.body == JSON

    @property
    def bodies(self) -> tuple[str, ...]:
        """The kinds of bodies that are sent, that of the case first."""
        return (BINARY, JSON) if self.body == BINARY else (self.body,)

    @property
    def group(self) -> str:
        """Which saved result it belongs to: that of numbers as text, or of numbers as bytes."""
        return BINARY if self.body in (BINARY, GRPC) else JSON

    def admits(self, contender: Contender) -> bool:
        """Whether the contender takes part."""
        left_out = self.without if self.thorough else self.without | VARIANTS
        return self.body in contender.protocols and contender.name not in left_out

    def rows_of(self, contender: Contender) -> dict[str, str]:
        """The kinds of bodies the contender is sent, by the name that its figures have in a result."""
        kinds = [kind for kind in self.bodies if kind in contender.protocols] if self.admits(contender) else []
        return {contender.name if kind == self.body else contender.name + _BESIDE: kind for kind in kinds}

    @property
    def key(self) -> dict[str, Any]:
        """What tells a case from the others in a saved result."""
        return {"model": self.model, "load": self.load, "connections": self.connections, "rate": self.rate} | {
            "body": self.body
        }

    def __str__(self) -> str:
        offered = f", {self.rate:,} requests/s offered" if self.rate else ""
        how_many = f"{self.connections} {'in flight' if self.body == GRPC else 'connections'}"
        return f"{self.model}, {how_many}{offered}{'' if self.body == JSON else f', {self.body}'}"


_IMAGE_LOADS = ((1, 3), (8, 5))
"""Connections and seconds: some servers take two seconds to answer eight images at once."""

_ANY_RUNTIME = frozenset({"tensorhost_tensorflow"})
"""Models that compute next to nothing are as fast whatever executes them."""

CASES = (
    *(Case("tiny", connections, 2) for connections in (1, 8, 32, 128)),
    *(Case("tiny", OPEN_CONNECTIONS, 4, rate, rounds=1, thorough=False) for rate in (500, 4000)),
    *(Case("mlp", connections, 2) for connections in (1, 8, 32, 128)),
    *(Case("mlp", OPEN_CONNECTIONS, 4, rate, rounds=1, thorough=False) for rate in (300, 2000)),
    *(Case("transformer", connections, 2, thorough=False) for connections in (1, 32)),
    *(Case("mobilenetv2", connections, seconds, thorough=False) for connections, seconds in _IMAGE_LOADS),
    *(Case("mobilenetv2", connections, 3, body=PNG) for connections in (1, 8)),
    *(Case("resnet50", connections, seconds, thorough=False) for connections, seconds in _IMAGE_LOADS),
    *(Case("resnet50", connections, 3, body=PNG) for connections in (1, 8)),
    *(Case("tiny", in_flight, 2, body=GRPC, without=_ANY_RUNTIME) for in_flight in (1, 32, 128)),
    *(Case("mlp", in_flight, 2, body=GRPC) for in_flight in (1, 32, 128)),
    *(Case("pixels", in_flight, 2, body=GRPC, without=_ANY_RUNTIME) for in_flight in (1, 8)),
    *(Case("pixels", connections, 2, body=BINARY, without=_ANY_RUNTIME) for connections in (1, 8)),
    *(Case("mobilenetv2", connections, 3, body=BINARY) for connections in (1, 8)),
)
BODIES = (JSON, PNG, BINARY, GRPC)
MODELS = tuple(dict.fromkeys(case.model for case in CASES))
_QUICK_CONNECTIONS = frozenset({1, 32})
_QUICK_RATES = frozenset({300, 500})


def quick(cases: Sequence[Case]) -> list[Case]:
    """A second a turn, one round, and of each kind of case one or two: to see that everything runs."""
    chosen = [
        case
        for case in cases
        if case.rate in _QUICK_RATES or (not case.rate and (case.connections in _QUICK_CONNECTIONS))
    ]
    return [replace(case, seconds=1, rounds=1) for case in chosen]


def choose(only: Collection[str], seconds: int | None) -> list[Case]:
    """The cases of the models and kinds of bodies named, or all; every turn of ``seconds`` where that is given."""
    chosen = [case for case in CASES if not only or case.model in only or case.body in only]
    return [replace(case, seconds=seconds) for case in chosen] if seconds else chosen
