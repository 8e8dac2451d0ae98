"""Memory set aside for versions that are being loaded, within the machine's and the operator's limits.

Decides with ``budget.py`` what must go and has it unloaded. What must stay true: what one load evicts is gone before
the next one counts what there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tensorhost.core.errors import OutOfMemoryError
from tensorhost.core.ids import ModelId
from tensorhost.models.budget import Evictable, make_room
from tensorhost.models.catalog import Catalog
from tensorhost.models.records import VersionRecord, used_bytes
from tensorhost.telemetry import available_memory_bytes, get_logger

log = get_logger(__name__)


class Reservations:
    """Sets memory aside.

    Args:
        catalog: whose records count.
        budget_bytes: most bytes that loaded versions may take; None for no limit.
        evict: unloads an idle lazy version, for the reason given.
    """

    def __init__(
        self, catalog: Catalog, budget_bytes: int | None, evict: Callable[[ModelId, str], Awaitable[None]]
    ) -> None:
        self._catalog = catalog
        self._budget_bytes = budget_bytes
        self._evict = evict
        self._reserving = asyncio.Lock()

    async def reserve(self, record: VersionRecord, need_bytes: int, peak_bytes: int) -> None:
        """Set ``need_bytes`` aside for a load, instead of what was before, evicting idle lazy versions if need be.

        Args:
            record: what is to be loaded.
            need_bytes: what it will take once it is loaded.
            peak_bytes: the most it takes meanwhile.

        Raises:
            OutOfMemoryError: the machine has too little free, or the budget has no room.
        """
        if peak_bytes > available_memory_bytes():
            raise OutOfMemoryError(
                f"Loading '{record.id}' needs at least {peak_bytes} bytes, more than the machine has free.",
                details={"neededBytes": peak_bytes},
            )
        async with self._reserving:
            record.reserved_bytes = 0
            if not await self._make_room(need_bytes, record):
                used, budget = used_bytes(self._catalog.models.values()), self._budget_bytes
                raise OutOfMemoryError(
                    f"Loading '{record.id}' needs at least {need_bytes} bytes; {used} of a budget of {budget} are in "
                    "use.",
                    details={"neededBytes": need_bytes, "usedBytes": used, "budgetBytes": budget},
                )
            record.reserved_bytes = need_bytes

    async def shrink(self, record: VersionRecord) -> None:
        """Keep to the budget when a load took more than was foreseen."""
        async with self._reserving:
            fits = await self._make_room(0, record)
        if not fits:
            log.warning("over the memory budget", model=str(record.id), used=used_bytes(self._catalog.models.values()))

    async def _make_room(self, need_bytes: int, record: VersionRecord) -> bool:
        # Asked anew after each: what was idle may be in use by the time the one before it is gone.
        while going := self._to_evict(need_bytes, record):
            await self._evict(going[0], f"room for {record.id}")
        return going is not None

    def _to_evict(self, need_bytes: int, record: VersionRecord) -> list[ModelId] | None:
        models = self._catalog.models.values()
        evictable = [
            Evictable(other.id, other.memory_bytes, other.servable.last_used)
            for model in models
            for other in model.versions.values()
            if model.lazy and other.available and not (other.busy or other.pinned or other.waiters or other is record)
            if other.servable is not None and other.servable.leases == 0
        ]
        return make_room(
            need_bytes, used_bytes=used_bytes(models), budget_bytes=self._budget_bytes, evictable=evictable
        )
