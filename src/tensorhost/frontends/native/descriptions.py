"""Models and versions as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tensorhost.batching.pace import PaceReport
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.servable import Servable
from tensorhost.models.warmup import SignaturePlan


def describe_version(model: ModelRecord, record: VersionRecord) -> dict[str, Any]:
    """One version in whatever state: what it takes and gives, how it runs, or why it does not."""
    files = record.on_disk
    # What answers requests, not what model.toml has come to say since.
    config = model.config if record.servable is None else record.servable.loaded.config
    described: dict[str, Any] = {
        "name": record.id.name,
        "version": record.id.version,
        "state": record.state.value,
        "format": None if files.format is None else files.format.value,
        "description": config.description,
        "versionLabels": sorted(
            label for label, version in model.version_labels.items() if version == record.id.version
        ),
        "labels": list(config.labels) or None,
        "preprocessing": _options(config.preprocessing),
        "postprocessing": _options(config.postprocessing),
        "error": _error(model, record),
    }
    if record.servable is not None:
        described |= _describe_servable(record.servable)
    return described


def describe_model(model: ModelRecord) -> dict[str, Any]:
    """A model: the version that answers when none is named, and all versions, the newest first."""
    default = model.resolve(None)
    described = describe_version(model, default) if default is not None else {"name": model.name, "version": None}
    return described | {
        "problem": model.problem or None,
        "loading": "lazy" if model.lazy else "eager",
        "allVersionLabels": model.version_labels,
        "versions": [describe_version(model, record) for record in model.newest_first()],
    }


def describe_all(models: Iterable[ModelRecord], problems: Mapping[str, str]) -> dict[str, Any]:
    """Loaded models, what is not loaded and why, and what in the repository is no model."""
    loaded: list[dict[str, Any]] = []
    unavailable: list[dict[str, Any]] = []
    for model in sorted(models, key=lambda model: model.name):
        for record in model.newest_first():
            if record.available:
                loaded.append(describe_version(model, record))
            elif record.error is not None or record.on_disk.problem or record.busy or model.lazy or model.problem:
                unavailable.append(_brief(model, record))
        if not model.versions:
            unavailable.append(
                {"name": model.name, "version": None, "state": None, "error": {"message": model.problem}}
            )
    return {"models": loaded, "unavailable": unavailable, "problems": dict(problems)}


def _brief(model: ModelRecord, record: VersionRecord) -> dict[str, Any]:
    return {
        "name": record.id.name,
        "version": record.id.version,
        "state": record.state.value,
        "error": _error(model, record),
    }


def _error(model: ModelRecord, record: VersionRecord) -> dict[str, Any] | None:
    if record.error is not None:
        return {"code": record.error.code.value, "message": record.error.message, "attempts": record.attempts}
    problem = record.on_disk.problem or model.problem
    return {"code": "MODEL_NOT_READY", "message": problem} if problem and not record.available else None


def _describe_servable(servable: Servable) -> dict[str, Any]:
    loaded = servable.loaded
    default = servable.signature(None)
    plans = loaded.plans
    return {
        "inputShape": _shapes(default.inputs),
        "outputShape": _shapes(default.outputs),
        "inputs": _specs(default.inputs),
        "outputs": _specs(default.outputs),
        "loadedAt": _iso(servable.loaded_at),
        "lastUsedAt": None if servable.last_used_at is None else _iso(servable.last_used_at),
        "warmupComplete": all(plan.warmed for plan in plans.values()),
        "runtime": loaded.runtime.name,
        "memoryBytes": loaded.memory_bytes,
        "peakMemoryBytes": loaded.peak_bytes,
        "weightsBytes": loaded.runtime.weights_bytes,
        "parameters": loaded.contents.parameters,
        "findings": [finding.to_json() for finding in loaded.contents.findings],
        "disabledOptimizations": [
            {"name": name, "reason": reason} for name, reason in loaded.disabled_optimizations.items()
        ],
        "loadTimeMs": round(loaded.load_s * 1000, 1),
        "probeTimeMs": round(loaded.probe_s * 1000, 1),
        "warmupTimeMs": round(loaded.warmup_s * 1000, 1),
        "signatures": {
            name: _describe_signature(servable, signature, plans[name])
            for name, signature in loaded.runtime.signatures.items()
        },
        "refusedSignatures": dict(loaded.runtime.refused_signatures),
    }


def _describe_signature(servable: Servable, signature: Signature, plan: SignaturePlan) -> dict[str, Any]:
    decision = servable.loaded.decisions.get(signature.name)
    queue = servable.queue(signature.name)
    pace = queue.pace_report()
    return {
        "inputs": _specs(signature.inputs),
        "outputs": _specs(signature.outputs),
        "methodName": signature.method_name,
        "callPath": servable.loaded.runtime.call_path(signature.name),
        "race": decision.to_json() if decision is not None else None,
        "batching": {
            "batched": plan.batched,
            "reason": plan.reason or None,
            "maxBatchSize": queue.options.max_batch_rows if plan.batched else None,
            "filledUpTo": [span.to for span in plan.padding],
            "latencyGoal": None if pace is None else _describe_pace(pace),
        },
        "inlineRows": plan.inline_rows,
        "inlineRowsNow": queue.inline_rows,
        "callTimeMs": _milliseconds(plan.call_s),
        "warmupComplete": plan.warmed,
        "warmupProblem": plan.problem or None,
    }


def _describe_pace(pace: PaceReport) -> dict[str, Any]:
    return {
        "targetMs": pace.goal_s * 1000,
        "reachable": pace.reachable,
        "usualRows": pace.usual_rows,
        "overloadRows": pace.overload_rows,
        "limitRows": pace.limit_rows,
        "spread": round(pace.spread, 3),
        "callTimeMs": _milliseconds(pace.call_s),
    }


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of model.toml as a request would write it, so without the custom step, which none may name."""
    return {key: value for key, value in table.items() if key != "entry_point"}


def _iso(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(call_s: Mapping[int, float]) -> dict[str, float]:
    return {str(rows): round(seconds * 1000, 4) for rows, seconds in call_s.items()}


def _specs(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "dtype": spec.dtype.value, "shape": None if spec.shape is None else list(spec.shape)}
        for spec in specs.values()
    ]


def _shapes(specs: Mapping[str, TensorSpec]) -> Any:
    shapes = {name: None if spec.shape is None else list(spec.shape) for name, spec in specs.items()}
    return next(iter(shapes.values())) if len(shapes) == 1 else shapes
