"""A race seen from the server: children run the heats, whatever becomes of them.

What must stay true: the race ends within its time; an entrant that crashes, hangs or swells loses that heat, and the
others still run; what a race costs, it never costs the model its load.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorhost.core.errors import ShuttingDownError, TensorhostError
from tensorhost.models.probe import Prober
from tensorhost.models.probe_messages import FirstRuns, ProbeRequest, Stage
from tensorhost.models.race_messages import HeatMessage, RaceOrder
from tensorhost.runtimes.base import LoadOptions, ModelFormat
from tensorhost.runtimes.race.entrants import entrants
from tensorhost.runtimes.race.verdict import Entrant, Heat
from tensorhost.telemetry import get_logger

_SHARE_FOR_BEGINNING = 0.5
"""Part of the time in which heats may begin: one that has begun needs time to end."""

log = get_logger(__name__)


def run_race(
    prober: Prober,
    path: Path,
    model_format: ModelFormat,
    options: LoadOptions,
    runs: FirstRuns,
    folder: Path,
    timeout_s: float,
) -> list[Heat]:
    """Have every entrant try every signature; what is written for them goes to ``folder``. Blocks.

    Raises ShuttingDownError after the prober was closed. Any other failure is the reason of a heat, or of there being
    none.
    """
    run = _Run(entrants(model_format, options))
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        order = RaceOrder(folder, left_s * _SHARE_FOR_BEGINNING, tuple(run.over))
        try:
            prober.race(ProbeRequest(path, options, runs, order), left_s, run.hear)
        except ShuttingDownError:
            raise
        except TensorhostError as error:
            if not run.lose(error):
                log.warning("no race between runtimes", path=str(path), reason=error.message)
                break
            continue
        break
    return run.heats


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
        self.heats.append(Heat(signature, entrant, refused=error.message))
        return True
