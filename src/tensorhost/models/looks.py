"""Looking at where the models lie, and having the catalog take over what is there.

What must stay true: one look at a time, so that what an earlier one saw is not taken over after what a later one saw;
nothing is loaded or unloaded here.
"""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

from tensorhost.models.base_paths import BasePaths
from tensorhost.models.catalog import Catalog
from tensorhost.models.listed import ModelList, check_list
from tensorhost.models.origins import Origin, Repository
from tensorhost.models.replacement import Replacement
from tensorhost.models.repository import Look, ModelOnDisk, Scan, describe_path
from tensorhost.models.sources import local_path
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector

SHORTEST_PAUSE_S = 0.1


class Looks:
    """The looks of one manager.

    Args:
        catalog: what takes over what is seen.
        settings: when files count as copied, and how often to look.
        metrics: forgets the versions that are gone for good.
        origin: where the models come from at first; None for nowhere.
    """

    def __init__(self, catalog: Catalog, settings: Settings, metrics: MetricsCollector, origin: Origin | None) -> None:
        self.origin = origin
        self.has_looked = False
        self._catalog = catalog
        self._settings = settings
        self._metrics = metrics
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """See what is there now."""
        async with self._looking:
            if self.origin is not None:
                self._absorb(self.origin, await self._scan(self.origin))

    async def replace(self, models: ModelList, *, labels_may_wait: bool) -> Replacement:
        """Look at a list of models from now on; what that changes.

        Raises InvalidRequestError or LabelNotReadyError, as ``ModelManager.replace_models``; then nothing changes.
        """
        check_list(models)
        paths = BasePaths(models)
        async with self._looking:
            found = await self._scan(paths)
            replacement = Replacement(self._catalog, paths, found, labels_may_wait=labels_may_wait)
            self.origin = paths
            self._catalog.enlist(replacement.changed)
            self._absorb(paths, found)
        return replacement

    async def describe(self, source: str | Path) -> ModelOnDisk:
        """The one model at a path or ``file://`` URL. Raises InvalidRequestError where there is not exactly one."""
        prefer_tflite = self._settings.prefer_tflite
        return await asyncio.to_thread(
            describe_path, local_path(source), now=time.time(), settle_s=0.0, prefer_tflite=prefer_tflite
        )

    def pause_s(self) -> float:
        """Seconds until the next look. Files that have just been copied are waited for even without polling."""
        poll_s = self._settings.poll_interval_s or math.inf
        if any(record.on_disk.settling for record in self._catalog.records()):
            return min(poll_s, max(self._settings.settle_s / 2, SHORTEST_PAUSE_S))
        return poll_s

    async def _scan(self, origin: Origin) -> Scan:
        look = Look(time.time(), self._settings.settle_s, self._settings.prefer_tflite)
        return await asyncio.to_thread(origin.scan, look)

    def _absorb(self, origin: Origin, found: Scan) -> None:
        if isinstance(origin, Repository) and not found.readable:
            self._catalog.unreadable(origin.root)
            return
        for gone in self._catalog.absorb(found):
            self._metrics.forget(*gone)
        self.has_looked = True
