"""The TLS context of the HTTP server: TLS 1.2 or newer, client certificates when an authority is set."""

from __future__ import annotations

import ssl
from pathlib import Path

from tensorhost.server.listener import CannotStartError
from tensorhost.settings import Settings


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The context for the certificate in ``settings``, or None when HTTPS is off.

    Raises:
        CannotStartError: a file cannot be read, is no PEM, or the key does not belong to the certificate.
    """
    certificate, key, authority = settings.tls_certfile, settings.tls_keyfile, settings.tls_client_ca
    if certificate is None or key is None:
        return None
    _check_readable("tls_certfile", certificate)
    _check_readable("tls_keyfile", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError) as error:
        raise CannotStartError(
            f"tls_certfile and tls_keyfile must be a PEM certificate and its unencrypted key: {_reason(error)}."
        ) from error
    if authority is not None:
        _check_readable("tls_client_ca", authority)
        try:
            context.load_verify_locations(cafile=authority)
        except (ssl.SSLError, OSError) as error:
            raise CannotStartError(f"tls_client_ca must hold PEM certificates: {_reason(error)}.") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise CannotStartError(f"{setting} cannot be read: {path}: {error.strerror}.") from error


def _no_password() -> str:
    """Given to OpenSSL so that an encrypted key is an error and not a question on the terminal."""
    return ""


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or "unreadable").replace("_", " ").lower()
