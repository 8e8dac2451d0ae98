"""Plain fields of a request body, checked. Each error names the field, what was expected and what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.core.errors import InvalidRequestError

_KINDS = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
LONGEST_TIMEOUT_MS = 24 * 3600 * 1000


def required_text(fields: Mapping[str, Any], key: str) -> str:
    """A string that must be there and not be empty."""
    value = optional_text(fields, key)
    if not value:
        raise InvalidRequestError(f"'{key}' is missing.", details={"field": key})
    return value


def optional_text(fields: Mapping[str, Any], key: str) -> str | None:
    """A string, or None where it is absent or null."""
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong(key, "a string", value)
    return value


def optional_count(fields: Mapping[str, Any], key: str) -> int | None:
    """A whole number of at least one, or None where it is absent or null."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(key, "a whole number of at least 1", value)
    return value


def optional_timeout_s(fields: Mapping[str, Any]) -> float | None:
    """``timeoutMs`` in seconds, or None where it is absent or null."""
    value = fields.get("timeoutMs")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT_MS:
        raise _wrong("timeoutMs", f"a number of milliseconds above 0 and up to {LONGEST_TIMEOUT_MS}", value)
    return value / 1000


def _wrong(key: str, expected: str, value: object) -> InvalidRequestError:
    actual = _KINDS.get(type(value), "something else")
    if isinstance(value, int | float) and not isinstance(value, bool):
        actual = str(value)[:32]
    return InvalidRequestError(
        f"'{key}' must be {expected}, not {actual}.", details={"field": key, "expected": expected, "actual": actual}
    )
