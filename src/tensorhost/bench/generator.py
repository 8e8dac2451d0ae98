"""The load generator: a process of its own, so that showing what it does never delays what it measures.

``python -m tensorhost.bench.generator`` reads a plan and the body of its requests from standard input, says on
standard output, one JSON object a line, that it is ready. For each load it waits for two lines: one to begin the
warm-up, one to begin measuring. It ends what it does when standard input is closed, and so with the process that
started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import FileIO, RawIOBase
from typing import Any, Protocol

from tensorhost.bench.connections import connect_all, failure_code, failure_message, open_lanes
from tensorhost.bench.open_loop import pace
from tensorhost.bench.plan import HttpTarget, Load, ModelTarget, Plan
from tensorhost.bench.tally import Tally
from tensorhost.core.errors import TensorhostError
from tensorhost.telemetry import allow_open_files

_OTHER_FILES = 64
"""Files open besides connections: the pipes to who started this process, the event loop's own."""

_TELL_EVERY_S = 0.2
_SWITCH_INTERVAL_S = 0.0005
"""The server's, for what runs in this process as it does there."""

Say = Callable[[dict[str, Any]], None]


class Run(Protocol):
    """A load being put on."""

    @property
    def tally(self) -> Tally:
        """What it has come to by now."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since its first request."""

    def stop(self) -> None:
        """End it soon."""

    async def run(self) -> Tally:
        """Carry it out."""


class Target(Protocol):
    """Whom the load is put on."""

    def facts(self) -> dict[str, Any]:
        """What the generator found out about it, JSON-ready."""

    def begin(self, load: Load) -> Any:
        """An async context manager that gives a function from a load to its run."""


class _Server:
    def __init__(self, target: HttpTarget, body: bytes) -> None:
        self._target = target
        self._body = body

    def facts(self) -> dict[str, Any]:
        return {}

    @asynccontextmanager
    async def begin(self, load: Load) -> AsyncIterator[Callable[[Load], Run]]:
        lanes = open_lanes(self._target, self._body, load.concurrency)
        try:
            await connect_all(lanes)
            yield lambda part: pace(lanes, part)
        finally:
            for lane in lanes:
                lane.close()


async def carry_out(plan: Plan, body: bytes, go: asyncio.Queue[bool], say: Say) -> None:
    """Put each load of ``plan`` on its target when ``go`` says so, until it says no; tell of all that with ``say``."""
    async with _opened(plan.target, body) as target:
        say({"ready": target.facts()})
        for load in plan.loads:
            if not await go.get():
                # Stopped between two loads; whoever has begun to wait for this one's result must not wait in vain.
                say({"result": Tally().to_json()})
                return
            async with target.begin(load) as run_of:
                stopped = False
                if load.warmup_s > 0:
                    warmup = dataclasses.replace(load, duration_s=load.warmup_s, requests=None)
                    _, stopped = await _run(run_of(warmup), go, lambda message: say({"warming": message}))
                say({"warm": True})
                tally = Tally()
                stopped = stopped or not await go.get()
                if not stopped:
                    tally, stopped = await _run(run_of(load), go, lambda message: say({"progress": message}))
            say({"result": tally.to_json()})
            if stopped:
                return


@asynccontextmanager
async def _opened(target: HttpTarget | ModelTarget, body: bytes) -> AsyncIterator[Target]:
    if isinstance(target, HttpTarget):
        yield _Server(target, body)
        return
    from tensorhost.bench.model_target import opened

    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    async with opened(target, body) as model:
        yield model


async def _run(run: Run, go: asyncio.Queue[bool], say: Say) -> tuple[Tally, bool]:
    """The tally of ``run``, and whether it was stopped by ``go``."""
    running = asyncio.create_task(run.run())
    stopping = asyncio.create_task(go.get())
    stopped = False
    while not running.done():
        await asyncio.wait({running} if stopped else {running, stopping}, timeout=_TELL_EVERY_S)
        if stopping.done() and not stopped:
            stopped = True
            run.stop()
        tally = run.tally
        say(
            {
                "elapsedS": run.elapsed_s,
                "answered": tally.answered,
                "failed": tally.failed,
                "p50S": tally.latencies.quantile(0.5),
                "p99S": tally.latencies.quantile(0.99),
            }
        )
    stopping.cancel()
    return running.result(), stopped or running.result().gone


async def _main(plan: Plan, body: bytes, source: RawIOBase, say: Say) -> None:
    go: asyncio.Queue[bool] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        line = source.readline()
        go.put_nowait(bool(line))
        if not line:
            loop.remove_reader(source.fileno())

    loop.add_reader(source.fileno(), heard)
    try:
        await carry_out(plan, body, go, say)
    except TensorhostError as error:
        say({"error": {"code": error.code.value, "message": error.message}})
    except OSError as error:
        say({"error": {"code": failure_code(error), "message": failure_message(error)}})


def _speaker() -> Say:
    """Writes messages to standard output, which from now on nobody else does: a model may print."""
    output = os.dup(1)
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        line = memoryview(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):  # whoever listened has gone; standard input says so, too
            while line:
                line = line[os.write(output, line) :]

    return say


def main() -> None:
    """Read the plan and carry it out."""
    from tensorhost.bench.loops import loop_factory

    say = _speaker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    source = FileIO(0, closefd=False)  # nothing may be left in a buffer that the loop cannot see
    plan_bytes, body_bytes = map(int, source.readline().split())
    plan = Plan.from_json(json.loads(_read(source, plan_bytes)))
    body = _read(source, body_bytes)
    if isinstance(plan.target, HttpTarget):
        allow_open_files(max(load.concurrency for load in plan.loads) + _OTHER_FILES)
    exact = any(load.rate is not None for load in plan.loads)
    with asyncio.Runner(loop_factory=loop_factory(exact_timers=exact)) as runner:
        runner.run(_main(plan, body, source, say))


def _read(source: RawIOBase, count: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < count:
        piece = source.read(count - len(pieces))
        if not piece:
            raise EOFError("the plan is cut short")
        pieces += piece
    return bytes(pieces)


if __name__ == "__main__":
    main()
