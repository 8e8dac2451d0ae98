"""Batch sizes that a runtime likes so much better that others are filled up to them. Pure.

Some runtimes prepare for every shape anew. Warm-up measures where filling up pays; here it is only looked up. The rows
added repeat the last one, so they are as valid as any, and their outputs are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """Batches of more than ``above`` and fewer than ``to`` rows are filled up to ``to``."""

    above: int
    to: int


def spans_to(sizes: Sequence[int]) -> tuple[Span, ...]:
    """Fill every batch up to the next of ``sizes``, which rise; larger ones stay as they are."""
    return tuple(Span(above, to) for above, to in pairwise((0, *sizes)))


class Padding:
    """Which batch sizes are filled up.

    Args:
        spans: none of them overlapping.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = tuple(sorted(spans))

    def padded(self, rows: int) -> int:
        """Rows of the call for a batch of ``rows``; at least as many."""
        for above, to in self._spans:
            if rows <= above:
                break
            if rows < to:
                return to
        return rows

    def below(self, rows: int) -> int:
        """The largest batch of at most ``rows`` that is not filled up."""
        return next((above for above, to in self._spans if above < rows < to), rows)
