"""Servers as processes: start them, wait until they answer rightly, set aside those whose turn it is not, stop them.

All servers of a comparison live at the same time, so that they can be measured in turn within seconds. The ones whose
turn it is not are stopped by signal (SIGSTOP): an idle server that polls would otherwise take from its neighbour.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.asking import Ask, NoAnswerError, asking_grpc, asking_http
from benchmarks.contenders import Contender
from benchmarks.machine import family
from benchmarks.models import Model
from benchmarks.protocols import Protocol

SETTLE_S = 1
_START_TIMEOUT_S = 300
_STOP_TIMEOUT_S = 15
_PORTS = range(20000, 32000, 10)
"""Below those that the system gives to clients, and ten apart: some servers take the ports after theirs."""

_FIRST_ANSWER_TIMEOUT_S = 30


class WrongAnswerError(RuntimeError):
    """A server answered with something else than the model's output, so its speed means nothing."""


class RunningServer:
    """A started contender. Use ``run_servers``, which also ends it.

    ``serve``, if given, is a repository that holds the model among others, for contenders that take one.
    """

    def __init__(self, contender: Contender, model: Model, scratch: Path, serve: Path | None = None) -> None:
        self.contender = contender
        self.name = contender.name
        self.model = model
        self.port = free_port()
        scratch.mkdir()
        self._log = scratch / "log"
        path = serve or (model.folder if contender.versioned else model.saved_model)

        def fill(text: str) -> str:
            return text.format(model=path, port=self.port, grpc_port=self.grpc_port)

        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "TMPDIR": str(scratch)}
        environment |= {name: fill(value) for name, value in contender.environment.items()}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [fill(part) for part in contender.command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The first process of the server's family."""
        return self._process.pid

    @property
    def grpc_port(self) -> int:
        """Where gRPC is served, if it is."""
        return self.port + 1

    @property
    def url(self) -> str:
        """Where predictions are asked for."""
        return self.url_of(self.contender.protocol)

    def url_of(self, protocol: Protocol) -> str:
        """Where predictions are asked for over ``protocol``, which is one over HTTP."""
        return f"http://127.0.0.1:{self.port}{protocol.path.format(model=self.model.name)}"

    def body(self) -> bytes:
        """The request this contender is sent."""
        return self.contender.protocol.write(self.model)

    def wait_until_right(self) -> None:
        """Return when the server answers its request with the model's output.

        Raises:
            WrongAnswerError: it answered with something else.
            TimeoutError: it ended, or did not answer in time; the message holds the end of its log.
        """
        give_up_at = time.monotonic() + _START_TIMEOUT_S
        last = "no answer"
        while time.monotonic() < give_up_at and self._process.poll() is None:
            try:
                with self._asking(self.contender.protocol, _FIRST_ANSWER_TIMEOUT_S) as ask:
                    self._check(self.contender.protocol, ask())
                    return
            except NoAnswerError as error:
                if not error.is_early:
                    raise WrongAnswerError(f"{self.name} {error}") from error
                last = str(error)
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise TimeoutError(f"{self.name} did not start serving {self.model.name} ({last}):\n{tail}")

    def _asking(self, protocol: Protocol, timeout_s: float) -> contextlib.AbstractContextManager[Ask]:
        body = protocol.write(self.model)
        if protocol.is_grpc:
            return asking_grpc(f"127.0.0.1:{self.grpc_port}", protocol, body, timeout_s)
        return asking_http(self.url_of(protocol), protocol, body, timeout_s)

    def _check(self, protocol: Protocol, answer: bytes) -> None:
        if not protocol.answers(self.model, answer):
            raise WrongAnswerError(f"{self.name} answers {self.model.name} wrongly: {answer[:200]!r}")

    def settle(self, seconds: float, protocol: Protocol | None = None) -> None:
        """Ask one request after another for a while, at least one; return when the last is answered. All are compared.

        What a load generator left unanswered when it ended is worked off by then, too.

        Raises:
            WrongAnswerError: an answer is not the model's.
            NoAnswerError: there was none.
        """
        protocol, until = protocol or self.contender.protocol, time.monotonic() + seconds
        with self._asking(protocol, _START_TIMEOUT_S) as ask:
            while True:
                self._check(protocol, ask())
                if time.monotonic() >= until:
                    return

    def pause(self) -> None:
        """Take the server off the processor. It should have nothing left to do: a pause counts as time a call took.

        Batching that adapts to such times would be misled, and Triton, whose calls have time limits, crashes.
        """
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the server run again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def ask_to_stop(self) -> None:
        """Tell the server to end, and do not wait for it."""
        self.resume()
        self._process.terminate()

    def stop(self) -> None:
        """End the server and every process it started. ``ask_to_stop`` came first."""
        members = family(self.pid)  # asked for now: what outlives the first process loses its parent
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT_S)
        for pid in members | family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def run_servers(
    contenders: Sequence[Contender], model: Model, *, serve: Path | None = None, failures: dict[str, str] | None = None
) -> Iterator[list[RunningServer]]:
    """Start every contender on ``model``, see that each answers rightly, leave all paused; end them afterwards.

    tensorhost starts by itself, because it measures while it starts; the others side by side. ``failures``, if given,
    takes the reasons of those that do not come to serve, by name; without it the first of them raises. tensorhost's own
    failures always do.
    """
    servers: list[RunningServer] = []
    serving: list[RunningServer] = []
    with tempfile.TemporaryDirectory() as scratch:

        def start(some: Sequence[Contender]) -> None:
            for one in some:
                servers.append(RunningServer(one, model, Path(scratch) / str(len(servers)), serve))
            serving.extend(server for server in servers[-len(some) :] if _comes_to_serve(server, failures))

        try:
            for one in contenders:
                if one.is_ours:
                    start([one])
            if others := [one for one in contenders if not one.is_ours]:
                start(others)
            yield serving
        finally:
            for server in servers:
                server.ask_to_stop()
            for server in servers:
                server.stop()


def _comes_to_serve(server: RunningServer, failures: dict[str, str] | None) -> bool:
    try:
        server.wait_until_right()
    except (TimeoutError, WrongAnswerError) as error:
        if failures is None or server.contender.is_ours:
            raise
        failures[server.name] = str(error).splitlines()[0]
        print(error, flush=True)
        return False
    server.pause()
    return True


def free_port() -> int:
    """A port of ``_PORTS`` that nobody listens on at the moment."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("No port is free.")
