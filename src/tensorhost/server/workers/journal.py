"""What operators have asked for since the start, and how to take back what only some workers could do. Pure.

A worker that takes another's place is given the journal, so that it comes to the same state. Of several wishes about
the same version only the last matters, and the last that named a path, which says what the version is; so the journal
grows with the versions there are, not with the calls.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from tensorhost.models.wishes import Action, Wish

_Key = tuple[str, str | None, str | None]


class Journal:
    """Wishes in the order in which they were last expressed."""

    def __init__(self) -> None:
        self._wishes: list[Wish] = []

    def add(self, wish: Wish) -> None:
        """Note a wish that workers are about to carry out."""
        self._wishes = [
            other
            for other in self._wishes
            if _about(other) != _about(wish) or (other.source is not None and wish.source is None)
        ]
        self._wishes.append(wish)

    def wishes(self) -> tuple[Wish, ...]:
        """What a new worker is to take up, in this order."""
        return tuple(self._wishes)


def undo(wish: Wish, earlier: Sequence[Wish], added: Collection[str]) -> list[Wish]:
    """What takes back a load, or a label's move, that failed on some workers only.

    Args:
        wish: the load or the move.
        earlier: the journal before it.
        added: versions that serve on some worker and did not before.
    """
    if wish.action is Action.LABEL:
        before = [other for other in earlier if _about(other) == _about(wish)]
        return before or [replace(wish, version=None)]
    same = [other for other in earlier if _about(other) == _about(wish) and other.source is not None]
    if wish.source is not None and same and not added:
        # Other files may have taken the place of those that served.
        return same
    return [Wish(Action.UNLOAD, wish.name, version) for version in sorted(added)]


def _about(wish: Wish) -> _Key:
    if wish.action is Action.LABEL:
        return wish.name, None, wish.label or ""
    return wish.name, wish.version, None
