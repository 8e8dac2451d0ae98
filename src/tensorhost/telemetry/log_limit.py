"""Keeps a library from filling the log: of records that say the same, one in a while, and then how many there were."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_EVERY_S = 60.0
_MAX_KINDS = 100


class LogLimit(logging.Filter):
    """Lets one record of each kind pass every ``every_s`` seconds; a kind is a logger and its message's template.

    The record that passes after others were held back says how many.
    """

    def __init__(self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` passes."""
        now, kind = self._clock(), (record.name, str(record.msg))
        passed_at, held_back = self._passed.get(kind, (float("-inf"), 0))
        if now - passed_at < self._every_s:
            self._passed[kind] = passed_at, held_back + 1
            return False
        if len(self._passed) >= _MAX_KINDS:
            self._passed.clear()
        self._passed[kind] = now, 0
        if held_back:
            record.held_back = held_back
        return True
