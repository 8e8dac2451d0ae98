"""What clients of the Open Inference Protocol are told."""

from __future__ import annotations

from tensorhost.core.errors import InvalidRequestError


class UnsupportedError(InvalidRequestError):
    """Something of the protocol that this server does not do."""
