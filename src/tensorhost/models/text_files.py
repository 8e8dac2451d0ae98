"""The small text files that settings, flags and versions name, read with a limit and one way of telling faults."""

from __future__ import annotations

from pathlib import Path

from tensorhost.core.errors import InvalidRequestError

MOST_BYTES = 2**20


def read_text_file(file: Path, name: str, most_bytes: int = MOST_BYTES) -> str:
    """What is in ``file``; blocks while it is read.

    Args:
        file: any path, also one that is no ordinary file.
        name: what errors call it.
        most_bytes: no more is read.

    Raises:
        InvalidRequestError: it cannot be read, is larger, or is not UTF-8.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(most_bytes + 1)
    except OSError as error:
        raise InvalidRequestError(f"Cannot read {name}: {error.strerror}.") from error
    if len(data) > most_bytes:
        raise InvalidRequestError(f"Cannot read {name}: it is larger than {most_bytes} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"Cannot read {name}: it is not UTF-8 text.") from error
