"""Version numbers of other protocols (int64) and our names of versions: which name a number means, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from tensorhost.core.ids import version_key

LARGEST = 2**63 - 1
"""The highest number a version can have."""

_NUMBERED = re.compile(r"v?([0-9]{1,64})", re.ASCII)


@lru_cache(maxsize=1024)
def number_of(version: str) -> int | None:
    """The number by which such clients know a version: 3 for ``3``, ``v3`` and ``0003``.

    None for a version that is no number, such as ``1.2.0``: it answers as the newest or by a label.
    """
    match = _NUMBERED.fullmatch(version)
    if match is None:
        return None
    number = int(match[1])
    return number if number <= LARGEST else None


def name_for(number: int, versions: Iterable[str]) -> str | None:
    """The one of ``versions`` that ``number`` means; None where there is none.

    Of several names for one number the plain one, else the last in natural order.
    """
    plain = str(number)
    same = [version for version in versions if number_of(version) == number]
    if plain in same:
        return plain
    return max(same, key=version_key, default=None)
