"""One model in one child process: what it is doing, whether it keeps to the limits, and the verdict when it does not.

Blocks the calling thread, which watches the child all the time. What must stay true: it ends within the time allowed,
and whatever the child says is believed only as far as it can do no harm.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tensorhost.core.errors import InternalError, LoadTimeoutError, ModelFailedError, OutOfMemoryError
from tensorhost.models.probe_messages import Examined, Failed, Passed, ProbeRequest, Stage, parse_message
from tensorhost.models.probe_process import WorkerProcess
from tensorhost.models.race_messages import HeatMessage, Raced
from tensorhost.telemetry import available_memory_bytes

_SAMPLE_S = 0.05
_START_S = 120.0
"""Longest time that starting the child and importing a framework may take, which is not the model's doing."""

_SHARE_OF_FREE = 0.9
_LOOKS_IN_VAIN = 3
_NOT_EXECUTED = ("preparing", "examining")
"""What is done before anything of the model is executed."""


class ModelCrashedError(ModelFailedError):
    """The model ended the child process, or hung in it."""

    executed = True
    """Whether anything of the model was being executed."""


class ModelTooSlowError(ModelCrashedError, LoadTimeoutError):
    """The model took longer in the child process than the operator allows."""


class ModelTooLargeError(OutOfMemoryError):
    """The model takes more memory than the operator allows."""


class NotHeardError(Exception):
    """The child ended before it said anything of this model, so that the model cannot be the reason."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may take: seconds, and bytes beyond what the child had before (None: what the machine has free).

    ``setting`` is the one that limits the time.
    """

    timeout_s: float
    memory_bytes: int | None
    setting: str = "probe_timeout_s"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The child's last word, and the memory it was seen to take: ``memory_bytes`` after the runs, at most ``peak``."""

    answer: Passed | Raced | Failed
    memory_bytes: int
    peak_bytes: int


