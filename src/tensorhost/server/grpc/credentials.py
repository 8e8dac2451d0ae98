"""TLS for gRPC: the certificate that HTTPS has, or that of a TensorFlow Serving ``SSLConfig``."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc

from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.models.text_files import read_text_file
from tensorhost.server.listener import CannotStartError
from tensorhost.server.tls import tls_context
from tensorhost.settings import Settings


@dataclass(frozen=True, slots=True)
class _Pem:
    """Contents of PEM files; without ``authority`` clients need no certificate."""

    certificate: bytes
    key: bytes
    authority: bytes | None


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """The credentials that ``settings`` say, or None for plain text.

    Raises:
        CannotStartError: a file cannot be read, or holds no certificate and the key that belongs to it.
    """
    if settings.grpc_ssl_config_file is not None:
        pem = _from_ssl_config(settings.grpc_ssl_config_file)
        # gRPC itself notices only when a client comes, and then tells the client.
        _check(pem)
    elif settings.tls_certfile is not None and settings.tls_keyfile is not None:
        tls_context(settings)  # for its errors
        authority = settings.tls_client_ca.read_bytes() if settings.tls_client_ca is not None else None
        pem = _Pem(settings.tls_certfile.read_bytes(), settings.tls_keyfile.read_bytes(), authority)
    else:
        return None
    return grpc.ssl_server_credentials(
        [(pem.key, pem.certificate)], pem.authority, require_client_auth=pem.authority is not None
    )


def _from_ssl_config(path: Path) -> _Pem:
    try:
        text = read_text_file(path, "it")
        config = parse_text("tensorflow.serving.SSLConfig", text, str(path))
    except InvalidRequestError as error:
        raise CannotStartError(f"grpc_ssl_config_file {path}: {error.message}") from error
    if config.client_verify and not config.custom_ca:
        raise CannotStartError("grpc_ssl_config_file: client_verify needs custom_ca, the authority of the clients.")
    authority = config.custom_ca.encode() if config.client_verify else None
    return _Pem(config.server_cert.encode(), config.server_key.encode(), authority)


def _check(pem: _Pem) -> None:
    """Raise CannotStartError unless OpenSSL can use all of it, which it reads from files only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="tensorhost-tls-") as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        certificate.write_bytes(pem.certificate)
        key.touch(mode=0o600)
        key.write_bytes(pem.key)
        try:
            # An empty password, so that an encrypted key is an error and not a question on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError) as error:
            raise CannotStartError(
                "grpc_ssl_config_file: server_cert and server_key must be a PEM certificate and its unencrypted key."
            ) from error
    if pem.authority is not None:
        try:
            context.load_verify_locations(cadata=pem.authority.decode())
        except (ssl.SSLError, ValueError) as error:
            raise CannotStartError("grpc_ssl_config_file: custom_ca must hold PEM certificates.") from error
