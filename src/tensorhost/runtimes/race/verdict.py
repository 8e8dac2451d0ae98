"""Who executes a signature, decided from what was measured. Pure.

A heat is one entrant on one signature, timed in turns with the model's own runtime, so that heats that ran at different
times, or in different processes, compare by how many times faster than that each was. What must stay true: only an
entrant that computed the same may win, and in doubt the model's own runtime serves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.engine_files import EngineFile

_ANY_ROWS = 2**31

_WORTH_LEAVING = 1.0
"""How many times faster than the model's own runtime the winner must be, over all sizes: at equal speed another is
taken, since it takes less memory than TensorFlow."""

_WORTH_LEAVING_LITERT = 1.1
"""The same for LiteRT, which is small: a difference of nothing is no reason to leave it."""

_WORTH_ANOTHER = 1.25
"""How many times faster a second runtime must be, on average over the sizes it is to serve, to be loaded besides the
first."""

_WORTH_NATIVE = 1.5
"""The same for the model's own runtime, which may mean keeping all of TensorFlow in memory."""


class Entrant(NamedTuple):
    """A runtime and with how many bits it computes."""

    runtime: RuntimeName
    precision: Precision

    @property
    def label(self) -> str:
        """``openvino`` or ``openvino bf16``."""
        return self.runtime.value if self.precision is Precision.FLOAT32 else f"{self.runtime} {self.precision}"


@dataclass(frozen=True, slots=True)
class Heat:
    """One entrant on one signature.

    Attributes:
        signature: its name.
        entrant: who tried.
        engine: what was written for it; None where nothing was.
        call_s: seconds per call by rows: the model's own runtime's, the entrant's.
        difference: largest absolute difference between the answers of both.
        scale: largest magnitude of the answers that it was found in.
        calls: inputs that both were compared on.
        refused: why it may not serve; empty where it may.
        transient: whether that was for want of time or memory, which the next attempt may have.
    """

    signature: str
    entrant: Entrant
    engine: EngineFile | None = None
    call_s: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    difference: float = 0.0
    scale: float = 0.0
    calls: int = 0
    refused: str = ""
    transient: bool = False

    def speedup(self, rows: int) -> float:
        """How many times faster than the model's own runtime calls of ``rows`` rows were."""
        own_s, seconds = self.call_s[rows]
        return own_s / max(seconds, 1e-9)

    def overall(self) -> float:
        """The same over all sizes: the geometric mean."""
        return math.exp(sum(math.log(self.speedup(rows)) for rows in self.call_s) / len(self.call_s))


@dataclass(frozen=True, slots=True)
class Decision:
    """Who executes one signature.

    Attributes:
        native: the model's own runtime.
        routes: by the most rows of a call, in rising order, who makes it; None is the model's own runtime.
        heats: what it was decided from.
        reason: why nobody else was tried; empty where somebody was.
    """

    native: RuntimeName
    routes: tuple[tuple[int, Entrant | None], ...] = ()
    heats: tuple[Heat, ...] = ()
    reason: str = ""

    @property
    def winners(self) -> tuple[Entrant, ...]:
        """The entrants that serve some size, each once."""
        return tuple(dict.fromkeys(entrant for _, entrant in self.routes if entrant is not None))

    @property
    def needs_native(self) -> bool:
        """Whether the model's own runtime serves some size."""
        return not self.routes or any(entrant is None for _, entrant in self.routes)

    def engine(self, entrant: Entrant) -> EngineFile:
        """What was written for a winner."""
        return next(heat.engine for heat in self.heats if heat.entrant == entrant and heat.engine is not None)

    def lost(self, heat: Heat) -> str:
        """Why an entrant does not serve; empty where it does."""
        if heat.entrant in self.winners:
            return ""
        if heat.refused or not heat.call_s:
            return heat.refused or "It was not timed at the sizes of the others."
        best = max((other for other in self.heats if other.entrant in self.winners), key=Heat.overall, default=None)
        if best is None:
            return f"{heat.overall():.2f} times as fast as {self.native.value}, which is not enough to leave it."
        return (
            f"{heat.overall():.2f} times as fast as {self.native.value}; "
            f"{best.entrant.label} is {best.overall():.2f} times as fast."
        )

    def summary(self) -> dict[str, str]:
        """The decision for one line of the log: who serves, how much faster, how far off, why each other does not."""
        if not self.heats:
            return {"runtime": self.native.value, "reason": self.reason or "nobody else may try"}
        served = ", ".join(
            (f"up to {rows} rows " if rows < _ANY_ROWS else "")
            + (self.native.value if entrant is None else entrant.label)
            for rows, entrant in self.routes
        )
        told = {"runtime": served or self.native.value}
        for heat in self.heats:
            label = heat.entrant.label.replace(" ", "_")
            told[label] = self.lost(heat) or f"{heat.overall():.2f} times as fast, {_share(heat):.0e} of scale off"
        return told

    def to_json(self) -> dict[str, Any]:
        """The decision for the metadata."""
        return {
            "reference": self.native.value,
            "notRaced": self.reason or None,
            "served": [
                {
                    "upToRows": rows if rows < _ANY_ROWS else None,
                    "runtime": self.native.value if entrant is None else entrant.label,
                }
                for rows, entrant in self.routes
            ],
            "candidates": [self._candidate(heat) for heat in self.heats],
        }

    def _candidate(self, heat: Heat) -> dict[str, Any]:
        return {
            "runtime": heat.entrant.runtime.value,
            "precision": heat.entrant.precision.value,
            "serves": heat.entrant in self.winners,
            "reason": self.lost(heat) or None,
            "speedup": {str(rows): round(heat.speedup(rows), 2) for rows in heat.call_s},
            "callTimeMs": {str(rows): round(times[1] * 1000, 4) for rows, times in heat.call_s.items()},
            "referenceCallTimeMs": {str(rows): round(times[0] * 1000, 4) for rows, times in heat.call_s.items()},
            "comparedCalls": heat.calls,
            "largestDifference": heat.difference if heat.calls else None,
            "outputScale": heat.scale if heat.calls else None,
        }


