"""Before a version is loaded: what is known of it from before, trying it in a child process, and the race.

Blocks; runs on the thread that watches the child. Decides from what was measured who is to execute the version. What
must stay true: with a race switched off, impossible or failed the format's own runtime serves, as without this module;
a runtime that the operator names serves or the version fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tensorhost.core.errors import MisconfiguredModelError, ModelFailedError, RuntimeMissingError, UnsupportedModelError
from tensorhost.core.ids import ModelId
from tensorhost.models.kept_trials import KeptTrials, Trial, default_folder
from tensorhost.models.probe import SUPPORTED, Prober, ProbeReport
from tensorhost.models.probe_messages import Examined, FirstRuns, ProbeRequest
from tensorhost.models.race_run import run_race
from tensorhost.models.trial_key import key_of
from tensorhost.runtimes import LoadOptions, ModelFormat
from tensorhost.runtimes.base import RuntimeName
from tensorhost.runtimes.formats import is_direct, refuse_runtime
from tensorhost.runtimes.installed import is_installed
from tensorhost.runtimes.race.entrants import entrants
from tensorhost.runtimes.race.verdict import Decision, Heat, decide_all, unportable
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger

_OFF = "Models are not tried in a child process (probe), where runtimes race."

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tried:
    """What is known of a version before it is loaded.

    Attributes:
        report: of the child process; None where it was not tried.
        decisions: who executes each signature; empty where its format's own runtime executes all.
        folder: where the forms written for others are.
        key: what it is kept under; empty where it is not.
    """

    report: ProbeReport | None = None
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    folder: Path | None = None
    key: str = ""

    @property
    def needs_native(self) -> bool:
        """Whether the format's own runtime executes anything."""
        return not self.decisions or any(decision.needs_native for decision in self.decisions.values())


class Trials:
    """Tries versions. Constructing is free.

    Args:
        prober: runs the child processes.
        settings: what is to be tried, where it is kept.
    """

    def __init__(self, prober: Prober, settings: Settings) -> None:
        self._prober = prober
        self._settings = settings
        self._stopping = threading.Event()
        self._kept = KeptTrials(settings.cache_dir or default_folder(), int(settings.cache_size))

    def run(
        self,
        model_id: ModelId,
        path: Path,
        model_format: ModelFormat,
        options: LoadOptions,
        runs: FirstRuns,
        on_examined: Callable[[Examined], None],
    ) -> Tried:
        """Try a version, unless what that shows is known already.

        Args:
            model_id: for the log.
            path, model_format: its files, and what they are.
            options: how it is loaded, and who may execute it.
            runs: what it is run with.
            on_examined: called once with what it could do besides computing, before any of it is executed.

        Raises:
            TensorhostError: as ``Prober.probe``; UnsupportedModelError, RuntimeMissingError or MisconfiguredModelError
                where the runtime that the operator names cannot execute it.
        """
        _refuse_missing(model_format, options)
        if not (self._settings.probe and SUPPORTED):
            if _fixed(model_format, options) and not is_direct(model_format, options):
                raise MisconfiguredModelError(f"runtime = {options.runtime}: {_OFF}")
            return Tried()
        subject = _Subject(model_id, path, model_format, options, runs)
        key = key_of(path, options, runs) if self._settings.cache_size else ""
        with self._kept.alone(key, self._stopping.is_set):
            known = self._kept.find(key)
            if known is not None:
                on_examined(Examined.of(known.report.contents.findings))
                log.info("tried before", model=str(model_id), raced=bool(known.heats))
                if known.raced or not subject.may_race(known.report):
                    return subject.decided(known, key)
            report = known.report if known is not None else self._prober.probe(path, options, runs, on_examined)
            return self._raced(subject, report, key)

    def _raced(self, subject: _Subject, report: ProbeReport, key: str) -> Tried:
        """What is known of a version that has passed, after its race, if it has one."""
        if not subject.may_race(report):
            trial = Trial(report, raced=True)
            return subject.decided(self._kept.keep(self._still(subject, key), trial), key, report.probe_s)
        try:
            workplace = self._kept.workplace(key)
        except OSError as error:
            return subject.decided(Trial(report), "", report.probe_s, f"There is no room for it: {error.strerror}.")
        try:
            log.info("racing runtimes", model=str(subject.id))
            heats, problem = run_race(
                self._prober, subject.careful(report), subject.format, workplace, self._settings.race_timeout_s
            )
            lasting = not problem and not any(heat.transient for heat in heats)
            trial = Trial(report, tuple(heats), lasting, workplace)
            tried = subject.decided(trial, "", report.probe_s, problem)
            _drop_losers(trial, tried)
            if key and not self._still(subject, key):
                # Report and race may have seen different files.
                raise ModelFailedError("The model's files changed while it was tried.")
            if key and lasting:
                return subject.decided(self._kept.keep(key, trial), key, report.probe_s)
            # What was in the way may not be there the next time; until then it serves as was found.
            self._kept.keep(key, Trial(report))
            return replace(tried, folder=self._kept.set_aside(workplace))
        except BaseException:
            self._kept.discard(workplace)
            raise

    def _still(self, subject: _Subject, key: str) -> str:
        """``key`` if the model's files are still those it stands for; empty otherwise."""
        return key if key and key_of(subject.path, subject.options, subject.runs) == key else ""

    def forget(self, tried: Tried) -> None:
        """Do not rely on what was kept of a version: it turned out to be of no use."""
        self._kept.forget(tried.key)

    def stop(self) -> None:
        """Wait for no other process any more. The prober is closed by its owner."""
        self._stopping.set()

    def close(self) -> None:
        """Remove what is not kept. Nothing may run or be loaded any more."""
        self._kept.close()


