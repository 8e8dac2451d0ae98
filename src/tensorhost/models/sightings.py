"""What earlier looks at the repository saw, so that a model nobody has touched is not read again.

Reading a model's settings and files takes twenty times as long as asking the system whether they have changed, and a
repository of a thousand models is looked at every two seconds. What must stay true: a model is only taken as seen when
it was sound and every file and folder of it is the same by inode, size and times; where that cannot be told for
certain, because something changed a moment ago or a folder is a link, it is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_CERTAIN_AFTER_S = 2.0
"""Two changes within the file system's resolution of time have one time, so a fresh one proves nothing."""


@dataclass(slots=True)
class Sightings(Generic[T]):
    """The last look's finds by path. One look at a time uses it, between ``begin`` and ``end``."""

    _last: dict[Path, tuple[bytes, T]] = field(default_factory=dict)
    _current: dict[Path, tuple[bytes, T]] = field(default_factory=dict)

    def begin(self) -> None:
        """A new look begins."""
        self._current = {}

    def end(self) -> None:
        """The look is over: what it did not come to is forgotten."""
        self._last, self._current = self._current, {}

    def find(self, path: Path, now: float, look: Callable[[], T], is_sound: Callable[[T], bool]) -> T:
        """What the last look found at ``path``, if it is the same still; else what ``look`` finds.

        Args:
            path: a model's folder or file.
            now: seconds since the epoch.
            look: reads what is there. What changes while it reads is read again by the next look.
            is_sound: whether a find may be kept.
        """
        mark = _mark(path, now)
        known = self._last.get(path)
        found = known[1] if known is not None and known[0] == mark else look()
        if mark is not None and is_sound(found):
            self._current[path] = (mark, found)
        return found


def _mark(path: Path, now: float) -> bytes | None:
    """Differs when anything under ``path`` differs; None where that is not certain."""
    digest = hashlib.blake2b(digest_size=16)
    newest_s = 0.0
    rest = [os.fspath(path)]
    try:
        while rest:
            entry = rest.pop()
            status = os.stat(entry)  # noqa: PTH116 - half the time of Path.stat, which is what this is about
            newest_s = max(newest_s, status.st_ctime, status.st_mtime)
            facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(f"{entry}\0{facts}\n".encode("utf-8", "surrogateescape"))
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(entry) as children:
                    names = sorted(children, key=lambda child: child.name)
                if any(child.is_symlink() and child.is_dir() for child in names):
                    return None  # what it leads to may lead back here
                rest += [child.path for child in names]
    except OSError:
        return None
    return digest.digest() if newest_s < now - _CERTAIN_AFTER_S else None