def _share(heat: Heat) -> float:
    return heat.difference / heat.scale if heat.scale else heat.difference


def unportable(signature: Signature, call_path: str) -> str:
    """Why no runtime but TensorFlow may execute a signature that it calls by ``call_path``; empty where one may."""
    if "variables" in call_path or "function" in call_path:
        return "TensorFlow runs it with its variables, which a call may change."
    if not signature.inputs:
        return "It has no inputs, so that nothing can be compared."
    for name, spec in (*signature.inputs.items(), *signature.outputs.items()):
        if spec.dtype is DType.STRING:
            return f"'{name}' is text, which only TensorFlow computes with."
        if spec.dtype.is_complex:
            return f"'{name}' holds complex numbers."
    return ""


def decide_all(
    native: RuntimeName, heats: Mapping[str, Sequence[Heat]], reasons: Mapping[str, str], *, fixed: bool = False
) -> dict[str, Decision]:
    """Who serves each signature: heats and reasons against racing by its name. See ``decide``.

    Where all but a few signatures leave TensorFlow, those few may leave it as well even if that makes them slower: one
    of them alone would keep all of it in memory.
    """
    decisions = {name: decide(native, heats.get(name, ()), why, fixed=fixed) for name, why in reasons.items()}
    stay = [name for name, decision in decisions.items() if decision.needs_native]
    if fixed or native is not RuntimeName.TENSORFLOW or not stay or len(stay) == len(decisions):
        return decisions
    wider = {name: decide(native, heats.get(name, ()), reasons[name], leave_at=1 / _WORTH_NATIVE) for name in stay}
    return decisions if any(decision.needs_native for decision in wider.values()) else decisions | wider


def decide(
    native: RuntimeName,
    heats: Sequence[Heat],
    reason: str = "",
    *,
    fixed: bool = False,
    leave_at: float | None = None,
) -> Decision:
    """Who serves the signature that ``heats`` are of.

    At most two runtimes share a signature: the fastest over all sizes, and another where it is clearly faster still.

    Args:
        native: the model's own runtime.
        heats: what was measured.
        reason: why nothing was, if so.
        fixed: whether the operator wants another runtime, whatever its speed.
        leave_at: how many times as fast the winner must be, over all sizes; None for what is usual.
    """
    fit = [heat for heat in heats if not heat.refused and heat.call_s and heat.engine is not None]
    # Those that were not timed at the same sizes cannot be compared.
    fit = [heat for heat in fit if heat.call_s.keys() == fit[0].call_s.keys()]
    best = max(fit, key=Heat.overall, default=None)
    if fixed:
        return Decision(native, () if best is None else ((_ANY_ROWS, best.entrant),), tuple(heats), reason)
    if leave_at is None:
        leave_at = _WORTH_LEAVING if native is RuntimeName.TENSORFLOW else _WORTH_LEAVING_LITERT
    if best is None or best.overall() < leave_at:
        best = None
    return Decision(native, _routes(best, fit), tuple(heats), reason)


def _routes(best: Heat | None, heats: Sequence[Heat]) -> tuple[tuple[int, Entrant | None], ...]:
    """``best`` for all sizes, or for all up to one, or from one on, where another is worth loading for the rest."""
    first = best.entrant if best is not None else None
    sizes = sorted({rows for heat in heats for rows in heat.call_s})
    others: list[Heat | None] = [heat for heat in heats if heat is not best]
    if best is not None:
        others.append(None)
    found: list[tuple[float, tuple[tuple[int, Entrant | None], ...]]] = []
    for other in others:
        enough = _WORTH_NATIVE if other is None else _WORTH_ANOTHER
        second = None if other is None else other.entrant
        gains = [_speed(other, rows) / _speed(best, rows) for rows in sizes]
        for border in range(1, len(sizes)):
            below = ((sizes[border - 1], second), (_ANY_ROWS, first))
            above = ((sizes[border - 1], first), (_ANY_ROWS, second))
            for part, routes in ((gains[:border], below), (gains[border:], above)):
                gain = math.prod(part)
                if min(part) >= 1 and gain ** (1 / len(part)) >= enough:
                    found.append((gain, routes))
    return max(found, key=lambda each: each[0])[1] if found else ((_ANY_ROWS, first),)


def _speed(heat: Heat | None, rows: int) -> float:
    """How many times faster than the model's own runtime, which None stands for; 0 where it was not timed."""
    if heat is None:
        return 1.0
    return heat.speedup(rows) if rows in heat.call_s else 0.0
