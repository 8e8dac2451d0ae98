"""How long a call may take. A timeout becomes a deadline where the call begins, and travels as one. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tensorhost.client.errors import DeadlineExceededError, InvalidRequestError

LONGEST_TIMEOUT_MS = 24 * 3600 * 1000.0
"""What the server takes for ``timeoutMs``."""
_LEAST_TIMEOUT_MS = 0.001
"""What is told a server when nothing is left, which it would otherwise refuse as no time at all."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The end of a call with all its attempts.

    Attributes:
        ends_at: an instant on the monotonic clock, in seconds.
        timeout_s: what was allowed when the call began, for messages.
        is_told: whether the server is told what is left of it: where the caller set it for this call. A client's
            default is not, since it would overrule the server's own.
    """

    ends_at: float
    timeout_s: float
    is_told: bool

    @classmethod
    def of(cls, timeout_ms: float | None, default_s: float, now: float) -> TimeLimit:
        """The limit of a call that begins now.

        Raises:
            InvalidRequestError: ``timeout_ms`` is not above 0 and at most 24 hours.
        """
        if timeout_ms is None:
            return cls(now + default_s, default_s, is_told=False)
        if not 0 < timeout_ms <= LONGEST_TIMEOUT_MS:
            raise InvalidRequestError(
                "timeout_ms must be above 0 and at most 24 hours.", details={"field": "timeoutMs", "actual": timeout_ms}
            )
        return cls(now + timeout_ms / 1000, timeout_ms / 1000, is_told=True)

    def at_most(self, timeout_s: float, now: float) -> TimeLimit:
        """The same limit, or a nearer one ``timeout_s`` from now."""
        ends_at = min(self.ends_at, now + timeout_s)
        return TimeLimit(ends_at, ends_at - now, is_told=False)

    def remaining_s(self, now: float) -> float:
        """Seconds that are left, above 0.

        Raises:
            DeadlineExceededError: none is left.
        """
        left_s = self.ends_at - now
        if left_s <= 0:
            raise self.exceeded()
        return left_s

    def told_ms(self, now: float) -> float | None:
        """What to send as ``timeoutMs``, in milliseconds; None to send none."""
        if not self.is_told:
            return None
        return max(_LEAST_TIMEOUT_MS, math.floor((self.ends_at - now) * 1e6) / 1e3)

    def exceeded(self) -> DeadlineExceededError:
        """The error of a call that reached its end without an answer."""
        return DeadlineExceededError(f"There was no answer within {self.timeout_s * 1000:g} ms.")
