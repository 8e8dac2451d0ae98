"""A container of the image under test, run by docker or podman as an operator would, and asked over real sockets."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import uuid
from functools import cache
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 110.0


@cache
def engine() -> str:
    """The program that runs containers here."""
    found = subprocess.run([ROOT / "deploy" / "image" / "builder"], capture_output=True, text=True, check=False)
    name = found.stdout.strip()
    assert name in ("docker", "podman"), f"these tests need docker or podman; there is {name or 'neither'}"
    return name


def confined() -> tuple[str, ...]:
    """Flags that take away all that a server does not need."""
    # podman's own idea of read-only leaves some folders writable; docker's does not.
    strict = ("--read-only-tmpfs=false",) if engine() == "podman" else ()
    return ("--read-only", *strict, "--cap-drop=all", "--security-opt=no-new-privileges")


def call(*arguments: str) -> str:
    """What the engine prints. Raises CalledProcessError where it fails."""
    return subprocess.run([engine(), *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def configuration(image: str) -> dict[str, Any]:
    """What an image says about how it is run."""
    return _inspected(image)["Config"]


def health_check(image: str) -> list[str]:
    """The command of an image's health check, and before it whether a shell is wanted."""
    inspected = _inspected(image)  # docker has it in the configuration, podman beside it
    return (inspected.get("Healthcheck") or inspected["Config"]["Healthcheck"])["Test"]


def _inspected(image: str) -> dict[str, Any]:
    return json.loads(call("image", "inspect", image))[0]


def free_port() -> int:
    """A port nobody listens on. Containers share the network of this machine, so they need one each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Container:
    """One container. Use as a context manager; leaving it ends the container and waits.

    Args:
        image: what to run.
        flags: of the engine's ``run``.
        command: instead of the image's own.
        environment: variables.
    """

    def __init__(self, image: str, *flags: str, command: tuple[str, ...] = (), **environment: str) -> None:
        self.name = f"tensorhost-test-{uuid.uuid4().hex[:12]}"
        self.port = free_port()
        variables = {"PORT": str(self.port), "TENSORHOST_LOG_FORMAT": "json", "TENSORHOST_DRAIN_WINDOW_S": "0"}
        variables["TENSORHOST_GRPC_PORT"] = "0"
        given = [f"--env={name}={value}" for name, value in (variables | environment).items()]
        line = [
            engine(),
            "run",
            "--rm",
            "--network=host",
            "--no-healthcheck",
            f"--name={self.name}",
            *given,
            *flags,
            image,
            *command,
        ]
        self._process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        if self._process.poll() is None:
            self.signal("KILL")
        self.wait()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of its output with ``pattern`` in it, now or later."""
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    found = re.search(pattern, line)
                    if found:
                        return found
                seen = len(self.lines)
                assert not self._ended, f"it ended without {pattern}:\n{self.log}"
                assert self._news.wait(TIMEOUT_S), f"no {pattern} in:\n{self.log}"

    def wait_until_ready(self) -> None:
        self.wait_for('"event":"ready"')

    def signal(self, name: str) -> None:
        """Send a signal to its first process, as stopping a container does."""
        call("kill", f"--signal={name}", self.name)

    def wait(self) -> int:
        """Its exit code."""
        exit_code = self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        self._process.stdout.close()
        return exit_code

    def run(self, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        flags = [f"--user={user}"] if user else []
        return subprocess.run(
            [engine(), "exec", *flags, self.name, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def python(self, program: str) -> str:
        """What a Python program prints inside, with the image's packages."""
        ended = self.run("/opt/tensorhost/bin/python", "-c", program)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout.strip()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
