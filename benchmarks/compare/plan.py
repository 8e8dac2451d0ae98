"""What is measured: cases, each one model under one kind of load, and which of them a command line asks for.

The whole plan is meant to fit into about 25 minutes on two cores with two rounds; small models get many connections,
large ones long turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import VARIANTS, Contender

CLOSED, OPEN = "closed", "open"
JSON, PNG = "json", "png"
OPEN_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Case:
    """One model under one load, measured for ``seconds`` per server and round.

    Attributes:
        connections: how many there are; in a closed loop that many requests are under way all the time.
        rate: requests a second in an open loop; 0 for a closed one.
        body: ``json`` is numbers, ``png`` the image itself, which only tensorhost takes.
        rounds: at most so many rounds, where one is enough; 0 for as many as are asked for.
        thorough: also the peers' second configurations, which cost as much time as the first.
    """

    model: str
    connections: int
    seconds: int
    rate: int = 0
    body: str = JSON
    rounds: int = 0
    thorough: bool = True

    @property
    def load(self) -> str:
        """``closed`` or ``open``."""
        return OPEN if self.rate else CLOSED

    @property
    def has_loops(self) -> bool:
        """Whether the model called in a loop stands beside the servers."""
        return not self.rate and self.body == JSON

    def admits(self, contender: Contender) -> bool:
        """Whether the contender takes part."""
        if contender.is_ours:
            return True
        return self.body == JSON and (self.thorough or contender.name not in VARIANTS)

    @property
    def key(self) -> dict[str, Any]:
        """What tells a case from the others in a saved result."""
        return {"model": self.model, "load": self.load, "connections": self.connections, "rate": self.rate} | {
            "body": self.body
        }

    def __str__(self) -> str:
        offered = f", {self.rate:,} requests/s offered" if self.rate else ""
        return f"{self.model}, {self.connections} connections{offered}{', PNG' if self.body == PNG else ''}"


_IMAGE_LOADS = ((1, 3), (8, 5))
"""Connections and seconds: some servers take two seconds to answer eight images at once."""

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
)
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


def choose(model: str | None, seconds: int | None) -> list[Case]:
    """The cases of one model, or all; every turn of ``seconds`` where that is given."""
    chosen = [case for case in CASES if model in (None, case.model)]
    return [replace(case, seconds=seconds) for case in chosen] if seconds else chosen
