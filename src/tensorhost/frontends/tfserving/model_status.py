"""What GetModelStatus and its REST twin tell of a model: each version's state and, where it failed, why."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from tensorhost.core.errors import TensorhostError
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.tfserving.statuses import RPC_STATUS
from tensorhost.frontends.versions import name_for, number_of
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.states import VersionState


class ServingState(IntEnum):
    """A version's state as TensorFlow Serving names and numbers it (``ModelVersionStatus.State``)."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


SERVING_STATE: Mapping[VersionState, ServingState] = {
    VersionState.NEW: ServingState.START,
    VersionState.LOADING: ServingState.LOADING,
    VersionState.WARMING: ServingState.LOADING,
    VersionState.AVAILABLE: ServingState.AVAILABLE,
    VersionState.DRAINING: ServingState.UNLOADING,
    VersionState.UNLOADING: ServingState.UNLOADING,
    VersionState.END: ServingState.END,
}


_UNLOADED = (ServingState.END, RpcStatus.OK)
_MOST_UNLOADED = 8


class VersionStatus(NamedTuple):
    """One version of a model.

    Attributes:
        version: its number.
        state: where it is in its life.
        error_code: why the last attempt at it failed; OK where it did not.
        error_message: the same in words.
    """

    version: int
    state: ServingState
    error_code: RpcStatus
    error_message: str


def model_status(manager: ModelManager, spec: ModelSpec) -> list[VersionStatus]:
    """The versions of a model, the newest first; only the one that ``spec`` names by number or label, if it does.

    Those that failed are among them, and of those that were unloaded the newest few. Versions that are no numbers are
    left out: messages have no place for them. So are those that lie on disk and nobody wants.

    Raises:
        ServingError: there is nothing to tell of, or no such label.
    """
    model = manager.models().get(spec.name)
    if spec.label is not None:
        number = _labelled(model, spec.label)
        if number is None:
            raise faults.no_versions(spec.name, None)
    else:
        number = spec.version
    by_number = {
        known: VersionStatus(known, ServingState.END, *_reason(gone.error))
        for gone in manager.ended(spec.name)
        if (known := number_of(gone.version)) is not None
    }
    if model is not None:
        by_number |= _statuses(model)
    chosen = by_number.keys() & {number} if number is not None else by_number.keys() - _long_unloaded(by_number)
    if not chosen:
        raise faults.no_versions(spec.name, number)
    return [by_number[each] for each in sorted(chosen, reverse=True)]


def _long_unloaded(statuses: Mapping[int, VersionStatus]) -> set[int]:
    # A server that has been given a new version a day, and the old ones left on disk, tells of a week.
    unloaded = (each.version for each in statuses.values() if (each.state, each.error_code) == _UNLOADED)
    return set(sorted(unloaded, reverse=True)[_MOST_UNLOADED:])


def _labelled(model: ModelRecord | None, label: str) -> int | None:
    version = None if model is None else model.version_labels.get(label)
    if version is None:
        raise faults.unknown_label(label)
    return number_of(version)


def _statuses(model: ModelRecord) -> dict[int, VersionStatus]:
    wanted = model.wanted()
    statuses: dict[int, VersionStatus] = {}
    for record in reversed(model.newest_first()):
        number = number_of(record.id.version)
        untouched = record.state is VersionState.NEW and record.error is None
        if number is None or (untouched and record.id.version not in wanted):
            continue
        if number not in statuses or name_for(number, model.versions) == record.id.version:
            statuses[number] = VersionStatus(number, _state(record), *_reason(record.error))
    return statuses


def _state(record: VersionRecord) -> ServingState:
    if record.state is VersionState.NEW and record.failed:
        # Between two attempts.
        return ServingState.LOADING
    return SERVING_STATE[record.state]


def _reason(error: TensorhostError | None) -> tuple[RpcStatus, str]:
    return (RpcStatus.OK, "") if error is None else (RPC_STATUS[error.code], error.message)
