"""Schemas of what the inference, health and control routes answer with."""

from __future__ import annotations

from tensorhost.frontends.native.openapi.schemas import (
    COUNT,
    NUMBER,
    TEXT,
    Schema,
    answered,
    described,
    listing,
    mapping,
    nullable,
    ref,
)
from tensorhost.models.states import VersionState

_MS: Schema = {"type": "number", "minimum": 0}

_OUTPUT = described(
    {
        "anyOf": [
            {"type": ["number", "boolean", "string", "null"]},
            listing(ref("Output")),
            ref("RankedClass"),
            ref("Bytes"),
            mapping(ref("Output")),
        ]
    },
    "Nested lists of numbers, booleans or texts. NaN and infinities are null; bytes that are not UTF-8 are `Bytes`; "
    "`topK` and `threshold` with labels give lists of `RankedClass`; a custom step may give anything.",
)

_RESULT = answered(
    {
        "predictions": described(ref("Output"), "Bare for a model with one output, an object by name for several."),
        "modelName": TEXT,
        "modelVersion": TEXT,
        "inferenceTimeMs": described(_MS, "Milliseconds of the model calls the request took part in."),
        "preprocessingTimeMs": _MS,
        "postprocessingTimeMs": _MS,
        "queueTimeMs": described(_MS, "Milliseconds until the first of those calls began."),
    }
)

_BATCH_RESULT = answered(
    {
        "results": described(
            listing({"anyOf": [ref("PredictResult"), ref("ErrorAnswer")]}), "One entry for each item, in order."
        ),
        "modelVersion": TEXT,
    }
)

SCHEMAS: dict[str, Schema] = {
    "PredictResult": _RESULT,
    "BatchPredictResult": _BATCH_RESULT,
    "Output": _OUTPUT,
    "RankedClass": answered({"label": TEXT, "index": COUNT, "score": NUMBER}, optional=("label",)),
    "UnloadResult": answered(
        {
            "name": TEXT,
            "version": described(nullable(TEXT), "As asked for; null for all versions."),
            "state": {"const": VersionState.END.value},
        }
    ),
    "Healthy": answered({"status": {"const": "healthy"}}),
    "NotReady": answered({"status": {"enum": ["starting", "draining"]}}),
    "Alive": answered({"status": {"const": "alive"}}),
}
