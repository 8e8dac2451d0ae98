"""One turn of one participant: a server under load, or a loop in a process of its own; figures out."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from benchmarks import machine
from benchmarks.asking import NoAnswerError
from benchmarks.compare.plan import Case
from benchmarks.grpc_generator import GrpcGenerator
from benchmarks.load import LoadFailedError, run_load, run_open_load
from benchmarks.models import Model
from benchmarks.servers import RunningServer, WrongAnswerError

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

    @property
    def is_measure(self) -> bool:
        """Whether the others' figures are put in relation to its own."""

    def takes(self, case: Case) -> bool:
        """Whether it can be measured in this case."""

    def warm_up(self) -> None:
        """Before the first case of a model. What fails here fails again in a turn, where it counts."""

    def turn(self, case: Case) -> dict[str, float]:
        """Its figures over the case's seconds; ``requests_s`` and ``cpu_us_per_request`` are always among them."""


class ServerParticipant:
    """A running server, paused but for its turns, asked over one protocol.

    Args:
        server: the server, of which there may be several participants.
        kind: the kind of body it is sent.
        row: the name of its figures.
        scratch: a folder for bodies.
    """

    def __init__(self, server: RunningServer, kind: str, row: str, scratch: Path) -> None:
        self.name = row
        self.is_ours = server.contender.is_ours
        self.is_measure = self.is_ours and row == server.name
        self._server = server
        self._kind = kind
        self._protocol = server.contender.protocols[kind]
        self._body = scratch / f"{row}.{kind}"

    def takes(self, case: Case) -> bool:
        return case.rows_of(self._server.contender).get(self.name) == self._kind

    def warm_up(self) -> None:
        self._body.write_bytes(self._protocol.write(self._server.model))
        with contextlib.suppress(LoadFailedError, NoAnswerError, WrongAnswerError), self._awake():
            self._load(_WARM_UP_CONNECTIONS, WARM_UP_S)

    def turn(self, case: Case) -> dict[str, float]:
        with self._awake():
            self._server.settle(SETTLE_S, self._protocol)
            if case.rate:
                load = (self._server.url_of(self._protocol), self._body, case.connections, case.rate, case.seconds)
                figures = measure(self._server.pid, lambda: run_open_load(*load))
            else:
                figures = self._load(case.connections, case.seconds)
        return figures | {"body_bytes": self._body.stat().st_size}

    def _load(self, connections: int, seconds: int) -> dict[str, float]:
        """A closed loop."""
        server, protocol = self._server, self._protocol
        if protocol.is_grpc:
            with GrpcGenerator(server.grpc_port, protocol.path, self._body, connections, seconds) as generator:
                return measure(server.pid, lambda: generator.run(lambda answer: protocol.answers(server.model, answer)))
        load = (server.url_of(protocol), self._body, connections, seconds, protocol.headers)
        return measure(server.pid, lambda: asdict(run_load(*load)))

    @contextlib.contextmanager
    def _awake(self) -> Iterator[None]:
        self._server.resume()
        try:
            yield
            self._server.settle(0, self._protocol)
        finally:
            self._server.pause()


def participants_of(server: RunningServer, cases: Sequence[Case], scratch: Path) -> list[ServerParticipant]:
    """The participants that a server is in some cases, one for each of its rows and kinds of bodies."""
    rows = dict.fromkeys(row for case in cases for row in case.rows_of(server.contender).items())
    return [ServerParticipant(server, kind, name, scratch) for name, kind in rows]


class LoopParticipant:
    """A model called in a loop by its own process; ``rows`` at a time, as many as a server could put together."""

    is_ours = is_measure = False

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
def run_loops(model: Model, ways: Sequence[str], failures: dict[str, str]) -> Iterator[list[LoopParticipant]]:
    """Start a process for each of ``ways`` that is installed; ``failures`` takes the reasons of the others."""
    with contextlib.ExitStack() as stack:
        loops = []
        for way in ways:
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
