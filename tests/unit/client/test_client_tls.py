"""https: whose certificates are trusted, and our own for a server that wants one."""

from __future__ import annotations

import datetime
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scripted_server import Held, reply, running

from tensorhost.client import Client, TlsError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, its key, and a file with both."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tensorhost tests")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(written)
    (folder / "key.pem").write_bytes(private)
    (folder / "both.pem").write_bytes(private + written)
    return folder


@pytest.fixture(params=[False, True], ids=["server only", "mutual"])
def server(request, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "both.pem")
    if request.param:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate / "cert.pem")
        # The refusal of a certificate is part of the handshake, not of the first answer.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(context) as scripted:
        yield scripted


@pytest.mark.parametrize("kind", ["file", "text", "context", "nobody"])
def test_a_trusted_server_is_spoken_to(server, make, certificate, kind):
    authority = certificate / "cert.pem"
    verify = {"file": authority, "text": str(authority), "nobody": False}.get(kind)
    if verify is None:
        verify = ssl.create_default_context(cafile=authority)
    cert = (certificate / "cert.pem", str(certificate / "key.pem")) if kind == "file" else certificate / "both.pem"
    assert make(server.url, verify=verify, cert=cert).metrics() == {}


def test_a_stream_over_tls_is_broken_off(server, certificate):
    held = Held(reply({}))
    server.otherwise = held

    def items():
        yield [0]
        assert held.asked.wait(20)
        raise KeyboardInterrupt

    with Client(server.url, verify=certificate / "cert.pem", cert=certificate / "both.pem") as client:
        with pytest.raises(KeyboardInterrupt):
            next(client.predict_many("m", items(), chunk_size=1))
        assert not held.free.is_set()
        held.free.set()
    assert not held.waited_in_vain


def test_a_server_of_unknown_authority_is_not_and_is_asked_once(server, make, naps):
    with pytest.raises(TlsError, match="no TLS connection"):
        make(server.url).metrics()
    assert (server.asked, naps) == ([], [])


@pytest.mark.parametrize("server", [True], indirect=True)
def test_a_server_that_wants_a_certificate_refuses_without(server, make, certificate, naps):
    with pytest.raises(TlsError):
        make(server.url, verify=certificate / "cert.pem").metrics()
    assert naps == []


@pytest.mark.parametrize("options", [{"verify": "/nowhere/ca.pem"}, {"cert": "/nowhere/cert.pem"}])
def test_a_certificate_that_is_not_there_is_an_error_at_once(make, options):
    with pytest.raises(OSError, match="No such file"):
        make("https://localhost", **options)
