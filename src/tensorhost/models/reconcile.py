"""What to do next so that what is loaded becomes what is wanted. Pure: a function of the records and of ``now``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tensorhost.models.policy import removable
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.states import VersionState


@dataclass(slots=True)
class Plan:
    """Versions to load, to replace by their changed files, and to unload now; and when to look again at the latest."""

    load: list[VersionRecord] = field(default_factory=list)
    replace: list[VersionRecord] = field(default_factory=list)
    unload: list[VersionRecord] = field(default_factory=list)
    wake_at: float = math.inf


def plan(models: Iterable[ModelRecord], now: float) -> Plan:
    """The next steps. Whatever is busy is left alone until it is done."""
    steps = Plan()
    for model in models:
        wanted = model.wanted()
        _plan_loads(model, wanted, now, steps)
        _plan_unloads(model, wanted, steps)
    return steps


def backoff_s(attempts: int, first_s: float, longest_s: float = 300.0) -> float:
    """Seconds to wait after so many failed attempts."""
    return min(first_s * 2.0 ** min(attempts - 1, 30), longest_s)


def _plan_loads(model: ModelRecord, wanted: set[str], now: float, steps: Plan) -> None:
    for record in model.newest_first():
        if record.busy or record.id.version not in wanted:
            continue
        if record.available:
            due = steps.replace if record.files_changed and not model.problem else None
        else:
            due = steps.load if _is_due(model, record, wanted) else None
        if due is None:
            continue
        if record.next_attempt_at <= now:
            due.append(record)
        else:
            steps.wake_at = min(steps.wake_at, record.next_attempt_at)


def _is_due(model: ModelRecord, record: VersionRecord, wanted: set[str]) -> bool:
    if record.state is VersionState.END and record.next_attempt_at == math.inf:
        return False
    if not model.lazy or record.pinned or record.asked_for:
        return True
    # A lazy model in use whose serving version is no longer wanted takes up the one that is.
    serving = {version for version, other in model.versions.items() if other.available}
    return bool(serving) and not serving & wanted


def _plan_unloads(model: ModelRecord, wanted: set[str], steps: Plan) -> None:
    loaded = {version: record for version, record in model.versions.items() if record.available and not record.busy}
    coming = {
        version
        for version in wanted
        if not model.versions[version].failed and _is_due(model, model.versions[version], wanted)
    }
    may_go = removable(loaded, coming | (wanted & loaded.keys()), loaded)
    for version, record in loaded.items():
        stopped = record.stopped or model.stopped
        # What an operator stopped goes at once, whatever else is still to come.
        if version not in wanted and (stopped or version in may_go):
            steps.unload.append(record)
