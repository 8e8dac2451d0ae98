"""Which records a process writes, as it may be changed while it runs."""

from __future__ import annotations

import logging

LARGEST_VERBOSITY = 2**32 - 1


class LogLevel:
    """The level of all records of this process.

    Args:
        verbosity: what a client gave as the verbosity of records for debugging, which all come or none; 0 for none.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self._verbosity = verbosity

    @property
    def level(self) -> int:
        """The least severe records that are written, as ``logging`` counts."""
        return logging.getLogger().level

    @property
    def verbosity(self) -> int:
        """0 where records for debugging are not written."""
        return self._verbosity if self.level <= logging.DEBUG else 0

    def set(self, level: int, verbosity: int) -> None:
        """Write records of ``level`` and above from now on."""
        self._verbosity = verbosity
        logging.getLogger().setLevel(level)
