"""What the page is told of the server, as JSON; key names are the page's and may change with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tensorhost.codecs import dumps
from tensorhost.core.version import __version__
from tensorhost.frontends.native.descriptions import describe_model
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings
from tensorhost.telemetry.histograms import ROWS_BOUNDS, SECONDS_BOUNDS
from tensorhost.telemetry.history import COARSE_SAMPLES, FINE_IN_COARSE, FINE_S, FINE_SAMPLES, Past, Sample
from tensorhost.telemetry.recent_errors import RecentError
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.versions import STAGES

_MODELS_AT_ONCE = 50
"""Described before others get their turn on the event loop."""


def describe_server(settings: Settings, view: ServerView) -> dict[str, Any]:
    """What does not change while the page is open, or hardly."""
    return {
        "version": __version__,
        "startedAt": _iso(time.time() - view.uptime_s),
        "protocols": ["native", "tfserving"],
        "controlNeeds": _control_needs(settings),
        "workers": {"count": view.workers.count, "ready": view.workers.ready, "restarts": view.workers.restarts},
        "secondsBounds": SECONDS_BOUNDS,
        "rowsBounds": ROWS_BOUNDS,
        "stages": STAGES,
        "resolutions": {
            "fine": {"seconds": FINE_S, "samples": FINE_SAMPLES},
            "coarse": {"seconds": FINE_S * FINE_IN_COARSE, "samples": COARSE_SAMPLES},
        },
    }


def _control_needs(settings: Settings) -> str:
    if settings.admin_token is not None and settings.admin_token.get_secret_value():
        return "token"
    return "nothing" if settings.bound_to_loopback else "off"


async def models_json(manager: ModelManager) -> bytes:
    """Every model with all its versions, and what in the repository is no model."""
    described: list[Mapping[str, Any]] = []
    for name in sorted(manager.models()):
        model = manager.models().get(name)
        if model is not None:
            described.append(describe_model(model))
        if len(described) % _MODELS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return dumps({"models": described, "problems": dict(manager.problems())})


def models_signature(manager: ModelManager) -> int:
    """A number that changes when a version's state or error, or a label, does."""
    return hash(
        tuple(
            (name, model.problem, *model.version_labels.items(), *_states(model.versions))
            for name, model in manager.models().items()
        )
    )


def _states(versions: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (name, record.state, id(record.error), id(record.servable), record.on_disk.problem)
        for name, record in versions.items()
    ]


def samples_json(resolution: str, samples: Sequence[Sample]) -> bytes:
    """Samples that are JSON already, in one object."""
    return b'{"resolution":"%b","samples":[%b]}' % (
        resolution.encode(),
        b",".join(sample.json for sample in samples),
    )


def errors_json(past: Past) -> bytes:
    """The errors kept, the newest first."""
    return dumps({"errors": [_describe_error(error) for error in past.errors]})


def _describe_error(error: RecentError) -> dict[str, Any]:
    return {
        "at": _iso(error.at),
        "requestId": error.request_id,
        "method": error.method,
        "path": error.path,
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "model": error.model,
        "version": error.version,
    }


def _iso(at: float) -> str:
    """A Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
