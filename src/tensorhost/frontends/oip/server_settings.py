"""The trace and logging extensions: settings as clients read them, and the few that they may change.

What must stay true: nothing a client sends names a file, and nothing it sends is ignored: a setting that cannot be what
it asks for is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from tensorhost.core.errors import InvalidRequestError
from tensorhost.frontends.oip import faults
from tensorhost.inference import Group
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger
from tensorhost.telemetry.log_level import LARGEST_VERBOSITY

LogSetting: TypeAlias = bool | int | str
TraceSetting: TypeAlias = str | list[str]

_LEVELS = ("log_error", "log_warning", "log_info")
"""What a record can be, the most severe first; the level shown includes all before it."""
_LEVEL_OF = {0: logging.CRITICAL, 1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO}
_FIXED = ("log_file", "log_format")

log = get_logger(__name__)


class ServerSettings:
    """Reads and changes what clients may.

    Args:
        settings: whether requests are traced, and how records are written.
        group: all processes of the server.
    """

    def __init__(self, settings: Settings, group: Group) -> None:
        self._settings = settings
        self._group = group
        self._log_level = group.state.log_level

    def trace(self) -> dict[str, TraceSetting]:
        """The trace settings, which are the same for every model; all values are texts, as clients expect."""
        traces = self._settings.tracing
        return {
            "trace_level": ["TIMESTAMPS"] if traces else ["OFF"],
            "trace_rate": "1" if traces else "1000",
            "trace_count": "-1",
            "log_frequency": "0",
            "trace_file": "",
            "trace_mode": "opentelemetry" if traces else "triton",
        }

    def update_trace(self, wanted: Mapping[str, TraceSetting | None]) -> dict[str, TraceSetting]:
        """The trace settings, where ``wanted`` asks for what they are, or (None) for the server's own.

        Raises InvalidRequestError for any other: traces go where the server's operator has said.
        """
        present = self.trace()
        for name, value in wanted.items():
            if name not in present:
                raise faults.unknown_setting(name, present)
            same = value is None or value == present[name] or [value] == present[name]
            if not same:
                raise faults.fixed_setting(name, "tracing is set where the server is started")
        return present

    def logging(self) -> dict[str, LogSetting]:
        """The logging settings. ``log_file`` is empty, since records go to standard error."""
        level = self._log_level.level
        return {
            "log_file": "",
            "log_info": level <= logging.INFO,
            "log_warning": level <= logging.WARNING,
            "log_error": level <= logging.ERROR,
            "log_verbose_level": self._log_level.verbosity,
            "log_format": "default",
        }

    async def update_logging(self, wanted: Mapping[str, LogSetting | None]) -> dict[str, LogSetting]:
        """Change which records all processes write; the settings as they are then.

        ``log_info``, ``log_warning``, ``log_error`` and ``log_verbose_level`` may change: with the level from 1 records
        for debugging are written too. A record is written where those more severe are. None stands for what is.

        Raises InvalidRequestError: a setting that there is not, or that cannot be as wanted; nothing has changed.
        """
        present = self.logging()
        changed = {name: value for name, value in wanted.items() if value is not None}
        for name, value in changed.items():
            _check(name, value, present)
        changed = {name: value for name, value in changed.items() if value != present[name]}
        if not changed:
            return present
        level = _level(present | changed, changed)
        await self._group.set_log_level(level, int(changed.get("log_verbose_level", 0)))
        log.warning("log level changed", level=logging.getLevelName(level).lower())
        return self.logging()


def _check(name: str, value: LogSetting, present: Mapping[str, LogSetting]) -> None:
    if name not in present:
        raise faults.unknown_setting(name, present)
    if name in _FIXED:
        if value != present[name]:
            raise faults.fixed_setting(name, "it is set where the server is started")
    elif name == "log_verbose_level":
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_VERBOSITY:
            raise faults.invalid_parameter(name, "a whole number that is not negative")
    elif not isinstance(value, bool):
        raise faults.invalid_parameter(name, "true or false")


def _level(wanted: Mapping[str, LogSetting], changed: Mapping[str, LogSetting]) -> int:
    """The level under which just the kinds of records that are wanted are written."""
    if wanted["log_verbose_level"]:
        if not all(wanted[name] for name in _LEVELS):
            raise _contradiction(changed)
        return logging.DEBUG
    shown: Sequence[bool] = [bool(wanted[name]) for name in _LEVELS]
    count = shown.index(False) if False in shown else len(shown)
    if any(shown[count:]):
        raise _contradiction(changed)
    return _LEVEL_OF[count]


def _contradiction(changed: Mapping[str, LogSetting]) -> InvalidRequestError:
    return faults.fixed_setting(next(iter(changed)), "records are written where those more severe are")
