"""Every route of the native API, one entry each: what it takes, what it answers with, and with which errors.

Which of these belong to the application's routes is checked by a test, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.native.openapi import examples
from tensorhost.frontends.native.openapi.schemas import TEXT, Schema, ref

JSON = "application/json"
HTML = "text/html"
OPENMETRICS = "application/openmetrics-text"
PROMETHEUS = "text/plain"


@dataclass(frozen=True, slots=True)
class Content:
    """A body of one media type: its schema, and examples by name."""

    schema: Schema
    examples: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of a route.

    Attributes:
        id: the name that generated clients give it.
        tag: the group it is shown in.
        body: the JSON body it takes; None where it takes none.
        body_required: whether the body may be left out.
        answer: what status 200 holds, by media type.
        not_ready: what status 503 holds that is no error; None where it is always one.
        errors: the codes it answers with, besides those of the connection.
        needs_token: whether it is for operators.
        is_static: whether the answer has an ETag and may be answered with 304.
    """

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str = ""
    body: Content | None = None
    body_required: bool = True
    answer: Mapping[str, Content]
    not_ready: Content | None = None
    errors: frozenset[ErrorCode] = frozenset()
    needs_token: bool = False
    is_static: bool = False


_BODY = frozenset({ErrorCode.UNSUPPORTED_MEDIA_TYPE})
_OF_A_VERSION = frozenset({ErrorCode.MODEL_NOT_FOUND, ErrorCode.VERSION_NOT_FOUND})
_ADMISSION = frozenset(
    {
        *_BODY,
        *_OF_A_VERSION,
        ErrorCode.SIGNATURE_NOT_FOUND,
        ErrorCode.MODEL_NOT_READY,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.OUT_OF_MEMORY,
    }
)
_INPUT = frozenset(
    {
        ErrorCode.INVALID_INPUT_SHAPE,
        ErrorCode.INVALID_INPUT_TYPE,
        ErrorCode.MISSING_INPUT,
        ErrorCode.UNKNOWN_INPUT,
        ErrorCode.RAGGED_INPUT,
        ErrorCode.INVALID_PREPROCESSING,
        ErrorCode.INVALID_POSTPROCESSING,
        ErrorCode.MODEL_FAILED,
    }
)
_CONTROL = frozenset({*_BODY, *_OF_A_VERSION, ErrorCode.UNAUTHENTICATED, ErrorCode.PERMISSION_DENIED})
_LOAD = frozenset(
    {
        *_CONTROL,
        ErrorCode.MODEL_FAILED,
        ErrorCode.RUNTIME_MISSING,
        ErrorCode.MODEL_NOT_READY,
        ErrorCode.OUT_OF_MEMORY,
    }
)
_CONTROL_NOTE = "Answers only if the server listens on loopback, or with the admin token where one is set."
_HEALTH_NOTE = "`starting` until every version wanted at start serves or has failed once; `draining` after SIGTERM."


def _json(schema: str, found: Mapping[str, Any] | None = None) -> dict[str, Content]:
    return {JSON: Content(ref(schema), found or {})}


