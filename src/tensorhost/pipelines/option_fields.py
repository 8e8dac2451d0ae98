"""Readers of single option values, shared by pre- and postprocessing options.

A reader takes the value a request or a model.toml gave and the value in force so far, and returns the value to use.
It accepts exactly one meaning: ``true`` is never a number, a number never ``true``, NaN and infinity are refused.
Readers know neither the field's path nor which error family applies; whoever calls them turns an OptionError into
an error with both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import isfinite
from typing import Any, TypeAlias

Reader: TypeAlias = Callable[[Any, Any], Any]
"""(value given, never null; value in force so far) to the value to use. Raises OptionError."""

_SHOWN_TEXT = 40


class OptionError(Exception):
    """A value that is not what its key expects. ``key`` names the entry of a nested table, or is empty."""

    def __init__(self, expected: str, value: object, key: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.actual = describe(value)
        self.key = key


def describe(value: object) -> str:
    """What came, in words of JSON: ``true``, ``null``, ``3.5``, ``text 'abc'``, ``a list``, ``an object``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text '{value[:_SHOWN_TEXT]}'"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 64 else "an integer of more than 64 bits"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, dict) else "something else"


def read_flag(value: Any, _current: Any) -> bool:
    """``true`` or ``false``."""
    if value is True or value is False:
        return bool(value)
    raise OptionError("true or false", value)


def _finite(value: Any) -> float | None:
    kind = type(value)
    if kind is float:
        return float(value) if isfinite(value) else None
    if kind is int:
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def read_number(value: Any, _current: Any) -> float:
    """A finite number."""
    number = _finite(value)
    if number is None:
        raise OptionError("a finite number", value)
    return number


def read_divisor(value: Any, _current: Any) -> float:
    """A finite number other than 0."""
    number = _finite(value)
    if number is None or number == 0:
        raise OptionError("a finite number other than 0", value)
    return number


def _numbers(value: Any, expected: str) -> tuple[float, ...]:
    items = value if type(value) is list else [value]
    numbers = []
    for item in items:
        number = _finite(item)
        if number is None:
            raise OptionError(expected, item)
        numbers.append(number)
    if not numbers:
        raise OptionError(expected, value)
    return tuple(numbers)


def read_numbers(value: Any, _current: Any) -> tuple[float, ...]:
    """A finite number, or a non-empty list of them."""
    return _numbers(value, "a finite number or a non-empty list of them")


def read_divisors(value: Any, _current: Any) -> tuple[float, ...]:
    """A finite number other than 0, or a non-empty list of them."""
    expected = "a finite number other than 0, or a non-empty list of them"
    numbers = _numbers(value, expected)
    if 0.0 in numbers:
        raise OptionError(expected, 0)
    return numbers


def count_reader(most: int) -> Reader:
    """A reader of whole numbers from 1 to ``most``."""
    expected = f"a whole number from 1 to {most}"

    def read_count(value: Any, _current: Any) -> int:
        if type(value) is not int or not 1 <= value <= most:
            raise OptionError(expected, value)
        return value

    return read_count


def choice_reader(choices: Collection[str]) -> Reader:
    """A reader of one of ``choices``."""
    expected = "one of " + ", ".join(f"'{choice}'" for choice in choices)

    def read_choice(value: Any, _current: Any) -> str:
        if type(value) is not str or value not in choices:
            raise OptionError(expected, value)
        return value

    return read_choice


def read_text(value: Any, _current: Any) -> str:
    """Text that is not empty."""
    if type(value) is not str or not value:
        raise OptionError("text that is not empty", value)
    return value
