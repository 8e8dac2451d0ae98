"""Request ids: the client's where it is safe to log and to send back, else a new one."""

from __future__ import annotations

import os
import re

_SAFE = re.compile(rb"[A-Za-z0-9._~:/+=@,-]{1,128}")


def new_request_id() -> str:
    """Sixteen random hexadecimal digits."""
    return os.urandom(8).hex()


def accept_request_id(value: bytes | None) -> str:
    """The client's id as text, or a new one when there is none or it could not safely be logged or sent back.

    Args:
        value: the ``X-Request-Id`` header; accepted with 1 to 128 ASCII letters, digits and ``. _ ~ : / + = @ , -``.
    """
    if value is not None and _SAFE.fullmatch(value):
        return value.decode("ascii")
    return new_request_id()
