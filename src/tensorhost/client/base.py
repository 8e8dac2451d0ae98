"""What both clients are made from: one set of arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tensorhost.client.limits import LONGEST_TIMEOUT_MS
from tensorhost.client.link import Link
from tensorhost.client.retries import Retries
from tensorhost.client.steps import Methods
from tensorhost.client.transport import Address, Certificate, Verify, http_options

DEFAULT_URL = "http://localhost:3000"


class BaseClient(ABC):
    """A client without its connections."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retries: int | Retries = 3,
        verify: Verify = True,
        cert: Certificate | None = None,
        proxy: str | None = None,
        signature_dtypes: bool = True,
    ) -> None:
        """Constructing connects to nothing.

        Args:
            url: the server's base URL, ``http://host:port``; a path may follow, where a proxy has the server under one.
            token: bearer token for the control routes; sent with every request.
            timeout_s: time a call may take with all its attempts, in seconds, where it names none of its own; at most
                24 hours.
            retries: how often a call that failed for a passing reason is made again, 0 for never; or a ``Retries``
                that also says how patiently.
            verify: whose certificates are trusted on https: True for the usual authorities, a file or folder of
                certificates, an ``ssl.SSLContext``, or False for anybody's.
            cert: our own certificate for a server that wants one: a file with certificate and key, or a tuple of both
                files, or of both and the key's password.
            proxy: URL of an HTTP proxy; None for what the environment says (``HTTPS_PROXY`` and so on, but
                never for loopback).
            signature_dtypes: ask the server, once for each version, for the dtypes and names of its outputs, so that
                arrays have them. False saves that request; arrays are int64 or float64 then.

        Raises:
            ValueError: ``url`` is no http or https URL, or a number is out of range.
            OSError: a certificate cannot be read.
        """
        address = Address.of(url)
        if not 0 < timeout_s <= LONGEST_TIMEOUT_MS / 1000:
            raise ValueError("timeout_s must be above 0 and at most 24 hours.")
        self.url = address.shown
        self._methods = Methods(address.shown, timeout_s, asks_signatures=signature_dtypes)
        options = http_options(address, token, verify, cert, proxy)
        self._connect(Link(address, options, Retries(limit=retries) if isinstance(retries, int) else retries))

    @abstractmethod
    def _connect(self, link: Link) -> None:
        """Make the pool of connections, with none in it yet."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"
