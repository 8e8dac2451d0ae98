"""A race seen from the server: children run the heats, whatever becomes of them.

What must stay true: the race ends within its time; an entrant that crashes, hangs or swells loses that heat, and the
others still run; what a race costs, it never costs the model its load.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tensorhost.core.errors import LoadTimeoutError, OutOfMemoryError, ShuttingDownError, TensorhostError
from tensorhost.models.probe import Prober
from tensorhost.models.probe_messages import ProbeRequest, Stage
from tensorhost.models.race_messages import HeatMessage, RaceOrder
from tensorhost.runtimes.base import ModelFormat
from tensorhost.runtimes.race.entrants import entrants
from tensorhost.runtimes.race.verdict import Entrant, Heat
from tensorhost.telemetry import get_logger

_SHARE_FOR_BEGINNING = 0.5
"""Part of the time in which heats may begin: one that has begun needs time to end."""

log = get_logger(__name__)


def run_race(
    prober: Prober, request: ProbeRequest, model_format: ModelFormat, folder: Path, timeout_s: float
) -> tuple[list[Heat], str]:
    """Have every entrant try every signature. Blocks.

    Args:
        prober: runs the children.
        request: the model.
        model_format: its format.
        folder: where what is written for the entrants goes.
        timeout_s: the time there is.

    Returns the heats, and why there are no more; empty where all were run.

    Raises ShuttingDownError after the prober was closed.
    """
    run = _Run(entrants(model_format, request.options))
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        order = RaceOrder(folder, left_s * _SHARE_FOR_BEGINNING, tuple(run.over))
        try:
            prober.race(replace(request, race=order), left_s, run.hear)
        except ShuttingDownError:
            raise
        except TensorhostError as error:
            if run.lose(error):
                continue
            log.warning("no race between runtimes", path=str(request.path), reason=error.message)
            return run.heats, error.message
        return run.heats, ""
    return run.heats, "The time for the race was up (race_timeout_s)."


class _Run:
    """What has become of the heats so far."""

    def __init__(self, entrants: Sequence[Entrant]) -> None:
        self.heats: list[Heat] = []
        self._by_label: Mapping[str, Entrant] = {entrant.label: entrant for entrant in entrants}
        self._under_way: tuple[str, Entrant] | None = None

    @property
    def over(self) -> list[tuple[str, str]]:
        """Heats that are not to be run again."""
        return [(heat.signature, heat.entrant.label) for heat in self.heats]

    def hear(self, message: Stage | HeatMessage) -> None:
        """Note what a child tells."""
        if isinstance(message, Stage):
            entrant = self._by_label.get(message.entrant)
            self._under_way = None if entrant is None else (message.signature, entrant)
        elif (heat := message.heat()).entrant in self._by_label.values():
            self._under_way = None
            self.heats.append(heat)

    def lose(self, error: TensorhostError) -> bool:
        """The child is gone: the heat under way is lost. False where there was none, so that nobody is to blame."""
        if self._under_way is None:
            return False
        signature, entrant = self._under_way
        self._under_way = None
        transient = isinstance(error, OutOfMemoryError | LoadTimeoutError)
        self.heats.append(Heat(signature, entrant, refused=error.message, transient=transient))
        return True