class Trial:
    """Has ``process`` try one model, once.

    Args:
        process: a child.
        limits: what the model may take.
        on_examined: called once, with what the model could do besides computing, before any of it is executed.
        on_race: called with what the child tells of a race: the heat it begins, and each that is over.
    """

    def __init__(
        self,
        process: WorkerProcess,
        limits: Limits,
        on_examined: Callable[[Examined], None] = lambda _: None,
        on_race: Callable[[Stage | HeatMessage], None] = lambda _: None,
    ) -> None:
        self._process = process
        self._limits = limits
        self._on_examined = on_examined
        self._on_race = on_race
        self._examined = False
        self._stage: Stage | None = None
        self._deadline = math.inf
        self._baseline_bytes = 0
        self._peak_bytes = 0
        self._trust_peak = False
        self._most_bytes: float = math.inf
        self._vain = 0

    def run(self, request: ProbeRequest) -> Outcome:
        """Try it.

        Raises:
            NotHeardError: try another child.
            ModelCrashedError: the child is gone, or hangs.
            OutOfMemoryError: it took more than allowed; ModelTooLargeError where the operator allows no more.
            ModelFailedError: the child talks nonsense.
        After any of these the child is of no more use.
        """
        self._deadline = time.monotonic() + _START_S + self._limits.timeout_s
        self._process.send(request.to_line())
        while True:
            try:
                line = self._process.receive(min(_SAMPLE_S, max(self._deadline - time.monotonic(), 0.0)))
                message = None if line is None else parse_message(line)
            except InternalError as error:
                raise self._nonsense(error) from error
            if isinstance(message, Stage):
                self._enter(message)
            elif isinstance(message, Examined) and not self._examined:
                self._examined = True
                self._on_examined(message)
            elif isinstance(message, HeatMessage):
                self._on_race(message)
            self._watch_memory(heard=line is not None)
            if isinstance(message, Passed | Raced | Failed):
                return self._outcome(message)
            if self._process.gone or self._vain >= _LOOKS_IN_VAIN:
                raise self._ended()
            if time.monotonic() >= self._deadline:
                raise self._too_slow()

    def _enter(self, stage: Stage) -> None:
        before, self._stage = self._stage, stage
        if stage.doing == "racing":
            self._on_race(stage)
        if stage.doing == "preparing":
            return
        if before is None or before.doing == "preparing":
            self._deadline = time.monotonic() + self._limits.timeout_s
            self._most_bytes = self._limits.memory_bytes or int(available_memory_bytes() * _SHARE_OF_FREE)
            self._set_baseline(None)
        elif stage.doing == "loading":
            self._set_baseline(stage.baseline_bytes)
            self._trust_peak = stage.peak_forgotten

    def _set_baseline(self, told_bytes: int | None) -> None:
        resident = self._process.resident()
        if resident is not None:
            self._baseline_bytes = resident.now if told_bytes is None else min(told_bytes, resident.now)
            self._peak_bytes = 0
        if self._process.first_baseline_bytes is None:
            self._process.first_baseline_bytes = self._baseline_bytes

    def _watch_memory(self, *, heard: bool) -> None:
        """Raises OutOfMemoryError."""
        resident = self._process.resident()
        if resident is None:
            # Ended, or about to; what it said last may still be on its way.
            self._vain = 0 if heard else self._vain + 1
            return
        seen = resident.peak if self._trust_peak else resident.now
        self._peak_bytes = max(self._peak_bytes, seen - self._baseline_bytes)
        if self._stage is not None and self._stage.doing != "preparing" and self._peak_bytes > self._most_bytes:
            raise self._too_large()

    def _outcome(self, answer: Passed | Raced | Failed) -> Outcome:
        told = answer.loaded_bytes - self._baseline_bytes if isinstance(answer, Passed) else 0
        memory_bytes = max(min(told, int(self._most_bytes) if self._most_bytes < math.inf else told), 0)
        return Outcome(answer, memory_bytes, max(self._peak_bytes, memory_bytes))

    # -- verdicts --------------------------------------------------------------------------------------------------

    def _ended(self) -> Exception:
        exit_code = self._process.end()
        if self._stage is None:
            return NotHeardError(self._detail())
        when = self._stage.words()
        if exit_code == -signal.SIGKILL:
            return OutOfMemoryError(
                f"The system killed the child process in which the model was tried {when}, as it does when memory "
                "runs out.",
                log_detail=self._detail(),
            )
        return self._crashed(f"crashed its runtime ({_ending(exit_code)})", {"exitCode": exit_code})

    def _crashed(
        self, how: str, details: dict[str, float], kind: type[ModelCrashedError] = ModelCrashedError
    ) -> ModelCrashedError:
        stage = self._stage or Stage(doing="preparing")
        error = kind(
            f"The model {how} in a child process, {stage.words()}.", details=details, log_detail=self._detail()
        )
        error.executed = stage.doing not in _NOT_EXECUTED
        return error

    def _too_slow(self) -> Exception:
        if self._stage is None:
            return NotHeardError(self._detail())
        return self._crashed(
            f"took longer than the {self._limits.timeout_s:g} seconds allowed ({self._limits.setting})",
            {"timeoutS": self._limits.timeout_s},
            ModelTooSlowError,
        )

    def _too_large(self) -> OutOfMemoryError:
        when = "" if self._stage is None else f", {self._stage.words()}"
        limit, kind = "most of what the machine has free", OutOfMemoryError
        if self._limits.memory_bytes is not None:
            limit, kind = "probe_memory", ModelTooLargeError
        return kind(
            f"The model took {self._peak_bytes} bytes of memory in a child process{when}; {int(self._most_bytes)} are "
            f"allowed ({limit}).",
            details={"neededBytes": self._peak_bytes, "limitBytes": int(self._most_bytes)},
            log_detail=self._detail(),
        )

    def _nonsense(self, error: InternalError) -> ModelFailedError:
        return ModelFailedError(
            "The child process in which the model was tried gave no answer that can be read.",
            log_detail=f"{error.log_detail or error.message}\n{self._detail()}",
        )

    def _detail(self) -> str | None:
        return self._process.noise or None


def _ending(exit_code: int) -> str:
    """``signal 11, segmentation fault`` or ``exit code 1``."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.strsignal(-exit_code) or "unknown"
    return f"signal {-exit_code}, {name.lower()}"
