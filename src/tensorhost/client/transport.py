"""What both clients tell httpx, and what its outcomes mean: addresses, TLS, proxies, time limits, errors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import httpx

from tensorhost.client.errors import (
    ConnectionBrokenError,
    InvalidAnswerError,
    ServerUnreachableError,
    TlsError,
)
from tensorhost.client.limits import TimeLimit
from tensorhost.core.version import __version__

Verify: TypeAlias = bool | str | Path | ssl.SSLContext
"""True for the usual authorities, a file or folder of certificates, a context of the caller's own; False trusts all."""
Certificate: TypeAlias = str | Path | tuple[str | Path, str | Path] | tuple[str | Path, str | Path, str]
"""A file with certificate and key, or both files, or both and the key's password."""

MOST_ANSWER_BYTES = 2**30
"""No answer of a server is that long; whoever sends one is not read to the end."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_BAD_URL = "The server's URL must look like http://host:port."
_CONNECT_TIMEOUT_S = 5.0
"""A long timeout is for slow models, not for addresses where nobody is."""


@dataclass(frozen=True, slots=True)
class Address:
    """A checked base URL. ``shown`` is it without a user's name and password, for messages."""

    url: str
    shown: str
    is_tls: bool
    is_loopback: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError for what is no http or https URL, or has a query or fragment."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(_BAD_URL) from error
        if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65535:
            raise ValueError(_BAD_URL)
        if parsed.query or parsed.fragment:
            raise ValueError("The server's URL must have no query and no fragment.")
        shown = str(parsed.copy_with(username=None, password=None)) if parsed.userinfo else url
        return cls(url.rstrip("/"), shown.rstrip("/"), parsed.scheme == "https", parsed.host in _LOOPBACK)


def http_options(
    address: Address, token: str | None, verify: Verify, cert: Certificate | None, proxy: str | None
) -> dict[str, Any]:
    """The keywords of an httpx client for this server.

    Raises:
        ValueError: a token that no header can carry.
        OSError: certificates that cannot be read.
    """
    headers = {"Accept": "application/json", "User-Agent": f"tensorhost-client/{__version__}"}
    if token:
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("The token must be printable ASCII without spaces.")
        headers["Authorization"] = f"Bearer {token}"
    return {
        "headers": headers,
        "verify": _tls_context(verify, cert) if address.is_tls else _no_tls(),
        "proxy": proxy,
        # A proxy from the environment cannot reach this machine's own loopback.
        "trust_env": not address.is_loopback,
    }


def _no_tls() -> ssl.SSLContext:
    """For plain HTTP. Reading the authorities takes longer than a request, and this context trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _tls_context(verify: Verify, cert: Certificate | None) -> ssl.SSLContext:
    if isinstance(verify, str | Path):
        is_folder = Path(verify).is_dir()
        context = ssl.create_default_context(
            cafile=None if is_folder else str(verify), capath=str(verify) if is_folder else None
        )
    else:
        context = httpx.create_ssl_context(verify)
    if cert is not None:
        context.load_cert_chain(*((cert,) if isinstance(cert, str | Path) else cert))
    return context


def timeouts(limit: TimeLimit) -> httpx.Timeout:
    """How long an attempt that begins now may wait for anything. Raises DeadlineExceededError if not at all."""
    left_s = limit.remaining_s(monotonic())
    return httpx.Timeout(left_s, connect=min(left_s, _CONNECT_TIMEOUT_S))


class Content:
    """The body of a response as it arrives, within bounds of time and size."""

    def __init__(self, url: str, limit: TimeLimit) -> None:
        self._url = url
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Take the next part. Raises DeadlineExceededError or InvalidAnswerError at a bound."""
        self._size += len(part)
        if self._size > MOST_ANSWER_BYTES:
            raise InvalidAnswerError(f"The answer of {self._url} is longer than {MOST_ANSWER_BYTES:,} bytes.")
        self._limit.remaining_s(monotonic())
        self._parts.append(part)

    def whole(self) -> bytes:
        """All parts."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


@contextmanager
def httpx_errors_translated(url: str, limit: TimeLimit) -> Iterator[None]:
    """Turn what httpx raises into the errors of this client."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _not_connected(error, url) from error
    except httpx.TimeoutException as error:
        raise limit.exceeded() from error
    except httpx.DecodingError as error:
        raise InvalidAnswerError(f"The answer of {url} cannot be decompressed.") from error
    except httpx.RequestError as error:
        raise ConnectionBrokenError(f"The connection to {url} broke.") from error


def _not_connected(error: httpx.RequestError, url: str) -> ServerUnreachableError:
    if isinstance(error, httpx.ProxyError):
        return ServerUnreachableError(f"The proxy does not lead to {url}: {error}.")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return TlsError(f"There is no TLS connection to {url}: {cause.reason or cause}.")
        cause = cause.__cause__ or cause.__context__
    return ServerUnreachableError(f"Nothing answers at {url}; is the server running?")
