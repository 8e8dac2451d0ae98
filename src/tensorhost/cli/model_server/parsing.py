"""Reads the command line of ``tensorflow_model_server``: ``--name=value``, and ``--name`` alone for a bool. Pure.

As in TensorFlow Serving there is no ``--name value``, and of a flag given twice the last counts. Unlike there, what is
not understood ends the start instead of being passed over.
"""

from __future__ import annotations

import difflib
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensorhost.cli.model_server.flags import FLAGS, OURS, THEIRS, Flag, FlagValue, Kind, default_values

HELP_FLAGS = frozenset({"--help", "--helpfull", "--helpshort", "-h"})

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_BITS = {Kind.INT32: 32, Kind.INT64: 64}
_WIDTH = 100


class FlagError(Exception):
    """The command line cannot be understood; the message says which part, and what was perhaps meant."""


@dataclass(frozen=True, slots=True)
class FlagValues:
    """The value of every flag, and which were given on the command line."""

    values: Mapping[str, FlagValue]
    given: frozenset[str] = frozenset()

    def is_given(self, *names: str) -> bool:
        """Whether any of these was on the command line."""
        return not self.given.isdisjoint(names)

    def text(self, name: str) -> str:
        """The value of a string flag."""
        value = self.values[name]
        assert isinstance(value, str)
        return value

    def flag(self, name: str) -> bool:
        """The value of a bool flag."""
        return self.values[name] is True

    def number(self, name: str) -> int:
        """The value of an integer flag."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    def with_values(self, **values: FlagValue) -> FlagValues:
        """The same with these as if they had been given."""
        return FlagValues({**self.values, **values}, self.given | values.keys())


def parse(arguments: Sequence[str]) -> FlagValues:
    """The flags in ``arguments``, the program's name not among them.

    Raises:
        FlagError: an argument is no flag, or its value not of the flag's type.
    """
    values = default_values()
    given: set[str] = set()
    for argument in arguments:
        flag, text = _split(argument)
        value = _value(flag, text)
        if flag.kind is Kind.STRINGS and flag.name in given:
            before = values[flag.name]
            assert isinstance(before, tuple)
            value = (*before, *value) if isinstance(value, tuple) else value
        values[flag.name] = value
        given.add(flag.name)
    return FlagValues(values, frozenset(given))


def _split(argument: str) -> tuple[Flag, str | None]:
    """The flag that ``argument`` names and the text behind its ``=``; None where there is none."""
    if not argument.startswith("--") or argument == "--":
        raise FlagError(f"'{argument}' is no flag. A flag and its value are one word: --name=value.")
    name, equals, text = argument[2:].partition("=")
    flag = FLAGS.get(name)
    if flag is None:
        raise FlagError(f"There is no flag --{name}.{_perhaps(name)}")
    return flag, text if equals else None


def _perhaps(name: str) -> str:
    written = name.lower().replace("-", "_").removeprefix("_")
    near = difflib.get_close_matches(written, FLAGS, n=1, cutoff=0.6)
    return f" Did you mean --{near[0]}?" if near else ""


def _value(flag: Flag, text: str | None) -> FlagValue:
    if flag.kind is Kind.BOOL:
        if text not in (None, "true", "false"):
            raise FlagError(f"--{flag.name} is true or false, in small letters, not '{text}'.")
        return text != "false"
    if text is None:
        raise FlagError(f"--{flag.name} needs a value, in the same word: --{flag.name}={_example(flag)}.")
    if flag.kind is Kind.STRING:
        return text
    if flag.kind is Kind.STRINGS:
        return tuple(part for part in text.split(",") if part)
    return _float(flag, text) if flag.kind is Kind.FLOAT else _integer(flag, text)


def _integer(flag: Flag, text: str) -> int:
    # A limit on the length first: reading a million digits takes seconds.
    value = int(text) if _INTEGER.fullmatch(text) and len(text) <= 32 else None
    limit = 2 ** (_BITS[flag.kind] - 1)
    if value is None or not -limit <= value < limit:
        raise FlagError(f"--{flag.name} takes an integer of {_BITS[flag.kind]} bits, not '{text[:64]}'.")
    return value


def _float(flag: Flag, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FlagError(f"--{flag.name} takes a number, not '{text[:64]}'.")
    return value


def _example(flag: Flag) -> str:
    shown = flag.shown_default
    return shown if shown and not flag.default_text else "..."


def usage(program: str) -> str:
    """What ``--help`` prints."""
    return "\n".join(
        [
            f"usage: {program} --name=value ...",
            "",
            "TensorFlow Serving's flags, for tensorhost. Settings of tensorhost that have no flag here are environment",
            "variables, such as TENSORHOST_WORKERS. Without --model_base_path and --model_config_file, MODEL_NAME and",
            "MODEL_BASE_PATH say what to serve: the folder $MODEL_BASE_PATH/$MODEL_NAME.",
            "",
            "Flags:",
            *_described(THEIRS),
            "",
            "Beyond those of TensorFlow Serving:",
            *_described(OURS),
            "",
        ]
    )


def _described(flags: Iterable[Flag]) -> Iterable[str]:
    for flag in flags:
        yield f"  --{flag.name}={flag.shown_default or '...'}  ({flag.kind.value})"
        meaning = flag.meaning if flag.takes_effect else f"{flag.meaning} Accepted without effect: {flag.instead}."
        yield textwrap.fill(meaning, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
