"""What is known about each model and version. Plain data and pure questions about it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tensorhost.core.errors import TensorhostError
from tensorhost.core.ids import ModelId, version_key
from tensorhost.models.config import ModelConfig
from tensorhost.models.listed import ListedModel
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.probe import FirstRuns
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.servable import Servable
from tensorhost.models.states import VersionState, advance
from tensorhost.models.trials import Tried
from tensorhost.runtimes.base import LoadOptions


@dataclass(frozen=True, slots=True)
class Probed:
    """A version that passed in a child process: the files and settings, how it was loaded and run, what it showed."""

    fingerprint: tuple[str, int, float, str]
    options: LoadOptions
    runs: FirstRuns
    tried: Tried

    def covers(self, files: VersionOnDisk, options: LoadOptions, runs: FirstRuns) -> bool:
        """Whether trying this again would show the same."""
        return (self.fingerprint, self.options, self.runs) == (files.fingerprint, options, runs)

    def again(self) -> Tried:
        """What it showed, which took no time now."""
        report = self.tried.report
        return replace(self.tried, report=None if report is None else replace(report, probe_s=0.0))


@dataclass(slots=True, eq=False)
class VersionRecord:
    """One version, loaded or not.

    Attributes:
        on_disk: its files as last seen; ``vanished`` when the last look did not see them.
        noted_problem: the problem of its files last written to the log.
        error: why the last attempt failed; kept until one succeeds.
        attempts: failed attempts at these files.
        next_attempt_at: not before this instant; ``inf`` when given up on.
        pinned: an operator asked for it, whatever the policy says.
        asked_for: a request asked for it; what loads a lazy model.
        waiters: requests waiting for it; while there are any it is not evicted.
        stopped: an operator unloaded it; only an operator brings it back.
        busy: a load or unload is under way.
        served_fingerprint: the files and settings that the servable was loaded from.
        probed: what trying it in a child process showed, when it passed.
        known_bytes: memory it took when it was last loaded.
        reserved_bytes: set aside while it loads.
    """

    id: ModelId
    on_disk: VersionOnDisk
    state: VersionState = VersionState.NEW
    vanished: bool = False
    noted_problem: str = ""
    error: TensorhostError | None = None
    attempts: int = 0
    next_attempt_at: float = -math.inf
    pinned: bool = False
    asked_for: bool = False
    waiters: int = 0
    stopped: bool = False
    busy: bool = False
    servable: Servable | None = None
    served_fingerprint: tuple[str, int, float, str] | None = None
    probed: Probed | None = None
    known_bytes: int = 0
    reserved_bytes: int = 0

    def move(self, to: VersionState) -> None:
        """Change state as the table allows."""
        self.state = advance(self.state, to)

    @property
    def available(self) -> bool:
        """Whether it answers requests."""
        return self.state is VersionState.AVAILABLE

    @property
    def failed(self) -> bool:
        """Whether the last attempt failed and none has succeeded since."""
        return self.error is not None and not self.available

    @property
    def memory_bytes(self) -> int:
        """Bytes it takes, or will when a load now running is done."""
        held = self.servable.loaded.memory_bytes if self.servable is not None else 0
        return held + self.reserved_bytes

    @property
    def files_changed(self) -> bool:
        """Whether it serves other files or settings than those now on disk, and those are whole."""
        return not self.vanished and not self.on_disk.problem and self.on_disk.fingerprint != self.served_fingerprint

    def forgive(self) -> None:
        """Start counting attempts anew: the files changed, or an operator asked."""
        self.attempts = 0
        self.next_attempt_at = -math.inf


@dataclass(slots=True, eq=False)
class ModelRecord:
    """One model.

    Attributes:
        lazy: loaded at its first request.
        problem: why none of it can be loaded, such as a broken model.toml; what serves goes on serving.
        explicit: named by path by an operator, so that looks at the repository do not touch it.
        listed: what the list of models says of it, where it comes from one.
        listed_labels: those of the list's labels that have taken effect, and where others are until theirs do.
        vanished: the last look did not see it.
        stopped: an operator unloaded all of it.
        moved_labels: labels that an operator has moved, whatever model.toml says of them.
    """

    name: str
    folder: Path
    config: ModelConfig = field(default_factory=ModelConfig)
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    lazy: bool = False
    problem: str = ""
    explicit: bool = False
    listed: ListedModel | None = None
    listed_labels: dict[str, str] = field(default_factory=dict)
    vanished: bool = False
    stopped: bool = False
    versions: dict[str, VersionRecord] = field(default_factory=dict)
    moved_labels: dict[str, str] = field(default_factory=dict)

    @property
    def version_labels(self) -> dict[str, str]:
        """Labels and the versions they name."""
        return {**self.config.version_labels, **self.listed_labels, **self.moved_labels}

    def settle_labels(self) -> None:
        """Let the list's labels take effect: a new one at once, one in use when the version it moves to serves."""
        wanted = {} if self.listed is None else self.listed.labels
        settled: dict[str, str] = {}
        for label, version in wanted.items():
            record = self.versions.get(version)
            moves = label not in self.listed_labels or (record is not None and record.available)
            settled[label] = version if moves else self.listed_labels[label]
        self.listed_labels = settled

    def newest_first(self) -> list[VersionRecord]:
        """All versions in natural order, the newest first."""
        return sorted(self.versions.values(), key=lambda record: version_key(record.id.version), reverse=True)

    def resolve(self, version: str | None) -> VersionRecord | None:
        """The version meant by a name or a label; for None the newest that serves, else that may, else that failed."""
        if version is not None:
            return self.versions.get(version) or self.versions.get(self.version_labels.get(version, ""))
        newest = self.newest_first()
        serving = next((record for record in newest if record.available), None)
        if serving is not None:
            return serving
        wanted = self.wanted()
        hopeful_first = sorted(newest, key=lambda record: record.failed)
        return next((record for record in hopeful_first if record.id.version in wanted), None)

    def wanted(self) -> set[str]:
        """Versions that should be loaded, or, for a lazy model, may be loaded when asked for."""
        if self.stopped:
            return set()
        usable = {
            version: record
            for version, record in self.versions.items()
            if not (record.stopped or record.vanished or (record.on_disk.problem and not record.available))
        }
        if self.problem:
            return {version for version, record in usable.items() if record.available}
        pinned = {version for version, record in usable.items() if record.pinned}
        if self.explicit:
            return pinned
        failed = {version for version, record in usable.items() if record.failed}
        # A label of a list makes nothing be loaded: there the policy alone decides.
        own = {key: version for key, version in self.config.version_labels.items() if key not in self.listed_labels}
        labelled = set({**own, **self.moved_labels}.values()) & usable.keys()
        return self.policy.choose(usable, failed) | labelled | pinned


def serving_table(model: ModelRecord) -> dict[str | None, Servable]:
    """What each way of naming a version leads to; None is the newest."""
    by_version = {
        record.id.version: record.servable
        for record in model.newest_first()
        if record.available and record.servable is not None
    }
    if not by_version:
        return {}
    table: dict[str | None, Servable] = {None: next(iter(by_version.values()))}
    for label, version in model.version_labels.items():
        if version in by_version:
            table[label] = by_version[version]
    return table | by_version


def used_bytes(models: Iterable[ModelRecord]) -> int:
    """Memory of everything loaded or being loaded."""
    return sum(record.memory_bytes for model in models for record in model.versions.values())