_NOT_READY = Content(ref("NotReady"), {"starting": {"status": "starting"}, "draining": {"status": "draining"}})
_HEALTHY = _json("Healthy", {"healthy": {"status": "healthy"}})

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/predict",
        id="predict",
        tag="Inference",
        summary="Answer one request.",
        description="One model call, or a share of one: requests that wait together are merged into batches.",
        body=Content(ref("PredictRequest"), examples.PREDICT_REQUESTS),
        answer=_json("PredictResult", examples.PREDICT_RESULTS),
        errors=_ADMISSION | _INPUT,
    ),
    Operation(
        method="POST",
        path="/batch-predict",
        id="batchPredict",
        tag="Inference",
        summary="Answer many requests in one.",
        description="A bad item gets its error at its place and does not disturb the others. The status is 200 "
        "unless the request itself is wrong.",
        body=Content(ref("BatchPredictRequest"), examples.BATCH_REQUESTS),
        answer=_json("BatchPredictResult", examples.BATCH_RESULTS),
        errors=_ADMISSION,
    ),
    Operation(
        method="GET",
        path="/models",
        id="listModels",
        tag="Models",
        summary="Everything that is served, and what is not and why.",
        answer=_json("Models", examples.MODELS),
    ),
    Operation(
        method="GET",
        path="/models/{name}",
        id="getModel",
        tag="Models",
        summary="One model, all its versions.",
        answer=_json("Model", examples.MODEL),
        errors=frozenset({ErrorCode.MODEL_NOT_FOUND}),
    ),
    Operation(
        method="GET",
        path="/models/{name}/versions/{version}",
        id="getVersion",
        tag="Models",
        summary="One version, by name or label.",
        answer=_json("Version", examples.VERSION),
        errors=_OF_A_VERSION,
    ),
    Operation(
        method="POST",
        path="/models/{name}/load",
        id="loadModel",
        tag="Control",
        summary="Load a model or a version, and answer when it serves.",
        description=f"Answers with the version if one was named, else with the model. {_CONTROL_NOTE}",
        body=Content(ref("LoadRequest"), examples.LOAD_REQUESTS),
        body_required=False,
        answer={JSON: Content({"anyOf": [ref("Version"), ref("Model")]}, examples.VERSION)},
        errors=_LOAD,
        needs_token=True,
    ),
    Operation(
        method="POST",
        path="/models/{name}/unload",
        id="unloadModel",
        tag="Control",
        summary="Unload a model or a version, and answer when the memory is back.",
        description=f"Requests in flight are finished first. {_CONTROL_NOTE}",
        body=Content(ref("UnloadRequest"), examples.UNLOAD_REQUESTS),
        body_required=False,
        answer=_json("UnloadResult", examples.UNLOAD_RESULTS),
        errors=_CONTROL | {ErrorCode.MODEL_FAILED},
        needs_token=True,
    ),
    Operation(
        method="POST",
        path="/models/{name}/labels",
        id="moveLabel",
        tag="Control",
        summary="Make a label point to a version that serves.",
        description=f"At once, whatever `model.toml` says, until the server ends. {_CONTROL_NOTE}",
        body=Content(ref("LabelRequest"), examples.LABEL_REQUESTS),
        answer=_json("Model", examples.MODEL),
        errors=_CONTROL | {ErrorCode.MODEL_FAILED, ErrorCode.MODEL_NOT_READY, ErrorCode.OUT_OF_MEMORY},
        needs_token=True,
    ),
    Operation(
        method="GET",
        path="/health",
        id="getHealth",
        tag="Health",
        summary="Whether requests should be sent here.",
        description=_HEALTH_NOTE,
        answer=_HEALTHY,
        not_ready=_NOT_READY,
    ),
    Operation(
        method="GET",
        path="/health/ready",
        id="getReadiness",
        tag="Health",
        summary="The same, under the name that probes use.",
        description=_HEALTH_NOTE,
        answer=_HEALTHY,
        not_ready=_NOT_READY,
    ),
    Operation(
        method="GET",
        path="/health/live",
        id="getLiveness",
        tag="Health",
        summary="Whether the process answers at all.",
        answer=_json("Alive", {"alive": {"status": "alive"}}),
    ),
    Operation(
        method="GET",
        path="/readyz",
        id="getReadyz",
        tag="Health",
        summary="`/health/ready` as Kubernetes names it.",
        description=_HEALTH_NOTE,
        answer=_HEALTHY,
        not_ready=_NOT_READY,
    ),
    Operation(
        method="GET",
        path="/healthz",
        id="getHealthz",
        tag="Health",
        summary="`/health/live` as Kubernetes names it.",
        answer=_json("Alive", {"alive": {"status": "alive"}}),
    ),
    Operation(
        method="GET",
        path="/metrics",
        id="getMetrics",
        tag="Metrics",
        summary="Counters, latencies and sizes.",
        description="JSON, unless `Accept` prefers a type that Prometheus reads.",
        answer={
            JSON: Content(ref("Metrics"), examples.METRICS),
            PROMETHEUS: Content(TEXT, examples.PROMETHEUS),
            OPENMETRICS: Content(TEXT, examples.OPENMETRICS),
        },
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        id="getApiDescription",
        tag="Description",
        summary="This document.",
        answer={JSON: Content({"type": "object", "required": ["openapi", "info", "paths"]})},
        is_static=True,
    ),
    Operation(
        method="GET",
        path="/docs",
        id="getApiPage",
        tag="Description",
        summary="This document as a page from which requests can be sent.",
        answer={HTML: Content(TEXT)},
        is_static=True,
    ),
)
