"""Servers as processes: start one, wait until it answers rightly, set it aside while another is measured, stop it.

All servers of a comparison live at the same time, so that they can be measured in turn within seconds. The ones whose
turn it is not are stopped by signal (SIGSTOP): an idle server that polls would otherwise take from its neighbour.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.models import Model

_PEERS = Path(__file__).parent / "peers"
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 15
_NOT_YET = frozenset({httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE})
"""What a server that listens before its models are loaded may answer."""


class WrongAnswerError(RuntimeError):
    """A server answered with something else than the model's output, so its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of serving a model: a name, and the command that starts it (``{model}`` and ``{port}`` are filled in)."""

    name: str
    command: tuple[str, ...]
    versioned: bool = False
    """Whether ``{model}`` is the folder of versions rather than the SavedModel itself."""
    environment: dict[str, str] = field(default_factory=dict)


def tensorhost(*flags: str) -> Contender:
    """This server, from the environment that runs the benchmark, as a user would start it."""
    program = str(Path(sys.executable).parent / "tensorhost")
    command = (program, "serve", "{model}", "--port", "{port}", "--log-level", "warning", *flags)
    return Contender("tensorhost", command, versioned=True)


def fastapi(python: Path, endpoint: str) -> Contender:
    """FastAPI on uvicorn; ``endpoint`` is ``def`` or ``async``."""
    name = "fastapi" if endpoint == "def" else "fastapi_async"
    return Contender(name, (str(python), str(_PEERS / "fastapi_server.py"), "{model}", "{port}", endpoint))


def litserve(python: Path, max_batch_size: int = 32, batch_timeout_ms: float = 1.0) -> Contender:
    """LitServe; a batch of 1 turns its batching off."""
    name = "litserve" if max_batch_size > 1 else "litserve_unbatched"
    script = str(_PEERS / "litserve_server.py")
    return Contender(name, (str(python), script, "{model}", "{port}", str(max_batch_size), str(batch_timeout_ms)))


class RunningServer:
    """A started contender. Use ``run_servers``, which also ends it."""

    def __init__(self, contender: Contender, model: Model, log: Path, serve: Path | None = None) -> None:
        self.name = contender.name
        self.model = model
        self.port = free_port()
        path = serve or (model.folder if contender.versioned else model.saved_model)
        command = [part.format(model=path, port=self.port) for part in contender.command]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | contender.environment
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The first process of the server's family."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where predictions are asked for."""
        return f"http://127.0.0.1:{self.port}/predict"

    def body(self) -> bytes:
        """The request every contender is sent; the others ignore the model's name."""
        return request_body(self.model)

    def wait_until_right(self) -> None:
        """Return when the server answers its request with the model's output.

        Raises:
            WrongAnswerError: it answered 200 with something else.
            TimeoutError: it ended, or did not answer in time; the message holds the end of its log.
        """
        give_up_at = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up_at and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.post(self.url, content=self.body(), headers=JSON_HEADERS, timeout=30)
                if answer.status_code == httpx.codes.OK:
                    self._check(answer.json())
                    return
                if answer.status_code not in _NOT_YET:
                    raise WrongAnswerError(f"{self.name} answers {answer.status_code}: {answer.text[:200]}")
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise TimeoutError(f"{self.name} did not start serving {self.model.name}:\n{tail}")

    def _check(self, answer: dict[str, Any]) -> None:
        given = np.array(answer["predictions"], np.float32)
        if given.shape != self.model.expected.shape or not np.allclose(given, self.model.expected, 1e-3, 1e-5):
            raise WrongAnswerError(f"{self.name} answers {self.model.name} wrongly: {str(answer)[:200]}")

    def settle(self, seconds: float) -> None:
        """Ask one request after another for a while, and return when the last is answered.

        What a load generator left unanswered when it ended is worked off by then, too.
        """
        body, until = self.body(), time.monotonic() + seconds
        with httpx.Client(headers=JSON_HEADERS, timeout=_START_TIMEOUT_S) as client:
            while time.monotonic() < until:
                self._check(client.post(self.url, content=body).raise_for_status().json())

    def pause(self) -> None:
        """Take the server off the processor."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the server run again."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server and every process it started."""
        with contextlib.suppress(ProcessLookupError):
            self.resume()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


JSON_HEADERS = {"Content-Type": "application/json"}


def request_body(model: Model) -> bytes:
    """One row, as a Python client writes it."""
    return json.dumps({"modelName": model.name, "inputs": model.rows}).encode()


@contextlib.contextmanager
def run_servers(
    contenders: Sequence[Contender], model: Model, *, serve: Path | None = None
) -> Iterator[list[RunningServer]]:
    """Start every contender on ``model``, see that each answers rightly, leave all paused; end them afterwards.

    ``serve``, if given, is a repository that holds the model among others, for contenders that take one.
    """
    servers: list[RunningServer] = []
    with tempfile.TemporaryDirectory() as logs:
        try:
            for contender in contenders:
                server = RunningServer(contender, model, Path(logs) / f"{contender.name}.log", serve)
                servers.append(server)
                server.wait_until_right()
                server.pause()
            yield servers
        finally:
            for server in servers:
                server.stop()


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
