"""Who of several workers may do what only one need do at a time, or at all. Pure.

A claim on a key is granted to as many at once as the key allows. Whoever gives it back with a result gives it to all
that wait; without one, the next in line is granted it. Keys of an exclusive kind (the kind is a key's first word) are
granted to one worker at a time, so that what it has prepared for the first serves the others. What must stay true: a
claim is granted at most once, and what an ended worker held is granted to others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClaimId:
    """One claim: whose, and its number there."""

    worker: int
    number: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A claim that is granted now; with a ``result``, there is nothing left to do."""

    claim: ClaimId
    result: str | None = None


@dataclass(slots=True)
class _Key:
    holding: set[ClaimId] = field(default_factory=set)
    waiting: deque[ClaimId] = field(default_factory=deque)


class Claims:
    """Claims of several workers.

    Args:
        capacity: how many may hold the named keys at once; one may hold any other.
        exclusive: kinds of keys that only one worker at a time may hold.
        keep_chars: characters of results that are kept for later claims, the newest first.
    """

    def __init__(
        self,
        capacity: Mapping[str, int] | None = None,
        exclusive: Collection[str] = (),
        keep_chars: int = 64 * 2**20,
    ) -> None:
        self._capacity = capacity or {}
        self._exclusive = exclusive
        self._keep_chars = keep_chars
        self._keys: dict[str, _Key] = {}
        self._key_of: dict[ClaimId, str] = {}
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._kept_chars = 0

    def claim(self, claim: ClaimId, key: str) -> list[Grant]:
        """Claim ``key``; the grants that follow, this one's among them if it need not wait."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return [Grant(claim, self._kept[key])]
        self._key_of[claim] = key
        self._keys.setdefault(key, _Key()).waiting.append(claim)
        return self._next(key)

    def release(self, claim: ClaimId, result: str | None = None, *, keep: bool = False) -> list[Grant]:
        """Give a claim back, held or waiting; the grants that follow. An unknown one is ignored.

        A ``result`` settles all claims that wait, and, if kept, those to come.
        """
        key = self._key_of.get(claim)
        if key is None:
            return []
        state = self._keys[key]
        settled: list[ClaimId] = []
        if result is not None and claim in state.holding:
            if keep:
                self._keep(key, result)
            settled = list(state.waiting)
            state.waiting.clear()
            for each in settled:
                del self._key_of[each]
        return [Grant(each, result) for each in settled] + self._drop([claim])

    def lost(self, worker: int) -> list[Grant]:
        """Drop all claims of a worker that has ended; the grants that follow."""
        return self._drop([claim for claim in self._key_of if claim.worker == worker])

    def _drop(self, claims: Iterable[ClaimId]) -> list[Grant]:
        touched: dict[str, None] = {}
        for claim in claims:
            key = self._key_of.pop(claim)
            self._keys[key].holding.discard(claim)
            if claim in self._keys[key].waiting:
                self._keys[key].waiting.remove(claim)
            touched[key] = None
            if _kind(key) in self._exclusive:
                touched |= dict.fromkeys(other for other in self._keys if _kind(other) == _kind(key))
        return [grant for key in touched for grant in self._next(key)]

    def _next(self, key: str) -> list[Grant]:
        state = self._keys[key]
        granted: list[Grant] = []
        while len(state.holding) < self._capacity.get(key, 1):
            claim = next((claim for claim in state.waiting if self._may_hold(claim, key)), None)
            if claim is None:
                break
            state.waiting.remove(claim)
            state.holding.add(claim)
            granted.append(Grant(claim))
        if not (state.holding or state.waiting):
            del self._keys[key]
        return granted

    def _may_hold(self, claim: ClaimId, key: str) -> bool:
        kind = _kind(key)
        return kind not in self._exclusive or all(
            other.worker == claim.worker
            for other_key, state in self._keys.items()
            if _kind(other_key) == kind
            for other in state.holding
        )

    def _keep(self, key: str, result: str) -> None:
        self._kept_chars += len(result) - len(self._kept.pop(key, ""))
        self._kept[key] = result
        while self._kept_chars > self._keep_chars:
            _, oldest = self._kept.popitem(last=False)
            self._kept_chars -= len(oldest)


def _kind(key: str) -> str:
    return key.partition(" ")[0]
