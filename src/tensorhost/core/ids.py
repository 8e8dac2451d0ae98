"""Names of models and versions, and the order of versions."""

from __future__ import annotations

import re
from typing import NamedTuple

from tensorhost.core.errors import InvalidRequestError

NAME_PATTERN = r"(?!\.+$)[A-Za-z0-9._-]{1,128}"
"""What names look like, as a regular expression for the whole name; JSON Schema reads it too."""

_NAME = re.compile(NAME_PATTERN)
_CHUNK = re.compile(r"\d+|\D+")


class ModelId(NamedTuple):
    """One version of one model."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def is_valid_name(name: str) -> bool:
    """Whether ``name`` may name a model, version or label: letters, digits, ``.``, ``_``, ``-``; not dots alone."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str, what: str = "model name") -> str:
    """Return ``name``, or raise InvalidRequestError. Nothing that fails this ever reaches the file system."""
    if not is_valid_name(name):
        first, *rest = what.split()
        raise InvalidRequestError(
            f"The {what} must be 1 to 128 letters, digits, '.', '_' or '-'.",
            details={"field": first + "".join(rest).capitalize(), "actual": name[:128]},
        )
    return name


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key of natural order: ``1 < 2 < 10``, ``v1 < v2 < v10``, ``1.2.0 < 1.10.0``.

    Runs of digits compare as numbers and before any text; ``007`` and ``7`` are told apart only as a last resort.
    """
    chunks = _CHUNK.findall(version)
    key = tuple((0, int(chunk), "") if chunk.isdecimal() else (1, 0, chunk) for chunk in chunks)
    return (*key, (-1, 0, version))
