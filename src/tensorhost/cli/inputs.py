"""What a user names on the command line, as inputs of a request: JSON text, files, standard input, phrases."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorhost.cli.outcome import CommandError, ExitCode

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
_NAMED = re.compile(r"(?P<name>[A-Za-z_][\w./:-]*)=(?P<value>.+)", re.DOTALL)


def read_inputs(values: Sequence[str], texts: Sequence[str]) -> object:
    """The inputs of a request.

    Args:
        values: each ``-``, JSON text or a file, or ``name=`` and one of these; several must all be named.
        texts: rows of a model with one string input; excludes ``values``.

    Raises:
        CommandError: wrong usage, naming the value.
    """
    if bool(values) == bool(texts):
        raise _usage("Give the inputs as --input or as --text, one of the two.")
    if texts:
        return list(texts)
    named = [_split_name(value) for value in values]
    if len(named) == 1 and named[0][0] is None:
        return _read(named[0][1])
    inputs: dict[str, object] = {}
    for name, value in named:
        if name is None:
            raise _usage("Several inputs must each be named: --input NAME=VALUE.")
        if name in inputs:
            raise _usage(f"The input '{name}' is given twice.")
        inputs[name] = _read(value)
    return inputs


def parse_object(text: str | None, option: str) -> dict[str, Any]:
    """The JSON object given to ``option``; empty when None."""
    if text is None:
        return {}
    value = _parse(text.encode(), option)
    if not isinstance(value, dict):
        raise _usage(f"{option} must be a JSON object.")
    return value


def _split_name(value: str) -> tuple[str | None, str]:
    match = _NAMED.fullmatch(value)
    if match is None or _is_file(value):
        return None, value
    return match["name"], match["value"]


def _read(value: str) -> object:
    if value == "-":
        return _parse(sys.stdin.buffer.read(), "standard input")
    if _is_file(value):
        return _read_file(Path(value))
    return _parse(value.encode(), f"'{_shorten(value)}', which is no file either,")


def _is_file(value: str) -> bool:
    # JSON may be longer than any path; asking the file system about it is an error of its own.
    if value[:1] in ("[", "{", '"'):
        return False
    try:
        return Path(value).is_file()
    except (OSError, ValueError):
        return False


def _read_file(file: Path) -> object:
    suffix = file.suffix.lower()
    if suffix not in {".json", ".npy", *IMAGE_SUFFIXES}:
        raise _usage(f"{file} must be a .json file, a .npy file or an image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    try:
        if suffix == ".npy":
            import numpy as np

            return np.load(file, allow_pickle=False)
        content = file.read_bytes()
    except (OSError, ValueError, EOFError) as error:
        raise _usage(f"{file} cannot be read: {error}.") from error
    return _parse(content, str(file)) if suffix == ".json" else [content]


def _parse(content: bytes, source: str) -> object:
    import orjson

    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _usage(f"There is no valid JSON in {source} ({error}).") from error


def _shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _usage(message: str) -> CommandError:
    return CommandError(message, ExitCode.USAGE)
