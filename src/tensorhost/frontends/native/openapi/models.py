"""Schemas of models and versions as ``descriptions`` shows them."""

from __future__ import annotations

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.native.openapi.schemas import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    Schema,
    answered,
    described,
    listing,
    mapping,
    nullable,
    one_of,
    ref,
)
from tensorhost.models.states import VersionState
from tensorhost.runtimes.base import ModelFormat, Precision
from tensorhost.runtimes.contents import FindingKind

_STATE = one_of(VersionState)
_ROWS: Schema = {"type": "integer", "minimum": 1}
_MS_BY_ROWS = described(mapping(NUMBER), "Milliseconds of a call by its rows.")
_SHAPES: Schema = {"anyOf": [ref("Shape"), mapping(ref("Shape"))]}

_LOAD_ERROR = described(
    nullable(answered({"code": one_of(ErrorCode), "message": TEXT, "attempts": COUNT}, optional=("code", "attempts"))),
    "Why it does not serve; `attempts` after a failed load.",
)

_ALWAYS: dict[str, Schema] = {
    "name": TEXT,
    "version": TEXT,
    "state": _STATE,
    "format": nullable(one_of(ModelFormat)),
    "description": TEXT,
    "versionLabels": described(listing(TEXT), "Labels of this version."),
    "labels": described(nullable(listing(TEXT)), "Names of the classes."),
    "preprocessing": described({"type": "object"}, "Options in `model.toml`, without a custom step."),
    "postprocessing": described({"type": "object"}, "Options in `model.toml`, without a custom step."),
    "error": _LOAD_ERROR,
}

_WHILE_LOADED: dict[str, Schema] = {
    "inputShape": described(_SHAPES, "Of the default signature; with several inputs an object by name."),
    "outputShape": described(_SHAPES, "Of the default signature; with several outputs an object by name."),
    "inputs": listing(ref("TensorSpec")),
    "outputs": listing(ref("TensorSpec")),
    "loadedAt": {"type": "string", "format": "date-time"},
    "lastUsedAt": described({"type": ["string", "null"], "format": "date-time"}, "Null before the first request."),
    "warmupComplete": FLAG,
    "runtime": described(TEXT, "What executes it."),
    "memoryBytes": COUNT,
    "peakMemoryBytes": COUNT,
    "weightsBytes": COUNT,
    "parameters": nullable(COUNT),
    "findings": described(listing(ref("Finding")), "What the model could do besides computing."),
    "disabledOptimizations": listing(answered({"name": TEXT, "reason": TEXT})),
    "loadTimeMs": NUMBER,
    "probeTimeMs": NUMBER,
    "warmupTimeMs": NUMBER,
    "signatures": mapping(ref("Signature")),
    "refusedSignatures": described(mapping(TEXT), "Signatures that no request can call, with the reason."),
}

_OF_A_MODEL: dict[str, Schema] = {
    "problem": described(nullable(TEXT), "What is wrong with the model as a whole."),
    "loading": one_of(("eager", "lazy")),
    "allVersionLabels": described(mapping(TEXT), "Labels, each with its version."),
    "versions": described(listing(ref("Version")), "All versions, the newest first."),
}

_SIGNATURE: dict[str, Schema] = {
    "inputs": listing(ref("TensorSpec")),
    "outputs": listing(ref("TensorSpec")),
    "methodName": TEXT,
    "callPath": described(TEXT, "How a call is made, in words."),
    "race": nullable(ref("Race")),
    "batching": answered(
        {
            "batched": FLAG,
            "reason": described(nullable(TEXT), "Why requests are not merged."),
            "maxBatchSize": nullable(_ROWS),
            "filledUpTo": described(listing(_ROWS), "Sizes that smaller batches are filled up to."),
            "latencyGoal": nullable(ref("LatencyGoal")),
        }
    ),
    "inlineRows": described(COUNT, "Calls of at most so many rows were quick enough for the event loop at warm-up."),
    "inlineRowsNow": described(COUNT, "Calls of at most so many rows run on the event loop now."),
    "callTimeMs": _MS_BY_ROWS,
    "warmupComplete": FLAG,
    "warmupProblem": nullable(TEXT),
}

_RACE = answered(
    {
        "reference": TEXT,
        "notRaced": described(nullable(TEXT), "Why there was no race."),
        "served": listing(
            answered({"upToRows": described(nullable(_ROWS), "Null for any number."), "runtime": TEXT}),
            description="Who serves which batch sizes.",
        ),
        "candidates": listing(
            answered(
                {
                    "runtime": TEXT,
                    "precision": one_of(Precision),
                    "serves": FLAG,
                    "reason": described(nullable(TEXT), "Why it does not serve."),
                    "speedup": mapping(NUMBER),
                    "callTimeMs": _MS_BY_ROWS,
                    "referenceCallTimeMs": _MS_BY_ROWS,
                    "comparedCalls": COUNT,
                    "largestDifference": nullable(NUMBER),
                    "outputScale": nullable(NUMBER),
                }
            )
        ),
    }
)

_LATENCY_GOAL = answered(
    {
        "targetMs": NUMBER,
        "reachable": FLAG,
        "usualRows": COUNT,
        "overloadRows": COUNT,
        "limitRows": COUNT,
        "spread": NUMBER,
        "callTimeMs": _MS_BY_ROWS,
    }
)

_UNAVAILABLE = answered(
    {"name": TEXT, "version": nullable(TEXT), "state": nullable(_STATE), "error": _LOAD_ERROR},
)

SCHEMAS: dict[str, Schema] = {
    "Models": answered(
        {
            "models": described(listing(ref("Version")), "Versions that serve."),
            "unavailable": described(listing(_UNAVAILABLE), "Versions that should serve and do not."),
            "problems": described(mapping(TEXT), "Entries of the repository that cannot be models, with the reason."),
        }
    ),
    "Model": described(
        answered(
            {**_ALWAYS, "version": nullable(TEXT), **_WHILE_LOADED, **_OF_A_MODEL},
            optional=(_ALWAYS.keys() | _WHILE_LOADED.keys()) - {"name", "version"},
        ),
        "The keys of the version that answers by default, and all versions. Without such a version only its name.",
    ),
    "Version": described(
        answered({**_ALWAYS, **_WHILE_LOADED}, optional=_WHILE_LOADED),
        "A version that is not loaded has only the keys up to `error`.",
    ),
    "Signature": answered(_SIGNATURE),
    "TensorSpec": answered({"name": TEXT, "dtype": one_of(DType), "shape": ref("Shape")}),
    "Shape": described(
        {"type": ["array", "null"], "items": {"type": ["integer", "null"]}},
        "A dimension of any size is null; so is a shape of unknown rank.",
    ),
    "Finding": answered({"kind": one_of(FindingKind), "subject": TEXT, "count": COUNT, "explanation": TEXT}),
    "Race": _RACE,
    "LatencyGoal": _LATENCY_GOAL,
}
