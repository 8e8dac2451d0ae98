"""The files of the page, read once and served as they are.

What must stay true: nothing outside the folder can be named by a request, and the page may load nothing from elsewhere
and be framed by nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tensorhost.core.errors import NotFoundError
from tensorhost.frontends.http.exchange import Exchange, Reply, static_reply

INDEX = "index.html"

_TYPES: Mapping[str, bytes] = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    content_type: bytes
    etag: bytes


class Assets:
    """The page's files by name."""

    def __init__(self) -> None:
        folder = Path(str(files(__package__))) / "static"
        self._assets = {
            file.relative_to(folder).as_posix(): _read(file)
            for file in sorted(folder.rglob("*"))
            if file.suffix in _TYPES and file.is_file()
        }

    def reply(self, exchange: Exchange, name: str, *more: tuple[bytes, bytes]) -> Reply:
        """The file with ``more`` headers, or 304 where the client has it already. Raises NotFoundError."""
        asset = self._assets.get(name)
        if asset is None:
            raise NotFoundError(f"The dashboard has no file {name[:128]}.")
        return static_reply(exchange, asset.body, asset.etag, asset.content_type, *_HEADERS, *more)


def _read(file: Path) -> _Asset:
    body = file.read_bytes()
    return _Asset(body, _TYPES[file.suffix], hashlib.sha256(body).hexdigest()[:32].encode())
