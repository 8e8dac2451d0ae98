"""The image's health check as the image runs it, against servers that behave and servers that do not."""

from __future__ import annotations

import datetime
import importlib.util
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dockerfile import ROOT, exec_form, stages

COMMAND = exec_form(stages()[-1].last("HEALTHCHECK").partition("CMD ")[2])


class Server(HTTPServer):
    """Answers every request with one status, or with what is no answer."""

    def __init__(self, status: int, raw: bytes = b"", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.status, self.raw, self.asked = status, raw, []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """A client that ends a connection is no matter."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.raw:
            self.wfile.write(self.server.raw)
            return
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"status": "some"}')

    def log_message(self, *args: object) -> None:
        pass


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    python, *flags, _script = COMMAND
    assert python == "python3"
    script = ROOT / "deploy" / "image" / "health.py"
    return subprocess.run(
        [sys.executable, *flags, script], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", ""])
def test_a_ready_server_is_healthy(host):
    with Server(200) as server:
        ended = check(HOST=host, PORT=str(server.server_port))
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert server.asked == ["/health/ready"]


def test_a_server_that_loads_or_drains_is_not():
    with Server(503) as server:
        ended = check(HOST="0.0.0.0", PORT=str(server.server_port))
    assert (ended.returncode, ended.stdout) == (1, 'status 503: {"status": "some"}\n')


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"HTTP/1.1 two OK\r\n\r\n"])
def test_what_is_no_answer_is_not_healthy(raw):
    with Server(200, raw) as server:
        ended = check(HOST="0.0.0.0", PORT=str(server.server_port))
    assert ended.returncode == 1
    assert ended.stdout.startswith("no answer: ")


def test_nobody_there_is_not_healthy():
    with Server(200) as server:
        port = str(server.server_port)
    ended = check(HOST="0.0.0.0", PORT=port)
    assert ended.returncode == 1
    assert "ConnectionRefused" in ended.stdout


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a certificate, for a name that is not this machine's, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "models.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_a_server_with_tls_is_asked_with_tls(certificate, status, exit_code):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(status, tls=context) as server:
        ended = check(HOST="0.0.0.0", PORT=str(server.server_port), TENSORHOST_TLS_CERTFILE=str(certificate))
        assert (ended.returncode, server.asked) == (exit_code, ["/health/ready"])


def test_a_server_that_wants_a_certificate_of_clients_is_only_knocked_at(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    tls = {"TENSORHOST_TLS_CERTFILE": str(certificate), "TENSORHOST_TLS_CLIENT_CA": str(certificate)}
    with Server(200, tls=context) as server:
        ended = check(HOST="0.0.0.0", PORT=str(server.server_port), **tls)
        assert (ended.returncode, server.asked) == (0, [])


def problem(*command: str, **environment: str) -> str:
    """What the check finds where the container's second process has this command."""
    spec = importlib.util.spec_from_file_location("health", ROOT / "deploy" / "image" / "health.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problem({"HOST": "0.0.0.0", **environment}, [["tini", "--", "entrypoint"], list(command)])


@pytest.mark.parametrize(
    "command", [["/opt/python", "/usr/bin/tensorflow_model_server"], ["python3", "/opt/bin/tensorhost", "model-server"]]
)
def test_a_model_server_is_asked_where_its_flags_say(command):
    with Server(200) as server:
        flags = ("--rest_api_port=1", "--enable_batching", f"--rest_api_port={server.server_port}", "")
        assert problem(*command, *flags, PORT="1") == ""
        assert server.asked == ["/health/ready"]


@pytest.mark.parametrize("flags", [[], ["--rest_api_port=0"]])
def test_a_model_server_without_http_is_only_knocked_at(flags):
    with Server(200) as server:
        port = server.server_port
        assert problem("python", "tensorflow_model_server", f"--port={port}", *flags) == ""
        assert server.asked == []
    assert "ConnectionRefused" in problem("python", "tensorflow_model_server", f"--port={port}", *flags)


def test_another_command_is_asked_where_the_environment_says():
    with Server(200) as server:
        command = ("python", "/opt/bin/tensorhost", "serve", "/models/model-server", "--rest_api_port=1")
        assert problem(*command, PORT=str(server.server_port)) == ""
