"""The files of one request log: TFRecord files, full after so many records or bytes, of which the last are kept.

Blocks; belongs to the writer's thread. What must stay true: a file is never written to by two processes, never
overwritten, and has at most as many records as a warm-up file may have.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tensorhost.codecs.tfrecords import frame
from tensorhost.models.warmup_records import MOST_RECORDS

_SUFFIX = ".tfrecord"
_NAME = re.compile(r"-\d{8}T\d{6}Z-\d+-\d{6}\.tfrecord")
_IN_USE_S = 60.0
_MODE = 0o640
"""Requests may be nobody else's business."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """``size_bytes``: a file at least this large is full. ``files``: of one log, how many are kept; 0 for all."""

    size_bytes: int
    files: int


class LogFiles:
    """Where the records of one log go.

    Args:
        prefix: what the paths of its files begin with.
        limits: how large files become and how many stay.
        clock: seconds since the epoch.
    """

    def __init__(self, prefix: Path, limits: FileLimits, clock: Callable[[], float] = time.time) -> None:
        self._prefix = prefix
        self._limits = limits
        self._clock = clock
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._records = self._bytes = self._made = 0

    def write(self, records: Sequence[bytes]) -> None:
        """Append ``records``; when this returns, other programs see them. Raises OSError."""
        try:
            for record in records:
                file = self._current()
                framed = frame(record)
                file.write(framed)
                self._records += 1
                self._bytes += len(framed)
            if self._file is not None:
                self._file.flush()
        except OSError:
            # What is in the file may end inside a record: nothing is to follow that.
            self._leave()
            raise

    def pause(self) -> None:
        """Close the file for now; the next record goes on in it. Raises OSError."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _current(self) -> BinaryIO:
        if self._path is not None and (self._records >= MOST_RECORDS or self._bytes >= self._limits.size_bytes):
            self.pause()
            self._path = None
        if self._file is None:
            self._file = self._open()
        return self._file

    def _open(self) -> BinaryIO:
        if self._path is not None and self._path.is_file():
            return self._path.open("ab")
        self._prefix.parent.mkdir(parents=True, exist_ok=True)
        self._made += 1
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        self._path = self._prefix.with_name(f"{self._prefix.name}-{at}-{os.getpid()}-{self._made:06d}{_SUFFIX}")
        self._records = self._bytes = 0
        file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")
        self._remove_old()
        return file

    def _leave(self) -> None:
        """Have the next record begin a new file."""
        file, self._file, self._path = self._file, None, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return  # what it still held cannot be written, as was said already

    def _remove_old(self) -> None:
        if not self._limits.files:
            return
        begin = self._prefix.name
        # Their names are in the order of their making.
        ours = sorted(
            path
            for path in self._prefix.parent.iterdir()
            if path.name.startswith(begin) and _NAME.fullmatch(path.name[len(begin) :])
        )
        for path in ours[: -self._limits.files]:
            # Another process may be writing to it, or have removed it.
            with contextlib.suppress(FileNotFoundError):
                if self._clock() - path.stat().st_mtime > _IN_USE_S:
                    path.unlink()
