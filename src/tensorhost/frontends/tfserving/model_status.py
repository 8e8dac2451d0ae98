"""What GetModelStatus and its REST twin tell of a model: each version's state and, where it failed, why."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.tfserving.statuses import RPC_STATUS
from tensorhost.frontends.tfserving.versions import name_for, number_of
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

    Versions that are no numbers are left out: messages have no place for them. So are those that lie on disk and
    nobody wants.

    Raises:
        ServingError: there is nothing to tell of, or no such label.
    """
    model = manager.models().get(spec.name)
    if model is None:
        raise faults.no_versions(spec.name, spec.version)
    number = spec.version if spec.label is None else number_of(_labelled(model, spec.label))
    if number is None and spec.label is None:
        statuses = _statuses(model)
    else:
        statuses = [status for status in _statuses(model) if status.version == number]
    if not statuses:
        raise faults.no_versions(spec.name, number)
    return statuses


def _labelled(model: ModelRecord, label: str) -> str:
    version = model.version_labels.get(label)
    if version is None:
        raise faults.unknown_label(label)
    return version


def _statuses(model: ModelRecord) -> list[VersionStatus]:
    wanted = model.wanted()
    by_number: dict[int, VersionStatus] = {}
    for record in reversed(model.newest_first()):
        number = number_of(record.id.version)
        untouched = record.state is VersionState.NEW and record.error is None
        if number is None or (untouched and record.id.version not in wanted):
            continue
        if number not in by_number or name_for(number, model.versions) == record.id.version:
            by_number[number] = _status(number, record)
    return [by_number[number] for number in sorted(by_number, reverse=True)]


def _status(number: int, record: VersionRecord) -> VersionStatus:
    state = SERVING_STATE[record.state]
    if record.state is VersionState.NEW and record.failed:
        # Between two attempts.
        state = ServingState.LOADING
    if record.error is None:
        return VersionStatus(number, state, RpcStatus.OK, "")
    return VersionStatus(number, state, RPC_STATUS[record.error.code], record.error.message)
