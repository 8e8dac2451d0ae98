"""Whether a load fits in memory, and what must go to make room. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tensorhost.core.ids import ModelId


@dataclass(frozen=True, slots=True)
class Evictable:
    """An idle version that may be unloaded and loaded again at its next request."""

    id: ModelId
    memory_bytes: int
    last_used: float


def make_room(
    need_bytes: int, *, used_bytes: int, budget_bytes: int | None, evictable: Iterable[Evictable]
) -> list[ModelId] | None:
    """Versions to unload, least recently used first, so that ``need_bytes`` fit; None when they cannot.

    Args:
        need_bytes: what the version to be loaded is expected to take.
        used_bytes: what is loaded or being loaded.
        budget_bytes: the limit; None for none.
        evictable: what may go.
    """
    if budget_bytes is None or used_bytes + need_bytes <= budget_bytes:
        return []
    going: list[ModelId] = []
    for candidate in sorted(evictable, key=lambda version: version.last_used):
        going.append(candidate.id)
        used_bytes -= candidate.memory_bytes
        if used_bytes + need_bytes <= budget_bytes:
            return going
    return None
