"""The image's health check: exit code 0 when the server in this container is ready, 1 with the reason when it is not.

Runs every few seconds, so it imports little. Where to ask is in the environment, where the image's settings are; with
TensorFlow Serving's flags it is in these, on the command line of the server.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

TIMEOUT_S = 4.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound
_COMMANDS = {"tensorflow_model_server", "model-server"}


def problem(environment: Mapping[str, str], commands: Iterable[Sequence[str]]) -> str:
    """Why the server of a container is not ready; empty when it is.

    Args:
        environment: the container's.
        commands: the command lines of its processes, the first one's first.
    """
    flags = _model_server_flags(commands)
    if flags is not None and flags["rest_api_port"] == "0":
        return _unreachable(environment, int(flags["port"]))
    port = flags["rest_api_port"] if flags is not None else environment.get("PORT") or 3000
    connection = _connection(environment, int(port))
    try:
        connection.connect()
        if environment.get("TENSORHOST_TLS_CLIENT_CA"):
            return ""  # it answers nobody without a certificate, and this check has none
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        text = answer.read(1000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error!r}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"status {answer.status}: {text}"


def _model_server_flags(commands: Iterable[Sequence[str]]) -> dict[str, str] | None:
    """The flags of the process that serves with TensorFlow Serving's; None where none does."""
    for words in commands:
        # Behind the interpreter comes the script, and perhaps its subcommand; of a flag given twice the last counts.
        if _COMMANDS & {Path(word).name for word in words[:3]}:
            flags = (word[2:].partition("=") for word in words if word.startswith("--"))
            return {"port": "8500", "rest_api_port": "0"} | {name: value for name, _, value in flags}
    return None


def _commands() -> Iterator[list[str]]:
    """The first process, its oldest child, and so on: init, perhaps a second one, the server, one of its own."""
    process = "1"
    for _ in range(4):
        folder = Path("/proc", process)
        with contextlib.suppress(OSError):  # it is another user's
            yield (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        try:
            process = (folder / "task" / process / "children").read_text().split()[0]
        except (OSError, IndexError):
            return


def _unreachable(environment: Mapping[str, str], port: int) -> str:
    """Why nobody takes connections at a port; empty when somebody does. All that can be seen of gRPC from here."""
    try:
        socket.create_connection((_host(environment), port), timeout=TIMEOUT_S).close()
    except OSError as error:
        return f"no answer: {error!r}"
    return ""


def _host(environment: Mapping[str, str]) -> str:
    host = environment.get("HOST", "")
    return _EVERY_ADDRESS.get(host, host)


def _connection(environment: Mapping[str, str], port: int) -> http.client.HTTPConnection:
    host = _host(environment)
    if not environment.get("TENSORHOST_TLS_CERTFILE"):
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    # Its certificate is for the name that clients use, not for this address.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def main() -> int:
    """Print the problem, if there is one; the exit code."""
    found = problem(os.environ, _commands())
    if found:
        print(found)  # noqa: T201 - shown by `docker inspect`
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
