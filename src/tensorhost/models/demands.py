"""What operators ask for, noted in the catalog. It waits for nothing; the manager acts on it."""

from __future__ import annotations

from tensorhost.core.errors import ModelFailedError, ModelNotReadyError
from tensorhost.models.catalog import Catalog
from tensorhost.models.labels import Labels
from tensorhost.models.records import VersionRecord
from tensorhost.models.repository import ModelOnDisk


class Demands:
    """Notes demands in ``catalog``."""

    def __init__(self, catalog: Catalog) -> None:
        self.labels = Labels(catalog)
        self._catalog = catalog

    def load(self, name: str, version: str | None, found: ModelOnDisk | None) -> list[VersionRecord]:
        """Note that versions are to be loaded; those.

        Args:
            name: the model.
            version: one version, or what to call the one that was found; None for all that the policy wants.
            found: what lies at a path that the operator named; None for what the repository or the list has.

        Raises what ``ModelManager.load_model`` raises.
        """
        if found is not None:
            records = [self._catalog.add_explicit(name, version, found)]
        else:
            records = self._loadable(name, version)
        model = self._catalog.models[name]
        model.stopped = False
        for record in records:
            if record.on_disk.problem and not record.available:
                raise ModelNotReadyError(f"Model '{name}' version '{record.id.version}': {record.on_disk.problem}")
            record.stopped = False
            record.asked_for = True
            # What the policy wants is not pinned: a newer version shall take its place.
            record.pinned = record.pinned or version is not None or model.explicit
            record.forgive()
        return records

    def unload(self, name: str, version: str | None) -> list[VersionRecord]:
        """Note that a version, or all of a model, is to be unloaded; those. Raises what ``unload_model`` raises."""
        model = self._catalog.model(name)
        records = list(model.versions.values()) if version is None else [self._catalog.version(name, version)]
        model.stopped = model.stopped or version is None
        for record in records:
            record.stopped = True
            record.pinned = False
        return records

    def _loadable(self, name: str, version: str | None) -> list[VersionRecord]:
        model = self._catalog.model(name)
        if model.problem:
            raise ModelFailedError(f"Model '{name}': {model.problem}")
        if version is not None:
            return [self._catalog.version(name, version)]
        model.stopped = False
        for record in model.versions.values():
            record.stopped = False
        wanted = set(model.versions) if model.explicit else model.wanted()
        if not wanted:
            raise self._catalog.nothing_to_serve(model)
        return [record for record in model.newest_first() if record.id.version in wanted]
