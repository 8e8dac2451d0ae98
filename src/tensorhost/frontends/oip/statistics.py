"""What the statistics extension tells of each version that serves, from the counters of all processes.

The answer is that of the REST route; the message of the RPC ``ModelStatistics`` has the same names. ``inference_stats``
counts the times of each request, also those of a call that it shared; ``batch_stats`` counts each call once, and knows
no pre- and postprocessing. What must stay true: ``success.count`` and ``fail.count`` are all requests that reached the
version, refused ones among them; queue and compute times are parts of ``success``; ``execution_count`` is the sum over
``batch_stats``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.ids import version_key
from tensorhost.frontends.versions import name_for, number_of
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import VersionRecord
from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.versions import VersionMetrics

_NANOSECONDS = 1e9
_MILLISECONDS = 1e3
_LONGEST_SHOWN = 128


class Statistics:
    """Answers requests for statistics.

    Args:
        manager: knows which versions serve.
        group: has the counters of all processes.
    """

    def __init__(self, manager: ModelManager, group: Group) -> None:
        self._manager = manager
        self._group = group

    async def model_statistics(self, name: str = "", version: str = "") -> dict[str, Any]:
        """``{"model_stats": [...]}`` of the versions that serve, by name and in natural order.

        Args:
            name: of a model; empty for all.
            version: digits, as on the wire; empty for all versions of the model.

        Raises:
            InvalidRequestError: no such version serves; INVALID_ARGUMENT, as Triton has it.
        """
        records = self._serving(name, version)
        view = await self._group.view()
        by_id = {(each.model, each.version): each for each in view.versions}
        # A thousand versions take milliseconds, which requests need not wait for.
        return await asyncio.to_thread(
            lambda: {
                "model_stats": [
                    _described(record, by_id.get(record.id) or VersionMetrics(*record.id)) for record in records
                ]
            }
        )

    def _serving(self, name: str, version: str) -> list[VersionRecord]:
        models = self._manager.models()
        names = sorted(models) if not name else {name} & models.keys()
        records = [each for known in names for each in _in_order(models[known].versions.values()) if each.available]
        if version:
            number = number_of(version) if version[:1].isdigit() else None
            wanted = None if number is None else name_for(number, [record.id.version for record in records])
            records = [record for record in records if record.id.version == wanted]
        if name and not records:
            which = f"'{name[:_LONGEST_SHOWN]}'" + (f" version {version[:_LONGEST_SHOWN]}" if version else "")
            raise InvalidRequestError(f"requested model {which} is not available")
        return records


def _in_order(records: Iterable[VersionRecord]) -> list[VersionRecord]:
    return sorted(records, key=lambda record: version_key(record.id.version))


def _described(record: VersionRecord, metrics: VersionMetrics) -> dict[str, Any]:
    version, answered = number_of(record.id.version), metrics.total.count
    return {
        "name": record.id.name,
        "version": record.id.version if version is None else str(version),
        "last_inference": round(metrics.last_call_at * _MILLISECONDS),
        "inference_count": metrics.answered_rows,
        "execution_count": metrics.execution.count,
        "inference_stats": {
            "success": _duration_of(metrics.total),
            "fail": _duration(metrics.error_count, metrics.failed_s),
            "queue": _duration_of(metrics.queue),
            "compute_input": _duration(answered, metrics.compute_input_s),
            "compute_infer": _duration(answered, metrics.compute_infer_s),
            "compute_output": _duration(answered, metrics.compute_output_s),
            # There is no cache of answers.
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "response_stats": {},
        "batch_stats": _batch_stats(metrics),
        "memory_usage": _memory_usage(metrics),
    }


def _batch_stats(metrics: VersionMetrics) -> list[dict[str, Any]]:
    # A copy: the event loop may add a size while this runs on a thread.
    calls = sorted(dict(metrics.calls_by_rows).items())
    return [
        {
            "batch_size": rows,
            "compute_input": _duration(each.count, each.merge_s),
            "compute_infer": _duration(each.count, each.model_s),
            "compute_output": _duration(each.count, each.split_s),
        }
        for rows, each in calls
    ]


def _memory_usage(metrics: VersionMetrics) -> list[dict[str, Any]]:
    return [{"type": "CPU", "id": 0, "byte_size": metrics.memory_bytes}] if metrics.memory_bytes else []


def _duration_of(histogram: Histogram) -> dict[str, int]:
    return _duration(histogram.count, histogram.sum)


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * _NANOSECONDS)}
