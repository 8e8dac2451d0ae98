"""The thread that writes request logs, and the bounded queue before it.

The event loop hands records over and never waits for a disk. What must stay true: what waits has a limit in bytes, a
record beyond it is dropped and counted, and every record that was taken is reported once, as written or as failed.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tensorhost.frontends.tfserving.request_log.files import FileLimits, LogFiles
from tensorhost.telemetry import get_logger

MOST_WAITING_BYTES = 64 * 2**20
_IDLE_S = 10.0

log = get_logger(__name__)


class Record(NamedTuple):
    """One record: whose it is, the log it belongs to, and its bytes."""

    model: str
    prefix: Path
    data: bytes


Report = Callable[[str, str, int], None]
"""Called on the writer's thread with a model, an outcome (``written`` or ``failed``) and how many records."""


class LogWriter:
    """Writes records to the files of their logs. Constructing is free; the first record starts the thread.

    Args:
        limits: of the files.
        report: told what became of records.
    """

    def __init__(self, limits: FileLimits, report: Report) -> None:
        self._limits = limits
        self._report = report
        self._wake = threading.Condition()
        self._waiting: deque[Record] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._logs: dict[Path, LogFiles] = {}
        self._failing: set[Path] = set()

    def put(self, record: Record) -> bool:
        """Have ``record`` written. False, and nothing else, where too much waits already or the writer is closing."""
        size_bytes = len(record.data)
        with self._wake:
            if self._closing or self._waiting_bytes + size_bytes > MOST_WAITING_BYTES:
                return False
            self._waiting.append(record)
            self._waiting_bytes += size_bytes
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
                self._thread.start()
            self._wake.notify()
        return True

    def close(self, timeout_s: float | None = None) -> None:
        """Write what waits, then stop; give up after ``timeout_s``. Blocks."""
        with self._wake:
            self._closing = True
            thread = self._thread
            self._wake.notify()
        if thread is not None:
            thread.join(timeout_s)
            if thread.is_alive():
                log.warning("request logs were not written to the end")

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                is_idle = not self._wake.wait_for(lambda: self._waiting or self._closing, _IDLE_S)
                taken = list(self._waiting)
                self._waiting.clear()
                is_last = self._closing
            if taken:
                self._write(taken)
                with self._wake:
                    self._waiting_bytes -= sum(len(record.data) for record in taken)
            if is_idle or is_last:
                self._pause()
            if is_last and not taken:
                return

    def _write(self, taken: list[Record]) -> None:
        by_log: defaultdict[Path, list[Record]] = defaultdict(list)
        for record in taken:
            by_log[record.prefix].append(record)
        for prefix, records in by_log.items():
            files = self._logs.get(prefix) or self._logs.setdefault(prefix, LogFiles(prefix, self._limits))
            try:
                files.write([record.data for record in records])
            except OSError as error:
                self._note_failure(prefix, error)
                outcome = "failed"
            else:
                self._failing.discard(prefix)
                outcome = "written"
            for model, count in Counter(record.model for record in records).items():
                self._report(model, outcome, count)

    def _note_failure(self, prefix: Path, error: OSError) -> None:
        """Say it once, until writing works again."""
        if prefix not in self._failing:
            log.error("a request log cannot be written", prefix=str(prefix), reason=error.strerror or str(error))
        self._failing.add(prefix)

    def _pause(self) -> None:
        for prefix, files in self._logs.items():
            try:
                files.pause()
            except OSError as error:
                self._note_failure(prefix, error)
