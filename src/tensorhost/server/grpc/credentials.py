"""TLS for gRPC: the certificate that HTTPS has, or that of a TensorFlow Serving ``SSLConfig``."""

from __future__ import annotations

import grpc

from tensorhost.server.listener import CannotStartError
from tensorhost.settings import Settings


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """The credentials that ``settings`` say, or None for plain text.

    Raises:
        CannotStartError: a file cannot be read, or holds no certificate and the key that belongs to it.
    """
    if settings.tls_certfile is None or settings.tls_keyfile is None:
        return None
    try:
        certificate, key = settings.tls_certfile.read_bytes(), settings.tls_keyfile.read_bytes()
        authority = settings.tls_client_ca.read_bytes() if settings.tls_client_ca is not None else None
    except OSError as error:
        raise CannotStartError(f"A TLS file cannot be read: {error.strerror}.") from error
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=authority is not None)
