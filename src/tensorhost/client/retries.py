"""Whether and when a failed call is made again.

Waits grow exponentially and are drawn at random between nothing and their bound ("full jitter"), so that clients that
failed together do not come back together. What the server asks for in Retry-After comes on top of that, and whoever
asks for more than is sensible is not waited for at all. The loop itself is tenacity's, the decisions are here.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from tenacity import RetryCallState, sleep_using_event
from tenacity.wait import wait_random_exponential

from tensorhost.client.calls import Call, Repeat
from tensorhost.client.errors import (
    ClientError,
    ConnectionBrokenError,
    ModelNotReadyError,
    ServerUnreachableError,
    TlsError,
    UnavailableError,
)

_TRANSIENT_STATUSES = frozenset({429, 503})
_FINAL_STATES = frozenset({"UNLOADING", "END"})
"""Of a version that nobody is about to load: it was unloaded, or given up on."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A call that has failed and will be made again.

    Attributes:
        number: 1 for the first repetition.
        limit: how many repetitions there may be.
        wait_s: seconds until then.
        error: what the last attempt failed with.
    """

    number: int
    limit: int
    wait_s: float
    error: ClientError


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently calls are made again.

    Attributes:
        limit: repetitions after the first attempt; 0 for none.
        first_wait_s: bound of the first wait, in seconds; it doubles with each.
        longest_wait_s: bound of all waits.
        longest_retry_after_s: a server that asks to be left alone for longer is not waited for: the call fails at once.
        on_retry: told before each wait; on the thread of the call.

    Raises:
        ValueError: a number below 0.
    """

    limit: int = 3
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    longest_retry_after_s: float = 30.0
    on_retry: Callable[[Retry], None] | None = None

    def __post_init__(self) -> None:
        if not (self.limit >= 0 and min(self.first_wait_s, self.longest_wait_s, self.longest_retry_after_s) >= 0):
            raise ValueError("Retries takes no number below 0.")

    def rules(self, call: Call, sleep: Callable[[float], Awaitable[None] | None]) -> dict[str, Any]:
        """The keywords of a tenacity loop that makes ``call``; what it raises is the last attempt's own error."""
        backoff = wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s)

        def wait_s(state: RetryCallState) -> float:
            return backoff(state) + (_asked_s(_error_of(state)) or 0.0)

        def is_over(state: RetryCallState) -> bool:
            return (
                state.attempt_number > self.limit
                or (_asked_s(_error_of(state)) or 0.0) > self.longest_retry_after_s
                or monotonic() + state.upcoming_sleep >= call.limit.ends_at
            )

        def tell(state: RetryCallState) -> None:
            error = _error_of(state)
            if self.on_retry is not None and isinstance(error, ClientError):
                self.on_retry(Retry(state.attempt_number, self.limit, state.upcoming_sleep, error))

        return {
            "sleep": sleep,
            "retry": lambda state: may_repeat(call.repeat, _error_of(state)),
            "wait": wait_s,
            "stop": is_over,
            "before_sleep": tell,
            "reraise": True,
        }


def may_repeat(repeat: Repeat, error: BaseException | None) -> bool:
    """Whether a call that failed with ``error`` may be made again."""
    if repeat is Repeat.NEVER or not isinstance(error, ClientError) or isinstance(error, TlsError):
        return False
    if isinstance(error, ServerUnreachableError):
        return repeat is Repeat.IF_TRANSIENT or not isinstance(error, ConnectionBrokenError)
    is_transient = error.http_status in _TRANSIENT_STATUSES or isinstance(error, UnavailableError)
    if isinstance(error, ModelNotReadyError) and error.details.get("state") in _FINAL_STATES:
        return False
    return repeat is Repeat.IF_TRANSIENT and is_transient


def interruptible(stopped: threading.Event) -> Callable[[float], None]:
    """A sleep that ends when ``stopped`` is set."""
    return sleep_using_event(stopped)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _asked_s(error: BaseException | None) -> float | None:
    return error.retry_after_s if isinstance(error, ClientError) else None
