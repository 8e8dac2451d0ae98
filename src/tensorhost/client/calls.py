"""One HTTP exchange as a value: what is asked, what counts as an answer, and when it may be asked again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import quote

from tensorhost.client.answers import Answer
from tensorhost.client.errors import InvalidRequestError
from tensorhost.client.limits import TimeLimit
from tensorhost.core.errors import InvalidRequestError as InvalidNameError
from tensorhost.core.ids import check_name


class Repeat(Enum):
    """When a failed call may be made again."""

    NEVER = auto()
    """The first outcome is what was asked for."""
    IF_UNSENT = auto()
    """It changes the server, so only where the request provably never left."""
    IF_TRANSIENT = auto()
    """It changes nothing: whenever waiting may help."""


def _nothing() -> None:
    return None


def _anything(_answer: Answer) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Call:
    """One request, with as many attempts as its retries and its limit allow.

    Attributes:
        method, path: of the route; the path lies under the server's base URL.
        limit: the end of all attempts together.
        content: the body of the next attempt, a JSON object with at least one key; None for a request without.
        check: looks at an answer; raises ClientError where it is none, which may be retried like any other failure.
        repeat: when it may be made again.
        accepted: HTTP statuses that are answers.
        takes_timeout: whether the route knows ``timeoutMs``.
    """

    method: str
    path: str
    limit: TimeLimit
    content: Callable[[], bytes | None] = _nothing
    check: Callable[[Answer], None] = _anything
    repeat: Repeat = Repeat.IF_TRANSIENT
    accepted: frozenset[int] = frozenset({200})
    takes_timeout: bool = False

    def body(self, now: float) -> bytes | None:
        """The body of an attempt that begins now, told what time is left."""
        content = self.content()
        told_ms = self.limit.told_ms(now) if self.takes_timeout else None
        if content is None or told_ms is None:
            return content
        return b'{"timeoutMs":%s,%s' % (repr(told_ms).encode(), content[1:])


def model_path(model: str, version: str | None = None) -> str:
    """The path of a model's routes.

    Raises:
        InvalidRequestError: a name that no model or version can have; nothing else ever becomes part of a URL.
    """
    try:
        path = f"/models/{quote(check_name(model), safe='')}"
        return path if version is None else f"{path}/versions/{quote(check_name(version, 'version'), safe='')}"
    except InvalidNameError as error:
        raise InvalidRequestError(error.message, details=error.details) from None
