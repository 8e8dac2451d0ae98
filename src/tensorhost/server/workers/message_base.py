"""What all messages between a supervisor and its workers have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """One message of either side, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_line(self) -> bytes:
        """The message as the other side reads it."""
        return self.model_dump_json().encode() + b"\n"
