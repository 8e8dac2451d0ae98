"""TLS over gRPC: the certificate of HTTPS, or a TensorFlow Serving SSLConfig; client certificates; what cannot work."""

from __future__ import annotations

import datetime
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_serving import asking, serving

from tensorhost.frontends.rpc import Rpc
from tensorhost.server.listener import CannotStartError

ECHO = "/test.Echo/Say"


async def echo(request, _context):
    return request


def certificate(name, authority=None):
    """A certificate and its key, signed by ``authority`` or itself, as objects."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing_key = (authority[0].subject, authority[1]) if authority else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    return built, key


def pem(pair):
    plain = serialization.NoEncryption()
    key = pair[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return pair[0].public_bytes(serialization.Encoding.PEM), key


@pytest.fixture(scope="module")
def pems():
    authority = certificate("authority")
    return {
        "ca": pem(authority),
        "server": pem(certificate("server", authority)),
        "client": pem(certificate("client", authority)),
        "stranger": pem(certificate("stranger")),
    }


@pytest.fixture(params=["files", "ssl config"])
def tls(request, pems, tmp_path):
    """Settings for TLS in either way; with client certificates when told so."""
    cert, key = pems["server"]

    def settings(*, verify):
        if request.param == "files":
            for name, content in (("cert", cert), ("key", key), ("ca", pems["ca"][0])):
                (tmp_path / name).write_bytes(content)
            ca = {"tls_client_ca": tmp_path / "ca"} if verify else {}
            return {"tls_certfile": tmp_path / "cert", "tls_keyfile": tmp_path / "key", **ca}
        return ssl_config(tmp_path, key, cert, pems["ca"][0], verify)

    return settings


def ssl_config(folder, key, cert, ca, verify):
    def quoted(text):
        return '"' + text.decode().replace("\n", "\\n") + '"'

    lines = [f"server_key: {quoted(key)}", f"server_cert: {quoted(cert)}", f"custom_ca: {quoted(ca)}"]
    (folder / "ssl.config").write_text("\n".join([*lines, f"client_verify: {str(verify).lower()}"]))
    return {"grpc_ssl_config_file": folder / "ssl.config"}


def credentials(pems, client=None):
    cert, key = pems[client] if client else (None, None)
    return grpc.ssl_channel_credentials(pems["ca"][0], key, cert)


async def test_calls_are_encrypted_and_the_server_proves_who_it_is(tls, pems):
    async with serving([Rpc(ECHO, echo)], **tls(verify=False)) as server:
        assert str(server.choice) == "grpcio: it has no TLS"
        async with asking(server, credentials=credentials(pems)) as client:
            assert await client.ask(ECHO, b"secret") == b"secret"
        async with asking(server, credentials=credentials({"ca": pems["stranger"]})) as client:
            assert (await client.refusal(ECHO)).code() is grpc.StatusCode.UNAVAILABLE
        async with asking(server) as client:
            assert (await client.refusal(ECHO)).code() is grpc.StatusCode.UNAVAILABLE


async def test_clients_need_a_certificate_of_the_authority_where_one_is_set(tls, pems):
    async with serving([Rpc(ECHO, echo)], **tls(verify=True)) as server:
        async with asking(server, credentials=credentials(pems, "client")) as client:
            assert await client.ask(ECHO, b"known") == b"known"
        for unknown in (None, "stranger"):
            async with asking(server, credentials=credentials(pems, unknown)) as client:
                assert (await client.refusal(ECHO)).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("server_key: 7 7", "Error parsing text-format tensorflow.serving.SSLConfig: 1:"),
        ("server_key: 'x' server_cert: 'y'", "server_cert and server_key must be a PEM certificate"),
        ("", "server_cert and server_key must be a PEM certificate"),
        ("client_verify: true", "client_verify needs custom_ca"),
        (None, "Cannot read it: No such file"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
async def test_a_config_that_cannot_work_is_one_clear_sentence(tmp_path, content, problem):
    path = tmp_path / "ssl.config"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CannotStartError, match=problem):
        async with serving([Rpc(ECHO, echo)], grpc_ssl_config_file=path):
            pass


async def test_a_key_that_does_not_fit_is_noticed_at_the_start(tmp_path, pems):
    settings = ssl_config(tmp_path, pems["stranger"][1], pems["server"][0], pems["ca"][0], False)
    with pytest.raises(CannotStartError, match="server_cert and server_key"):
        async with serving([Rpc(ECHO, echo)], **settings):
            pass


async def test_an_authority_that_is_none_is_noticed_at_the_start(tmp_path, pems):
    cert, key = pems["server"]
    with pytest.raises(CannotStartError, match="custom_ca must hold PEM certificates"):
        async with serving([Rpc(ECHO, echo)], **ssl_config(tmp_path, key, cert, b"no PEM", True)):
            pass
