"""The settings of one layer in a TensorFlow.js file, read one at a time and checked as they are read. Pure.

Keys and words may be in snake case, as files have them, or in camel case, as the JavaScript has them. ``null`` is the
same as absent. What must stay true: nothing leaves this module unchecked, and an error names layer, setting, what was
expected and what came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.contents import shown

MAX_SIZE = 2**31 - 1
"""Largest whole number a setting may be: no dimension of a tensor in a browser is larger."""

_FORMATS = frozenset({"channels_first", "channels_last"})
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LARGEST_NUMBER = 1e300
_MOST_VALUES = 64


class Settings:
    """What the file says about one layer.

    Args:
        layer: the layer's name, for messages.
        kind: its class, such as ``Dense``.
        values: the ``config`` of the file.
    """

    def __init__(self, layer: str, kind: str, values: Mapping[str, Any]) -> None:
        self.layer = shown(layer)
        self.kind = kind
        self._values = {snake_case(key): value for key, value in values.items()}

    def has(self, name: str) -> bool:
        """Whether the file gives this setting a value."""
        return self._values.get(name) is not None

    def is_null(self, name: str) -> bool:
        """Whether the file gives this setting the value ``null``."""
        return name in self._values and self._values[name] is None

    def raw(self, name: str) -> Any:
        """The value as it stands in the file, unchecked; None when absent."""
        return self._values.get(name)

    def flag(self, name: str, default: bool = False) -> bool:  # noqa: FBT001, FBT002  # the value of the setting
        """A truth value."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; an error when absent without a default."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_NUMBER:
            raise self.wrong(name, "a finite number")
        return float(value)

    def whole(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number from ``least`` to MAX_SIZE; an error when absent without a default."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        return self._whole(name, value, least)

    def wholes(self, name: str, default: tuple[int, ...] | None = None, least: int = 1) -> tuple[int, ...]:
        """A whole number or a list of them, as a tuple; an error when absent without a default."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        values = value if isinstance(value, list) else [value]
        if not 0 < len(values) <= _MOST_VALUES:
            raise self.wrong(name, f"a list of 1 to {_MOST_VALUES} whole numbers")
        return tuple(self._whole(name, item, least) for item in values)

    def spatial(self, name: str, rank: int, default: int | None = None) -> tuple[int, ...]:
        """``rank`` sizes from 1 on, given as a list of that length or as one number for all."""
        sizes = self.wholes(name, None if default is None else (default,))
        if len(sizes) not in {1, rank}:
            raise self.wrong(name, f"{rank} whole numbers")
        return sizes if len(sizes) == rank else sizes * rank

    def margins(self, name: str, default: int | None = None) -> tuple[tuple[int, int], tuple[int, int]]:
        """What lies before and after, of rows and of columns: one number, one for each, or two for each."""
        value = self._values.get(name)
        value = default if value is None else value
        if not isinstance(value, list):
            value = [value, value]
        if len(value) != 2:
            raise self.wrong(name, "a whole number or two pairs of them")
        pairs = [side if isinstance(side, list) else [side, side] for side in value]
        if any(len(pair) != 2 for pair in pairs):
            raise self.wrong(name, "a whole number or two pairs of them")
        (top, bottom), (left, right) = [[self._whole(name, size, 0) for size in pair] for pair in pairs]
        return (top, bottom), (left, right)

    def word(self, name: str, allowed: Collection[str], default: str | None = None) -> str:
        """One of the words ``allowed``, which are in snake case; an error when absent without a default."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        word = snake_case(value) if isinstance(value, str) else ""
        if word not in allowed:
            raise self.wrong(name, "one of " + ", ".join(sorted(allowed)))
        return word

    def channels_first(self) -> bool:
        """Whether ``data_format`` puts the channels before rows and columns."""
        return self.word("data_format", _FORMATS, "channels_last") == "channels_first"

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Dimensions, None (or anything below 0) where unknown; an error when absent."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > _MOST_VALUES:
            raise self.wrong(name, "a list of dimensions")
        return tuple(None if size is None or size == -1 else self._whole(name, size, 0) for size in value)

    def wrong(self, name: str, expected: str) -> ModelFailedError:
        """The error for a setting that is not what was expected."""
        value = self._values.get(name)
        found = "nothing" if value is None else shown(json.dumps(value))
        return ModelFailedError(
            f"The layer '{self.layer}' ({self.kind}): {name} must be {expected}, not {found}.",
            details={"layer": self.layer, "setting": name, "expected": expected, "actual": found},
        )

    def unsupported(self, reason: str) -> UnsupportedModelError:
        """The error for a layer that cannot be computed as TensorFlow.js does; ``reason`` completes a sentence."""
        return UnsupportedModelError(
            f"The layer '{self.layer}' ({self.kind}) {reason}.", details={"layer": self.layer, "class": self.kind}
        )

    def _whole(self, name: str, value: Any, least: int) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_SIZE:
            raise self.wrong(name, f"whole numbers from {least} to {MAX_SIZE}")
        return value


def snake_case(text: str) -> str:
    """``channelsFirst`` as ``channels_first``; what is in snake case stays."""
    return _HUMP.sub("_", text).lower()
