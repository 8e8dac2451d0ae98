"""One list of models taking the place of what was served before: what changes, when that is done, what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from tensorhost.core.errors import ModelFailedError
from tensorhost.models.base_paths import BasePaths
from tensorhost.models.catalog import Catalog
from tensorhost.models.labels import refuse_unavailable, unsettled
from tensorhost.models.listed import ModelList
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.repository import Scan

_MOST_NAMED = 20


class Replacement:
    """What a list changes in a catalog. Constructing changes nothing.

    Args:
        catalog: as it is before.
        paths: of the list, which is checked.
        found: what is there.
        labels_may_wait: let a label that is not in use name a version that does not serve, nor will.

    Raises:
        LabelNotReadyError: a label names a version that would not serve.
    """

    def __init__(self, catalog: Catalog, paths: BasePaths, found: Scan, *, labels_may_wait: bool) -> None:
        known, models = catalog.models, paths.models
        self.paths = paths
        self.changed: ModelList = tuple(
            listed for listed in models if listed.name not in known or known[listed.name].listed != listed
        )
        for listed in self.changed:
            on_disk, before = found.models[listed.name], known.get(listed.name)
            refuse_unavailable(listed, on_disk, catalog.policy_of(on_disk), before, may_wait=labels_may_wait)
        self._catalog = catalog

    def done(self, *, may_settle: bool) -> bool:
        """Whether what is new or changed serves or has failed once, and what is listed no more is out of sight.

        ``may_settle``: files that have just been copied are waited for.
        """
        names = {listed.name for listed in self.paths.models}
        leaving = (model for model in self._catalog.models.values() if model.vanished and model.name not in names)
        if any(record.available for model in leaving for record in model.versions.values()):
            return False
        for model in self._records():
            if may_settle and any(record.on_disk.settling for record in model.versions.values()):
                return False
            if not all(_has_come(record) for record in _awaited(model)):
                return False
        return True

    def report(self) -> None:
        """Raise what ``ModelManager.replace_models`` raises where not all of it serves."""
        failures: list[str] = []
        for model in self._records():
            if model.problem:
                failures.append(f"{{name: {model.name}}} due to error: {model.problem}")
            for record in _awaited(model):
                if record.attempts > 0 and record.error is not None:
                    what = f"{{name: {model.name} version: {record.id.version}}}"
                    failures.append(f"{what} due to error: {record.error.message}")
        if failures:
            named = ", ".join(failures[:_MOST_NAMED])
            raise ModelFailedError(f"{len(failures)} servable(s) did not become available: {{{named}, }}")
        for listed in self.paths.models:
            known = self._catalog.models.get(listed.name)
            if known is not None and (refusal := unsettled(known)) is not None:
                raise refusal

    def _records(self) -> Iterator[ModelRecord]:
        for listed in self.changed:
            model = self._catalog.models.get(listed.name)
            if model is not None and model.listed == listed:
                yield model


def _awaited(model: ModelRecord) -> list[VersionRecord]:
    """Versions that are to serve; of a lazy model none."""
    if model.lazy:
        return []
    return [model.versions[version] for version in sorted(model.wanted())]


def _has_come(record: VersionRecord) -> bool:
    return (record.available and not record.busy) or record.attempts > 0
