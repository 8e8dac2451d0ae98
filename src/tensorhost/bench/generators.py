"""The generators of a run, seen from the process that shows it: start, events, results, stop.

It measures nothing. What stays true: leaving the ``with`` block ends every process that was started, and a generator
that dies is an error with the last of what it wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any, Self

from tensorhost.bench.plan import HttpTarget, Load, ModelTarget, Plan
from tensorhost.bench.tally import Tally

_END_S = 20.0
_SHOWN_BYTES = 2000
_CHUNK_BYTES = 2**16

Progress = Callable[[str, list[dict[str, Any]]], None]
"""Told what the generators do (``warming``, ``progress``), and the newest words of each."""


class GeneratorError(Exception):
    """No figures: the target refused, could not be reached or loaded, or a generator died.

    Attributes:
        code: an error code of the API, ``UNREACHABLE``, or ``INTERNAL``.
        message: one sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Generators:
    """``count`` generator processes that share every load.

    Args:
        target: what they load.
        loads: one after the other; each concurrency is at least ``count``.
        body: of every request.
        count: how many processes; one where the target is a model.
    """

    def __init__(
        self, target: HttpTarget | ModelTarget, loads: tuple[Load, ...], body: bytes, *, count: int = 1
    ) -> None:
        self._plans = [Plan(target, tuple(load.share(index, count) for load in loads)) for index in range(count)]
        self._body = body
        self._processes: list[subprocess.Popen[bytes]] = []
        self._noise: IO[bytes] | None = None
        self._selector = selectors.DefaultSelector()
        self._pieces = [b""] * count
        self._finished: set[int] = set()
        self._unread: deque[tuple[int, bytes]] = deque()

    def __enter__(self) -> Self:
        self._noise = tempfile.TemporaryFile()
        for plan in self._plans:
            process = subprocess.Popen(
                [sys.executable, "-m", "tensorhost.bench.generator"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
                # Ctrl-C in the terminal is for the process that shows the results.
                start_new_session=True,
            )
            self._processes.append(process)
            encoded = json.dumps(plan.to_json()).encode()
            self._write(process, b"%d %d\n" % (len(encoded), len(self._body)) + encoded + self._body)
            assert process.stdout is not None
            self._selector.register(process.stdout, selectors.EVENT_READ, len(self._processes) - 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        for process in self._processes:
            if error is not None:
                process.kill()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        self._selector.close()
        if self._noise is not None:
            self._noise.close()

    def ready(self) -> dict[str, Any]:
        """Wait until all are ready; what they found out about the target. Raises GeneratorError."""
        facts: list[dict[str, Any]] = []
        for _, message in self._messages():
            if "ready" in message:
                facts.append(message["ready"])
            if len(facts) == len(self._processes):
                break
        return facts[0]

    def run(self, progress: Progress, measuring: Callable[[], None]) -> Tally:
        """Carry out the next load; ``measuring`` is called between warm-up and measurement, which wait for it.

        ``stop``, from a signal handler or between two events, ends it early. Raises GeneratorError.
        """
        self._go()
        self._finished.clear()
        newest: list[dict[str, Any]] = [{} for _ in self._processes]
        total, warm = Tally(), 0
        for index, message in self._messages():
            (kind,) = message
            if kind in ("warming", "progress"):
                newest[index] = message[kind]
                progress(kind, [one for one in newest if one])
            elif kind == "warm":
                warm += 1
                newest[index] = {}
                if warm == len(self._processes):
                    measuring()
                    self._go()
            elif kind == "result":
                total.absorb(Tally.from_json(message["result"]))
                self._finished.add(index)
                if len(self._finished) == len(self._processes):
                    break
        return total

    def stop(self) -> None:
        """Have every generator end its load soon and begin no other."""
        for process in self._processes:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def _go(self) -> None:
        for process in self._processes:
            self._write(process, b"go\n")

    def _write(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        assert process.stdin is not None
        if process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where its messages are read
            process.stdin.write(data)
            process.stdin.flush()

    def _messages(self) -> Iterator[tuple[int, dict[str, Any]]]:
        while True:
            while self._unread:
                index, line = self._unread.popleft()
                message = json.loads(line)
                if "error" in message:
                    raise GeneratorError(message["error"]["code"], message["error"]["message"])
                yield index, message
            for key, _ in self._selector.select():
                data = os.read(key.fd, _CHUNK_BYTES)
                if not data:
                    if key.data not in self._finished:
                        raise self._died(key.data)
                    self._selector.unregister(key.fileobj)
                    continue
                *lines, self._pieces[key.data] = (self._pieces[key.data] + data).split(b"\n")
                self._unread.extend((key.data, line) for line in lines)

    def _died(self, index: int) -> GeneratorError:
        exit_code = self._processes[index].wait()
        words = ""
        if self._noise is not None:
            self._noise.seek(0)
            words = " ".join(self._noise.read()[-_SHOWN_BYTES:].decode("utf-8", "replace").split())
        return GeneratorError("INTERNAL", f"The load generator ended with exit code {exit_code}. {words}".rstrip())
