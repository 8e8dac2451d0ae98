"""The last errors that clients were answered with, for whoever looks at the server and not at its log.

Written by the event loop's thread; any thread may read. What must stay true: their number has a limit, and so has the
length of whatever a client chose.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

MAX_ERRORS = 100
_MAX_NAME = 128
_MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class RecentError:
    """One answer that was an error.

    Attributes:
        at: Unix time in seconds.
        request_id: the id the client was given, which the log has too.
        method, path: of the request.
        status: the HTTP status.
        code: the error's code.
        message: what the client was told.
        model, version: what the request named, as it named it; None where it named none.
    """

    at: float
    request_id: str
    method: str
    path: str
    status: int
    code: str
    message: str
    model: str | None = None
    version: str | None = None


class RecentErrors:
    """The last ``MAX_ERRORS`` errors of this process."""

    def __init__(self) -> None:
        self._errors: deque[RecentError] = deque(maxlen=MAX_ERRORS)

    def add(
        self,
        *,
        request_id: str,
        method: str,
        path: str,
        status: int,
        code: str,
        message: str,
        model: str | None = None,
        version: str | None = None,
    ) -> None:
        """Note an error that happened now."""
        self._errors.append(
            RecentError(
                time.time(),
                request_id,
                _plain(method),
                _plain(path),
                status,
                code,
                _plain(message, _MAX_MESSAGE),
                None if model is None else _plain(model),
                None if version is None else _plain(version),
            )
        )

    def newest_first(self) -> tuple[RecentError, ...]:
        """The errors kept."""
        return newest(self._errors.copy())


def _plain(text: str, limit: int = _MAX_NAME) -> str:
    """``text`` cut to ``limit``, and without the halves of characters that JSON cannot carry."""
    return text[:limit].encode(errors="replace").decode()


def newest(errors: Iterable[RecentError]) -> tuple[RecentError, ...]:
    """The latest ``MAX_ERRORS`` of ``errors``, the newest first."""
    return tuple(sorted(errors, key=lambda error: error.at, reverse=True)[:MAX_ERRORS])
