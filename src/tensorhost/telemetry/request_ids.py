"""Request ids: the client's where it is safe to log and to send back, else a new one."""

from __future__ import annotations

import os
import random
import re

_SAFE = re.compile(rb"[A-Za-z0-9._~:/+=@,-]{1,128}")


# Ids tell requests apart and guard nothing, so no system call is spent on each. A generator of our own: the seed of
# Python's shared one is anybody's to set. A child process must not repeat its parent's ids.
_random = random.Random()  # noqa: S311 - guards nothing
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_random.seed)


def new_request_id() -> str:
    """Sixteen random hexadecimal digits."""
    return f"{_random.getrandbits(64):016x}"


def accept_request_id(value: bytes | None) -> str:
    """The client's id as text, or a new one when there is none or it could not safely be logged or sent back.

    Args:
        value: the ``X-Request-Id`` header; accepted with 1 to 128 ASCII letters, digits and ``. _ ~ : / + = @ , -``.
    """
    if value is not None and _SAFE.fullmatch(value):
        return value.decode("ascii")
    return new_request_id()
