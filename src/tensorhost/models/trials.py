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

from tensorhost.core.errors import MisconfiguredModelError, RuntimeMissingError, UnsupportedModelError
from tensorhost.core.ids import ModelId
from tensorhost.models.kept_trials import KeptTrials, Trial, default_folder, key_of
from tensorhost.models.probe import SUPPORTED, Prober, ProbeReport
from tensorhost.models.probe_messages import Examined, FirstRuns
from tensorhost.models.race_run import run_race
from tensorhost.runtimes import LoadOptions, ModelFormat
from tensorhost.runtimes.base import RuntimeName
from tensorhost.runtimes.formats import is_direct, refuse_runtime
from tensorhost.runtimes.race.entrants import entrants, is_installed
from tensorhost.runtimes.race.verdict import Decision, Heat, decide, unportable
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
        if not self._settings.cache_size:
            return self._fresh(model_id, path, model_format, options, runs, on_examined, "")
        key = key_of(path, options, runs)
        with self._kept.alone(key, self._stopping.is_set):
            known = self._kept.find(key)
            if known is None:
                return self._fresh(model_id, path, model_format, options, runs, on_examined, key)
        on_examined(Examined.of(known.report.contents.findings))
        log.info("tried before", model=str(model_id), raced=bool(known.heats))
        return self._decided(known, model_format, options, key)

    def forget(self, tried: Tried) -> None:
        """Do not rely on what was kept of a version: it turned out to be of no use."""
        self._kept.forget(tried.key)

    def stop(self) -> None:
        """Wait for no other process any more. The prober is closed by its owner."""
        self._stopping.set()

    def close(self) -> None:
        """Remove what is not kept. Nothing may run or be loaded any more."""
        self._kept.close()

    def _fresh(
        self,
        model_id: ModelId,
        path: Path,
        model_format: ModelFormat,
        options: LoadOptions,
        runs: FirstRuns,
        on_examined: Callable[[Examined], None],
        key: str,
    ) -> Tried:
        report = self._prober.probe(path, options, runs, on_examined)
        trial = Trial(report)
        careful = replace(options, remapping=options.remapping and not report.crash)
        if _may_race(report, model_format, options):
            folder = self._kept.workplace()
            log.info("racing runtimes", model=str(model_id))
            heats = run_race(self._prober, path, model_format, careful, runs, folder, self._settings.race_timeout_s)
            trial = Trial(report, tuple(heats), folder)
            _drop_losers(trial, self._decided(trial, model_format, options, key))
            if not heats:
                key = ""  # whatever was in the way may not be there the next time
        return self._decided(self._kept.keep(key, trial), model_format, options, key, probe_s=report.probe_s)

    def _decided(
        self, trial: Trial, model_format: ModelFormat, options: LoadOptions, key: str, probe_s: float = 0.0
    ) -> Tried:
        report = replace(trial.report, probe_s=probe_s)
        fixed = _fixed(model_format, options)
        if not (fixed or options.runtime is RuntimeName.AUTO) or is_direct(model_format, options):
            return Tried(report, key=key)
        native = RuntimeName.native_of(model_format)
        by_signature: dict[str, list[Heat]] = {}
        for heat in trial.heats:
            by_signature.setdefault(heat.signature, []).append(heat)
        decisions = {
            name: decide(
                native,
                by_signature.get(name, ()),
                unportable(signature, report.call_paths[name]),
                fixed=fixed,
            )
            for name, signature in report.signatures.items()
        }
        if fixed:
            _refuse_losers(decisions, options.runtime)
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


def _may_race(report: ProbeReport, model_format: ModelFormat, options: LoadOptions) -> bool:
    if options.runtime is not RuntimeName.AUTO and not _fixed(model_format, options):
        return False
    if is_direct(model_format, options) or not entrants(model_format, options):
        return False
    paths = report.call_paths
    return any(not unportable(signature, paths[name]) for name, signature in report.signatures.items())


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