@dataclass(frozen=True, slots=True)
class _Subject:
    """A version to be tried: its files, how they are loaded and run, who may execute them."""

    id: ModelId
    path: Path
    format: ModelFormat
    options: LoadOptions
    runs: FirstRuns

    def may_race(self, report: ProbeReport) -> bool:
        """Whether there is anybody to race, and anything to race for."""
        if self.options.runtime is not RuntimeName.AUTO and not _fixed(self.format, self.options):
            return False
        if is_direct(self.format, self.options) or not entrants(self.format, self.options):
            return False
        paths = report.call_paths
        return any(not unportable(signature, paths[name]) for name, signature in report.signatures.items())

    def careful(self, report: ProbeReport) -> ProbeRequest:
        """What a child is asked for: the version as it is going to be loaded."""
        options = replace(self.options, remapping=self.options.remapping and not report.crash)
        return ProbeRequest(self.path, options, self.runs)

    def decided(self, trial: Trial, key: str, probe_s: float = 0.0, problem: str = "") -> Tried:
        """Who executes the version, given all that is known; ``problem`` is why there was no race, if so."""
        report = replace(trial.report, probe_s=probe_s)
        fixed = _fixed(self.format, self.options)
        if not (fixed or self.options.runtime is RuntimeName.AUTO) or is_direct(self.format, self.options):
            return Tried(report, key=key)
        heats: dict[str, list[Heat]] = {name: [] for name in report.signatures}
        for heat in trial.heats:
            heats.setdefault(heat.signature, []).append(heat)
        reasons = {
            name: unportable(signature, report.call_paths[name]) or problem
            for name, signature in report.signatures.items()
        }
        decisions = decide_all(RuntimeName.native_of(self.format), heats, reasons, fixed=fixed)
        if fixed:
            _refuse_losers(decisions, self.options.runtime)
        return Tried(report, decisions, trial.folder, key)


def _fixed(model_format: ModelFormat, options: LoadOptions) -> bool:
    """Whether the operator names another runtime than the format's own."""
    return options.runtime not in (RuntimeName.AUTO, RuntimeName.NATIVE, RuntimeName.native_of(model_format))


def _refuse_missing(model_format: ModelFormat, options: LoadOptions) -> None:
    refuse_runtime(model_format, options)
    if _fixed(model_format, options) and not is_installed(options.runtime):
        extra = {RuntimeName.ONNXRUNTIME: "onnx"}.get(options.runtime, options.runtime.value)
        raise RuntimeMissingError(f"runtime = {options.runtime}: pip install 'tensorhost[{extra}]'.")
    if _fixed(model_format, options) and not entrants(model_format, options):
        raise UnsupportedModelError(f"runtime = {options.runtime} does not execute this format.")


def _refuse_losers(decisions: Mapping[str, Decision], wanted: RuntimeName) -> None:
    """Raise UnsupportedModelError where the runtime that the operator names cannot execute the first signature."""
    name, decision = next(iter(decisions.items()))
    if decision.needs_native:
        reasons = [heat.refused for heat in decision.heats if heat.refused]
        reason = decision.reason or next(iter(reasons), "it could not be tried in time.")
        raise UnsupportedModelError(f"runtime = {wanted} cannot execute signature '{name}': {reason}")


def _drop_losers(trial: Trial, tried: Tried) -> None:
    """Remove what was written for runtimes that serve nothing."""
    if trial.folder is None:
        return
    wanted = {decision.engine(entrant).file for decision in tried.decisions.values() for entrant in decision.winners}
    stems = {Path(file).stem for file in wanted}
    for file in trial.folder.iterdir():
        if file.is_file() and file.stem not in stems:
            file.unlink()
