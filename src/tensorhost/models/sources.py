"""Where an operator says a model lies: a path or a ``file://`` URL. Whether it may be read is not decided here."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tensorhost.core.errors import InvalidRequestError


def local_path(source: str | Path) -> Path:
    """The path a path or ``file://`` URL names; ``file://./x`` is relative. InvalidRequestError for other schemes."""
    if isinstance(source, Path) or "://" not in source:
        return Path(source)
    try:
        url = urlsplit(source)
    except ValueError as error:
        raise InvalidRequestError("A model's source is no valid URL.", details={"source": source[:256]}) from error
    if url.scheme != "file" or url.netloc not in ("", "localhost", ".", ".."):
        raise InvalidRequestError("A model's source must be a path or a file:// URL.", details={"source": source[:256]})
    relative = url.netloc if url.netloc in (".", "..") else ""
    return Path(relative + unquote(url.path))
