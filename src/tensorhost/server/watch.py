"""What a connection waits for from its client, and until when. Pure: times go in, verdicts come out.

Two clocks run. The deadline belongs to the phase; the other one starts whenever bytes wait in the send buffer and
starts again each time the client has read some of them. A body's deadline moves only when a full share of it has
arrived, not with every byte, so that a client cannot hold a body by sending a trickle.
"""

from __future__ import annotations

import enum
import math

from tensorhost.server.registry import Limits

_BODY_BYTES_PER_S = 65_536
_PARTING_STALL_S = 1.0
_PARTING_TOTAL_S = 5.0


class Phase(enum.IntEnum):
    """What the connection waits for."""

    IDLE = 0  # the first byte of a request
    HEAD = 1  # the rest of a head
    BODY = 2  # the rest of a body
    WAITING = 3  # nothing: a whole request is being answered
    PARTING = 4  # that the client reads the last answer and closes


class Verdict(enum.Enum):
    """What to do with a connection."""

    KEEP = "time is left"
    CLOSE = "idle for too long"
    HEAD_LATE = "the head took too long"
    BODY_LATE = "the body arrives too slowly"
    ABORT = "the client does not read, or does not leave"


# Names of their own: looking a member up on its Enum takes ten times as long, and every request does so often.
_BODY, _PARTING = Phase.BODY, Phase.PARTING

# Both tables are indexed by phase, in its order.
_VERDICTS = (Verdict.CLOSE, Verdict.HEAD_LATE, Verdict.BODY_LATE, Verdict.KEEP, Verdict.ABORT)


class Watch:
    """The phase of one connection, when it was entered, and its deadlines, all in seconds of the event loop's clock."""

    __slots__ = (
        "_body_s",
        "_body_share",
        "_deadline",
        "_parting_end",
        "_share_left",
        "_timeouts",
        "_unsent_bytes",
        "_unsent_deadline",
        "entered",
        "phase",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self._timeouts = (
            limits.keep_alive_timeout_s,
            limits.header_timeout_s,
            limits.body_timeout_s,
            math.inf,
            _PARTING_STALL_S,
        )
        self._body_s = limits.body_timeout_s
        self._body_share = self._share_left = int(limits.body_timeout_s * _BODY_BYTES_PER_S)
        self._unsent_bytes = 0
        self._unsent_deadline = math.inf
        self._parting_end = math.inf
        self.enter(Phase.IDLE, now)

    def enter(self, phase: Phase, now: float) -> None:
        """Begin ``phase``; its time counts from ``now``."""
        self.phase = phase
        self.entered = now
        self._deadline = now + self._timeouts[phase]
        if phase is _BODY:
            self._share_left = self._body_share
        elif phase is _PARTING:
            self._parting_end = now + _PARTING_TOTAL_S

    def body_arrived(self, size: int, now: float) -> None:
        """``size`` bytes of the body are here: time starts anew once 64 KiB for each second of it have come."""
        self._share_left -= size
        if self._share_left <= 0:
            self._share_left = self._body_share
            self._deadline = now + self._body_s

    def progress(self, now: float) -> None:
        """The client did something that gives it time again; parting has a total that this does not extend."""
        self._deadline = now + self._timeouts[self.phase]
        if self.phase is Phase.PARTING:
            self._deadline = min(self._deadline, self._parting_end)

    def verdict(self, now: float, unsent_bytes: int) -> Verdict:
        """What to do at ``now`` with a connection whose send buffer holds ``unsent_bytes``."""
        before, self._unsent_bytes = self._unsent_bytes, unsent_bytes
        if unsent_bytes == 0 or before == 0 or unsent_bytes < before:
            self._unsent_deadline = now + self._body_s
        elif now >= self._unsent_deadline:
            return Verdict.ABORT
        if unsent_bytes and self.phase is Phase.PARTING:
            self.enter(Phase.PARTING, now)  # the farewell counts from when the last answer is out
        return _VERDICTS[self.phase] if now >= self._deadline else Verdict.KEEP
