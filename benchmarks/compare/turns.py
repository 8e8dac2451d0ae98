"""One turn of one participant: a server under load, or a loop in a process of its own; figures out."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from benchmarks import machine
from benchmarks.compare.plan import JSON, PNG, Case
from benchmarks.load import LoadFailedError, run_load, run_open_load
from benchmarks.models import Model
from benchmarks.protocols import NATIVE_PNG
from benchmarks.servers import RunningServer

SETTLE_S = 0.3
WARM_UP_S = 1
LOOPS = ("signature", "frozen", "openvino")
_WARM_UP_CONNECTIONS = 8
_LOOP_SHARE = 0.5
"""A loop has no clients who must find their pace; half a server's turn is enough for it."""

_MAX_ROWS = 32


class Participant(Protocol):
    """Whoever takes a turn in a case."""

    @property
    def name(self) -> str: ...

    @property
    def is_ours(self) -> bool: ...

    def takes(self, case: Case) -> bool:
        """Whether it can be measured in this case."""

    def warm_up(self) -> None:
        """Before the first case of a model."""

    def turn(self, case: Case) -> dict[str, float]:
        """Its figures over the case's seconds; ``requests_s`` and ``cpu_us_per_request`` are always among them."""


class ServerParticipant:
    """A running server, paused but for its turns."""

    def __init__(self, server: RunningServer, scratch: Path) -> None:
        self.name = server.name
        self.is_ours = server.contender.is_ours
        self._server = server
        self._protocols = {JSON: server.contender.protocol, PNG: NATIVE_PNG}
        self._bodies = {kind: scratch / f"{server.name}.{kind}" for kind in self._protocols}

    def takes(self, case: Case) -> bool:
        return case.admits(self._server.contender)

    def warm_up(self) -> None:
        with self._awake(), contextlib.suppress(LoadFailedError):
            run_load(self._server.url, self._body(JSON), _WARM_UP_CONNECTIONS, WARM_UP_S)

    def turn(self, case: Case) -> dict[str, float]:
        protocol, body = self._protocols[case.body], self._body(case.body)
        url = self._server.url_of(protocol)
        with self._awake():
            self._server.settle(SETTLE_S, protocol)
            if not case.rate:
                figures = measure(self._server.pid, lambda: asdict(run_load(url, body, case.connections, case.seconds)))
            else:
                load = (url, body, case.connections, case.rate, case.seconds)
                figures = measure(self._server.pid, lambda: run_open_load(*load))
        return figures | {"body_bytes": body.stat().st_size}

    def _body(self, kind: str) -> Path:
        if not self._bodies[kind].is_file():
            self._bodies[kind].write_bytes(self._protocols[kind].write(self._server.model))
        return self._bodies[kind]

    @contextlib.contextmanager
    def _awake(self) -> Iterator[None]:
        self._server.resume()
        try:
            yield
            self._server.settle(0)
        finally:
            self._server.pause()


class LoopParticipant:
    """A model called in a loop by its own process; ``rows`` at a time, as many as a server could put together."""

    is_ours = False

    def __init__(self, way: str, process: subprocess.Popen[str]) -> None:
        self.name = way
        self._process = process

    def takes(self, case: Case) -> bool:
        return case.has_loops

    def warm_up(self) -> None:
        """Each turn begins with a call that does not count."""

    def turn(self, case: Case) -> dict[str, float]:
        rows, seconds = min(case.connections, _MAX_ROWS), case.seconds * _LOOP_SHARE
        return measure(self._process.pid, lambda: self._ask(rows, seconds))

    def _ask(self, rows: int, seconds: float) -> dict[str, float]:
        self._tell(f"{rows} {seconds}\n")
        return self.hear()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def hear(self) -> dict[str, float]:
        """One line of the process. Raises LoadFailedError when it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailedError(f"The loop {self.name} ended.")
        answer: dict[str, float] = json.loads(line)
        return answer


def measure(pid: int, load: Callable[[], Mapping[str, float]]) -> dict[str, float]:
    """Run a load; its figures, and who used the processor meanwhile."""
    before, started = machine.CpuSeconds.now(pid), time.perf_counter()
    figures = load()
    elapsed_s = time.perf_counter() - started
    busy = machine.CpuSeconds.now(pid).cores_since(before, elapsed_s)
    per_request = {
        f"{whose}_us_per_request": round(busy[cores] * elapsed_s / max(1.0, figures["requests_s"] * elapsed_s) * 1e6, 1)
        for whose, cores in (("cpu", "server_cores"), ("generator", "generator_cores"))
    }
    return per_request | busy | dict(figures)


@contextlib.contextmanager
def run_loops(model: Model, failures: dict[str, str]) -> Iterator[list[LoopParticipant]]:
    """Start a process for every way that is installed; ``failures`` takes the reasons of those that do not answer."""
    with contextlib.ExitStack() as stack:
        loops = []
        for way in LOOPS:
            if way == "openvino" and find_spec("openvino") is None:
                failures[way] = "is not installed"
                continue
            loops.append(LoopParticipant(way, stack.enter_context(_loop_process(way, model))))
        yield [loop for loop in loops if _is_ready(loop, failures)]


@contextlib.contextmanager
def _loop_process(way: str, model: Model) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.compare.in_process", way, str(model.folder.parent), model.name]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        with process:
            yield process
            process.kill()


def _is_ready(loop: LoopParticipant, failures: dict[str, str]) -> bool:
    try:
        loop.hear()
    except LoadFailedError:
        failures[loop.name] = "could not call the model"
        return False
    return True
