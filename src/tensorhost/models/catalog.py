"""Every model and version known: what the disk showed, what operators added, and how to look a version up.

Plain bookkeeping on the event loop's thread. It starts nothing and waits for nothing; the manager acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tensorhost.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OutOfMemoryError,
    TensorhostError,
    VersionNotFoundError,
)
from tensorhost.core.ids import ModelId
from tensorhost.models.ended import Ended
from tensorhost.models.listed import ModelList
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.records import ModelRecord, VersionRecord, serving_table
from tensorhost.models.repository import ModelOnDisk, Scan
from tensorhost.models.servable import Servable
from tensorhost.models.states import VersionState
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger

RETRY_AFTER_S = 1.0

log = get_logger(__name__)


class Catalog:
    """Models by name. ``problems`` are entries of the repository that cannot be models, and why."""

    def __init__(self, settings: Settings) -> None:
        self.models: dict[str, ModelRecord] = {}
        self.problems: dict[str, str] = {}
        self.ended = Ended()
        self._settings = settings
        self._serving: dict[str, dict[str | None, Servable]] = {}
        self._moved_labels: dict[str, dict[str, str]] = {}

    def find(self, name: str, version: str | None) -> Servable | None:
        """The servable for a version, a label or (None) the newest, if it can be lent now. Two dictionary reads."""
        table = self._serving.get(name)
        return None if table is None else table.get(version)

    def records(self) -> Iterator[VersionRecord]:
        """Every version of every model."""
        for model in self.models.values():
            yield from model.versions.values()

    def count_states(self) -> dict[str, int]:
        """How many versions are in each state. May be called from any thread."""
        counts = dict.fromkeys((state.value for state in VersionState), 0)
        for model in list(self.models.values()):
            for record in list(model.versions.values()):
                counts[record.state.value] += 1
        return counts

    def refresh(self, model: ModelRecord) -> None:
        """Make lookups see what the model's versions have become."""
        model.settle_labels()
        table = serving_table(model)
        if table:
            self._serving[model.name] = table
        else:
            self._serving.pop(model.name, None)

    # -- what the disk shows ---------------------------------------------------------------------------------------

    def unreadable(self, root: Path) -> None:
        """The model path could not be read. Nothing is known, so nothing changes: a file server may blink."""
        name = root.name or str(root)
        if name not in self.problems:
            log.error("the model path cannot be read", path=str(root))
        self.problems = {name: "The model path cannot be read."}

    def absorb(self, found: Scan) -> list[ModelId]:
        """Take over what a look at the repository saw. Returns the versions that are gone for good."""
        known = {record.id for record in self.records()}
        for name, reason in found.problems.items():
            if self.problems.get(name) != reason:
                log.warning("not a model", name=name, reason=reason)
        self.problems = found.problems
        for on_disk in found.models.values():
            self._absorb_model(on_disk)
        for name, model in list(self.models.items()):
            model.vanished = name not in found.models and not model.explicit
            if model.vanished:
                self._absorb_versions(model, None)
                self._forget_if_empty(model)
        return list(known.difference(record.id for record in self.records()))

    def _absorb_model(self, on_disk: ModelOnDisk) -> None:
        model = self.models.get(on_disk.name)
        if model is not None and model.explicit:
            return
        if model is None:
            model = self.models[on_disk.name] = self._new_model(on_disk.name, on_disk.folder)
        if on_disk.problem and on_disk.problem != model.problem:
            log.warning("model has a problem", model=on_disk.name, reason=on_disk.problem, path=str(on_disk.folder))
        model.problem = on_disk.problem
        model.listed, model.folder = on_disk.listed, on_disk.folder
        if on_disk.listed is not None or not on_disk.problem:
            model.policy = self.policy_of(on_disk)
        if not on_disk.readable:
            self.refresh(model)
            return
        if not on_disk.problem:
            config = on_disk.config
            model.config = config
            model.lazy = (config.loading or self._settings.loading) == "lazy"
        self._absorb_versions(model, on_disk)
        self.refresh(model)

    def policy_of(self, on_disk: ModelOnDisk) -> VersionPolicy:
        """Which versions of a model are served: a list has the first word, then its model.toml, then the settings."""
        if on_disk.listed is not None and on_disk.listed.policy is not None:
            return on_disk.listed.policy
        return VersionPolicy.parse(on_disk.config.version_policy or self._settings.version_policy)

    def _absorb_versions(self, model: ModelRecord, on_disk: ModelOnDisk | None) -> None:
        seen = on_disk.versions if on_disk is not None else {}
        for version, files in seen.items():
            record = model.versions.get(version)
            if record is None:
                record = model.versions[version] = VersionRecord(ModelId(model.name, version), files)
            elif files.fingerprint != record.on_disk.fingerprint:
                record.forgive()
            if files.problem and files.problem != record.noted_problem:
                log.info("version cannot be loaded yet", model=str(record.id), reason=files.problem)
            record.noted_problem = files.problem
            record.on_disk = files
            record.vanished = False
        for version, record in list(model.versions.items()):
            if version not in seen:
                record.vanished = True
                self._forget_if_idle(model, record)

    def let_go(self, record: VersionRecord) -> None:
        """Forget a version that the last look did not see any more, now that nothing is under way with it."""
        model = self.models.get(record.id.name)
        if model is not None and record.vanished:
            self._forget_if_idle(model, record)
            if model.vanished:
                self._forget_if_empty(model)

    def _forget_if_idle(self, model: ModelRecord, record: VersionRecord) -> None:
        # What still serves is unloaded first.
        if record.busy or record.servable is not None or model.versions.get(record.id.version) is not record:
            return
        del model.versions[record.id.version]
        if record.state is VersionState.END or record.failed:
            self.ended.note(record.id, record.error)

    def _forget_if_empty(self, model: ModelRecord) -> None:
        if not model.versions:
            del self.models[model.name]
            if model.moved_labels:
                self._moved_labels[model.name] = model.moved_labels

    def enlist(self, models: ModelList) -> None:
        """Prepare for a list whose entries are new or say something else now: they count, and no earlier wish."""
        for listed in models:
            model = self.models.get(listed.name)
            moved = self._moved_labels.get(listed.name, {}) if model is None else model.moved_labels
            for label in listed.labels:
                moved.pop(label, None)
            if model is None:
                continue
            model.explicit = model.stopped = False
            for record in model.versions.values():
                record.stopped = record.pinned = False
                record.forgive()

    def _new_model(self, name: str, folder: Path, *, explicit: bool = False) -> ModelRecord:
        # Labels that an operator has moved outlast a folder that is away for a while.
        return ModelRecord(name, folder, explicit=explicit, moved_labels=self._moved_labels.pop(name, {}))

    def add_explicit(self, name: str, version: str | None, found: ModelOnDisk) -> VersionRecord:
        """Take in a model that an operator named by path.

        Raises:
            InvalidRequestError: the name belongs to the repository, or it is not clear which version is meant.
            ModelFailedError: there is no whole model at the path.
        """
        model = self.models.get(name)
        if model is not None and not model.explicit:
            raise InvalidRequestError(f"Model '{name}' belongs to the repository; choose another name for this path.")
        if found.problem:
            raise ModelFailedError(f"Model '{name}': {found.problem}")
        if len(found.versions) == 1:
            files = next(iter(found.versions.values()))
        elif version in found.versions:
            files = found.versions[version]
        else:
            raise InvalidRequestError("The path holds several versions; name one of them.")
        if files.problem:
            raise ModelFailedError(f"Model '{name}': {files.problem}")
        if model is None:
            model = self.models[name] = self._new_model(name, found.folder, explicit=True)
        model.config, model.folder = found.config, found.folder
        version = version or files.version
        record = model.versions.setdefault(version, VersionRecord(ModelId(name, version), files))
        record.on_disk = files
        return record

    # -- looking things up -----------------------------------------------------------------------------------------

    def model(self, name: str) -> ModelRecord:
        """One model. Raises ModelNotFoundError that lists what there is."""
        model = self.models.get(name)
        if model is None:
            known = sorted(self.models)
            there = f"there are: {', '.join(known)}" if known else "no model is known"
            raise ModelNotFoundError(f"There is no model '{name[:128]}'; {there}.", details={"models": known})
        return model

    def version(self, name: str, version: str | None) -> VersionRecord:
        """One version by name, label or None for the newest. Raises VersionNotFoundError or ModelNotReadyError."""
        model = self.model(name)
        record = model.resolve(version)
        if record is not None:
            return record
        if version is None:
            raise self.nothing_to_serve(model)
        raise self.unknown_version(model, version)

    def unknown_version(self, model: ModelRecord, version: str) -> TensorhostError:
        """The error for a version or label that a model does not have; it lists those it has."""
        known = [known.id.version for known in model.newest_first()]
        labels = sorted(model.version_labels)
        return VersionNotFoundError(
            f"Model '{model.name}' has no version or label '{version[:128]}'; versions: {', '.join(known) or 'none'}"
            + (f"; labels: {', '.join(labels)}." if labels else "."),
            details={"versions": known, "labels": labels},
        )

    def nothing_to_serve(self, model: ModelRecord) -> TensorhostError:
        """The error for a model none of whose versions can be served, with the reason of the newest."""
        newest = next(iter(model.newest_first()), None)
        if model.problem or newest is None:
            reason = model.problem or "it has no versions."
            return ModelNotReadyError(f"Model '{model.name}' cannot be served: {reason}", retry_after_s=RETRY_AFTER_S)
        return self.not_ready(newest)

    def not_ready(self, record: VersionRecord) -> TensorhostError:
        """The error for a version that is known but does not serve, with the reason."""
        what = f"Model '{record.id.name}' version '{record.id.version}'"
        model = self.models.get(record.id.name)
        if record.failed and isinstance(record.error, OutOfMemoryError):
            return OutOfMemoryError(f"{what} could not be loaded: {record.error.message}", details=record.error.details)
        if record.failed and record.error is not None:
            reason = f"it failed to load: {record.error.message}"
        elif record.stopped or (model is not None and model.stopped):
            reason = "it was unloaded."
        else:
            problem = record.on_disk.problem or (model.problem if model is not None else "")
            reason = problem or f"it is {record.state.value}."
        return ModelNotReadyError(
            f"{what} is not available: {reason}",
            details={"state": record.state.value},
            retry_after_s=RETRY_AFTER_S,
        )
