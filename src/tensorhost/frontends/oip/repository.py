"""The model repository extension: which models there are, loading and unloading them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from tensorhost.codecs.oip import Parameter
from tensorhost.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OutOfMemoryError,
    RuntimeMissingError,
)
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.admitting import version_text
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.states import VersionState

_UNLOADABLE = (ModelFailedError, ModelNotReadyError, OutOfMemoryError, RuntimeMissingError)


class RepositoryState(StrEnum):
    """A version's state, as Triton names it."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


STATE: Mapping[VersionState, RepositoryState] = {
    VersionState.NEW: RepositoryState.UNAVAILABLE,
    VersionState.LOADING: RepositoryState.LOADING,
    VersionState.WARMING: RepositoryState.LOADING,
    VersionState.AVAILABLE: RepositoryState.READY,
    VersionState.DRAINING: RepositoryState.UNLOADING,
    VersionState.UNLOADING: RepositoryState.UNLOADING,
    VersionState.END: RepositoryState.UNAVAILABLE,
}


class IndexEntry(NamedTuple):
    """A version in the repository, or a model without any.

    Attributes:
        name: the model.
        version: the number of its version, or its name where that is none; empty for a model without versions.
        state: where it is.
        reason: why it does not serve; empty where it does, or nothing is known.
    """

    name: str
    version: str
    state: RepositoryState
    reason: str

    def to_json(self) -> dict[str, str]:
        """As REST has it: without what is empty."""
        return {key: value for key, value in self._asdict().items() if value}


class Repository:
    """The repository as clients see and change it.

    Args:
        manager: knows the models.
        group: loads and unloads, in all processes of the server.
    """

    def __init__(self, manager: ModelManager, group: Group) -> None:
        self._manager = manager
        self._group = group

    def index(self, *, ready: bool = False, repository: str = "") -> list[IndexEntry]:
        """Every version of every model, by name and then the lowest version first.

        Args:
            ready: only those that serve.
            repository: the repository meant; empty, since there is one.

        Raises UnsupportedError where a repository is named.
        """
        _check_repository(repository)
        entries = [entry for name in sorted(self._manager.models()) for entry in self._entries(name)]
        return [entry for entry in entries if entry.state is RepositoryState.READY] if ready else entries

    async def load(self, name: str, parameters: Mapping[str, Parameter | bytes], repository: str = "") -> None:
        """Load what the repository has of a model, as its version policy says, and wait until it serves.

        Raises:
            ModelFailedError: there is no such model, or it failed to load.
            UnsupportedError: the request brings files, a configuration or the name of a repository.
        """
        _check_repository(repository)
        for given in parameters:
            if given == "config" or given.startswith("file:"):
                raise faults.no_override(given)
        try:
            await self._group.load_model(name)
        except (ModelNotFoundError, InvalidRequestError):
            raise faults.failed_to_load(name, "failed to poll from model repository") from None
        except _UNLOADABLE as error:
            raise faults.failed_to_load(name, error.message) from None

    async def unload(self, name: str, repository: str = "") -> None:
        """Unload all of a model and wait until its memory is back; nothing where there is no such model.

        Models have no dependents here, so that asking for those to be unloaded as well changes nothing.

        Raises UnsupportedError where a repository is named.
        """
        _check_repository(repository)
        try:
            await self._group.unload_model(name)
        except (ModelNotFoundError, InvalidRequestError):
            return

    def _entries(self, name: str) -> list[IndexEntry]:
        model = self._manager.models()[name]
        if not model.versions:
            return [IndexEntry(name, "", RepositoryState.UNAVAILABLE, model.problem)]
        return [_entry(model, record) for record in reversed(model.newest_first())]


def _entry(model: ModelRecord, record: VersionRecord) -> IndexEntry:
    state = STATE[record.state]
    reason = "" if state is RepositoryState.READY else _reason(model, record)
    return IndexEntry(record.id.name, version_text(record.id.version), state, reason)


def _reason(model: ModelRecord, record: VersionRecord) -> str:
    if record.error is not None:
        return record.error.message
    if record.stopped or model.stopped:
        return "unloaded"
    problem = record.on_disk.problem or model.problem
    if not problem and model.lazy and record.id.version in model.wanted():
        return "loaded when it is first asked for"
    return problem


def _check_repository(repository: str) -> None:
    if repository:
        raise faults.no_named_repositories()
