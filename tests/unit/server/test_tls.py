import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tensorhost.server.listener import CannotStartError
from tensorhost.server.tls import tls_context
from tensorhost.settings import Settings


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls_unit")
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "unit")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"secret")
    contents = {
        "cert": certificate.public_bytes(serialization.Encoding.PEM),
        "key": pem(key, plain),
        "other": pem(other, plain),
        "locked": pem(key, locked),
        "rubbish": b"no PEM at all",
    }
    for file_name, content in contents.items():
        (folder / file_name).write_bytes(content)
    return folder


def pem(key, encryption):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def context_of(files, certificate, key, authority=None):
    ca = None if authority is None else files / authority
    return tls_context(Settings(tls_certfile=files / certificate, tls_keyfile=files / key, tls_client_ca=ca))


def test_without_a_certificate_there_is_no_context():
    assert tls_context(Settings()) is None


def test_tls_1_2_is_the_least_and_clients_need_no_certificate(files):
    context = context_of(files, "cert", "key")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


def test_an_authority_makes_client_certificates_required(files):
    assert context_of(files, "cert", "key", "cert").verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("key", ["other", "locked", "rubbish"])
def test_a_key_that_does_not_fit_is_one_clear_sentence(files, key):
    with pytest.raises(CannotStartError, match=r"^tls_certfile and tls_keyfile must be .*: .*\.$"):
        context_of(files, "cert", key)


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "setting"),
    [
        ("missing", "key", None, "tls_certfile"),
        ("cert", "missing", None, "tls_keyfile"),
        ("cert", "key", "missing", "tls_client_ca"),
    ],
)
def test_a_missing_file_names_its_setting(files, certificate, key, authority, setting):
    with pytest.raises(CannotStartError, match=rf"^{setting} cannot be read: .*missing"):
        context_of(files, certificate, key, authority)


def test_an_authority_without_certificates_is_refused(files):
    with pytest.raises(CannotStartError, match=r"^tls_client_ca must hold PEM certificates"):
        context_of(files, "cert", "key", "rubbish")
