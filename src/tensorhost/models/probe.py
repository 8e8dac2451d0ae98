"""Trying a model in a child process before the server loads it: whether it crashes, hangs or swells, and what it needs.

TensorFlow ends the process on some models. Here that costs a child process. What must stay true: ``probe`` ends
within its time limits whatever the model does; no child outlives the prober; an error of the model's own is the same
error that loading it here would have raised.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorhost.core.errors import ModelFailedError, ShuttingDownError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.models.probe_messages import Examined, Failed, FirstRuns, Passed, ProbeRequest, Stage
from tensorhost.models.probe_process import SUPPORTED, WorkerProcess
from tensorhost.models.probe_trial import Limits, ModelCrashedError, NotHeardError, Outcome, Trial
from tensorhost.models.race_messages import HeatMessage
from tensorhost.runtimes import Contents, LoadOptions, ModelFormat, detect_format
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger

__all__ = ["SUPPORTED", "FirstRuns", "ProbeReport", "Prober"]

_WORKER = ("-P", "-m", "tensorhost.models.probe_worker")
_NO_TENSORFLOW = (ModelFormat.TFLITE, None)
_KEPT_GROWTH_BYTES = 256 * 2**20
"""A child that keeps more than this of the models it has tried is not used again."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What trying a model has shown.

    Attributes:
        contents: what it is made of.
        runtime: what executes it, such as ``tensorflow``.
        weights_bytes: bytes of its parameters.
        signatures: those a client may call, the default one first.
        call_paths: how each is called.
        refused_signatures: those no client may call, with the reason.
        memory_bytes: what it took after it had run; ``peak_bytes``: the most it took meanwhile.
        load_s, run_s: seconds loading and the first runs took.
        probe_s: seconds of it all, importing frameworks and failed attempts included.
        crash: how it crashes when TensorFlow fuses operations, which is to be switched off then; empty otherwise.
    """

    contents: Contents
    runtime: str
    weights_bytes: int
    signatures: Mapping[str, Signature]
    call_paths: Mapping[str, str]
    refused_signatures: Mapping[str, str]
    memory_bytes: int
    peak_bytes: int
    load_s: float
    run_s: float
    probe_s: float = 0.0
    crash: str = ""


class Prober:
    """Tries models. Constructing is free; children are started when needed and kept for a while.

    ``probe`` may be called from several threads, which should live as long as the prober: on Linux a child is killed
    when the thread that started it ends.

    Args:
        timeout_s: longest time one attempt at a model may take.
        memory_bytes: most bytes a model may take; None for what the machine has free.
        idle_s: how long a child waits for the next model before it ends itself.
        command: starts a child; it is for tests to replace.
    """

    def __init__(
        self,
        timeout_s: float,
        memory_bytes: int | None = None,
        *,
        idle_s: float = 30.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self.idle_s = idle_s
        self._limits = Limits(timeout_s, memory_bytes)
        self._command = command or (sys.executable, *_WORKER, str(idle_s))
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._closed = False

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Iterator[Self | None]:
        """A prober with the limits of ``settings``; None where it is switched off, or cannot work on this system."""
        if not (settings.probe and SUPPORTED):
            yield None
            return
        memory_bytes = None if settings.probe_memory is None else int(settings.probe_memory)
        with cls(settings.probe_timeout_s, memory_bytes) as prober:
            yield prober

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def probe(
        self,
        path: Path,
        options: LoadOptions,
        runs: FirstRuns | None = None,
        on_examined: Callable[[Examined], None] = lambda _: None,
    ) -> ProbeReport:
        """Load the model at ``path`` in a child and run its signatures once. Blocks.

        A model that crashes or hangs TensorFlow is tried once more with ``options.remapping`` off; the report says
        so if that helped. A child that has imported a model's own modules tries no other model.

        Args:
            path: a model's folder or file, as ``load`` takes it.
            options: how to load it.
            runs: what to run it with; None to load it only.
            on_examined: called once, on this thread, with what the model could do besides computing, before any of it
                is executed.

        Raises:
            TensorhostError: what loading it raised there; OutOfMemoryError when it took more than allowed,
                ModelFailedError when it ended the process (ModelCrashedError) or took too long, ShuttingDownError
                after ``close``.
        """
        started = time.monotonic()
        request = ProbeRequest(path, options, runs)
        try:
            report = self._try(request, on_examined)
        except ModelCrashedError as crash:
            if not (options.remapping and crash.executed) or detect_format(path) in _NO_TENSORFLOW:
                raise
            report = self._try_without_fusing(request, crash)
        return replace(report, probe_s=time.monotonic() - started)

    def race(self, request: ProbeRequest, timeout_s: float, on_race: Callable[[Stage | HeatMessage], None]) -> None:
        """Have runtimes race for a model in a child. Blocks until every heat ordered was run.

        Args:
            request: the model, and the order of the race.
            timeout_s: longest time it may take.
            on_race: called, on this thread, with the heat that begins and with each that is over.

        Raises:
            TensorhostError: as ``probe``; what was told before stands.
        """
        outcome = self._run(
            request, lambda _: None, Limits(timeout_s, self._limits.memory_bytes, "race_timeout_s"), on_race
        )
        if isinstance(outcome.answer, Failed):
            raise outcome.answer.error()

    def end_idle(self) -> None:
        """Clear away children that have ended themselves."""
        with self._lock:
            for worker in list(self._idle):
                worker.receive(0)
                if worker.gone:
                    self._idle.remove(worker)
                    worker.end()

    def close(self) -> None:
        """Try no more models and end every child; whoever waits for one gets a ShuttingDownError at once.

        From any thread, and soon done: nothing is waited for but the end of children that were killed while idle.
        """
        with self._lock:
            self._closed = True
            for worker in self._busy:
                worker.kill()
            while self._idle:
                self._idle.pop().end()

    def _try_without_fusing(self, request: ProbeRequest, crash: ModelCrashedError) -> ProbeReport:
        """Raises ``crash`` again if that does not help."""
        log.warning("trying again without fused operations", path=str(request.path), reason=crash.message)
        careful = replace(request, options=replace(request.options, remapping=False))
        try:
            return replace(self._try(careful, lambda _: None), crash=crash.message)
        except ShuttingDownError:
            raise
        except TensorhostError as error:
            log.warning("no better without fused operations", path=str(request.path), reason=error.message)
            raise crash from error

    def _try(self, request: ProbeRequest, on_examined: Callable[[Examined], None]) -> ProbeReport:
        outcome = self._run(request, on_examined, self._limits)
        if isinstance(outcome.answer, Failed):
            raise outcome.answer.error()
        if not isinstance(outcome.answer, Passed):
            raise _no_start(RuntimeError("another answer was given than asked for"))
        return _report(outcome.answer, outcome)

    def _run(
        self,
        request: ProbeRequest,
        on_examined: Callable[[Examined], None],
        limits: Limits,
        on_race: Callable[[Stage | HeatMessage], None] = lambda _: None,
    ) -> Outcome:
        while True:
            worker, is_new = self._take()
            try:
                outcome = Trial(worker, limits, on_examined, on_race).run(request)
            except NotHeardError as error:
                self._drop(worker)
                if is_new:
                    raise _no_start(error) from error
                continue
            except BaseException:
                self._drop(worker)
                raise
            self._give_back(worker, again=not request.options.model_modules)
            return outcome

    def _take(self) -> tuple[WorkerProcess, bool]:
        """A child, and whether it has just been started."""
        with self._lock:
            if self._closed:
                raise _stopped()
            is_new = not self._idle
            worker = self._start() if is_new else self._idle.pop()
            self._busy.add(worker)
        return worker, is_new

    def _start(self) -> WorkerProcess:
        try:
            return WorkerProcess(self._command)
        except OSError as error:
            raise _no_start(error) from error

    def _drop(self, worker: WorkerProcess) -> None:
        """End a child. Raises ShuttingDownError where that is the reason of its end."""
        with self._lock:
            self._busy.remove(worker)
        worker.end()
        if self._closed:
            raise _stopped()

    def _give_back(self, worker: WorkerProcess, *, again: bool) -> None:
        """Keep a child for the next model, where it is fit for one and may be used ``again``; otherwise end it."""
        resident = worker.resident()
        with self._lock:
            self._busy.remove(worker)
            fit = resident is not None and not _keeps_too_much(worker, resident.now)
            if again and fit and not self._closed:
                self._idle.append(worker)
                return
        worker.end()


def _keeps_too_much(worker: WorkerProcess, resident_bytes: int) -> bool:
    return resident_bytes - (worker.first_baseline_bytes or 0) > _KEPT_GROWTH_BYTES


def _report(answer: Passed, outcome: Outcome) -> ProbeReport:
    signatures = [each.signature() for each in answer.signatures]
    return ProbeReport(
        contents=answer.contents.contents(),
        runtime=answer.runtime,
        weights_bytes=answer.weights_bytes,
        signatures={signature.name: signature for signature in signatures},
        call_paths={each.name: each.call_path for each in answer.signatures},
        refused_signatures=answer.refused,
        memory_bytes=outcome.memory_bytes,
        peak_bytes=outcome.peak_bytes,
        load_s=answer.load_s,
        run_s=answer.run_s,
    )


def _no_start(error: Exception) -> ModelFailedError:
    return ModelFailedError(
        "The child process in which models are tried does not start; the server's log says why.", log_detail=str(error)
    )


def _stopped() -> ShuttingDownError:
    return ShuttingDownError("The server is shutting down.")
