"""What clients change in all processes besides models, as parts of messages; see ``ProcessState``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import MOST_REGIONS, Region
from tensorhost.server.workers.message_base import Message
from tensorhost.telemetry.log_level import LARGEST_VERBOSITY, LogLevel

_MAX_TEXT = 512

_Text = Annotated[str, Field(max_length=_MAX_TEXT)]
_Bytes = Annotated[int, Field(ge=0, lt=2**63)]


class Registration(Message):
    """A region becomes known, or is. Its file goes beside the message, see ``files.py``; not where a worker asks."""

    kind: Literal["registration"] = "registration"
    name: _Text
    key: _Text
    offset: _Bytes
    byte_size: _Bytes

    @classmethod
    def of(cls, region: Region) -> Self:
        """The message about ``region``."""
        return cls(name=region.name, key=region.key, offset=region.offset, byte_size=region.byte_size)

    def region(self) -> Region:
        """The region that was sent."""
        return Region(self.name, self.key, self.offset, self.byte_size)


class Unregistration(Message):
    """A region is forgotten; all are where the name is empty."""

    kind: Literal["unregistration"] = "unregistration"
    name: _Text


class LogLevelMessage(Message):
    """A ``LogLevel`` that can be sent."""

    kind: Literal["log_level"] = "log_level"
    level: Annotated[int, Field(ge=0, le=100)]
    verbosity: Annotated[int, Field(ge=0, le=LARGEST_VERBOSITY)]

    @classmethod
    def of(cls, log_level: LogLevel) -> Self:
        """The message about ``log_level``."""
        return cls(level=log_level.level, verbosity=log_level.verbosity)


Change = Annotated[Registration | Unregistration | LogLevelMessage, Field(discriminator="kind")]


class StateMessage(Message):
    """A ``ProcessState`` that can be sent; the files of its regions go beside it, in the same order."""

    regions: Annotated[tuple[Registration, ...], Field(max_length=MOST_REGIONS)]
    log_level: LogLevelMessage

    @classmethod
    def of(cls, state: ProcessState) -> Self:
        """The message about ``state``."""
        return cls(
            regions=tuple(map(Registration.of, state.regions.registered())),
            log_level=LogLevelMessage.of(state.log_level),
        )
