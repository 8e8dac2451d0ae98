"""Schemas of request bodies: the fields are those the routes read, so that none can be forgotten here."""

from __future__ import annotations

from collections.abc import Collection

from tensorhost.frontends.native.control import LABEL_FIELDS, LOAD_FIELDS, UNLOAD_FIELDS
from tensorhost.frontends.native.fields import LONGEST_TIMEOUT_MS
from tensorhost.frontends.native.openapi.options import POSTPROCESSING, PREPROCESSING
from tensorhost.frontends.native.openapi.schemas import (
    FLAG,
    NAME,
    NUMBER,
    TEXT,
    Schema,
    accepted,
    described,
    listing,
    mapping,
    nullable,
    ref,
)
from tensorhost.frontends.native.predictions import (
    BATCH,
    BATCH_FIELDS,
    INPUTS,
    ITEM_FIELDS,
    MAX_ITEMS,
    PREDICT_FIELDS,
)

_BYTES = described(
    accepted({"b64": {"type": "string", "contentEncoding": "base64"}}, required=("b64",)),
    "Bytes, such as an encoded image: base64 in the standard alphabet, padded.",
)

_TENSOR = described(
    {"anyOf": [NUMBER, FLAG, TEXT, ref("Bytes"), listing(ref("Tensor"))]},
    "Nested lists; the first dimension is the batch. Numbers and booleans become the dtype of the signature where "
    "nothing but floating-point precision is lost; texts are stored as UTF-8.",
)

_FIELDS: dict[str, Schema] = {
    "modelName": described({"type": "string", "minLength": 1}, "Name of a model."),
    "modelVersion": nullable(described(TEXT, "A version or a label. Default: the newest version that serves.")),
    "signatureName": nullable(described(TEXT, "Default: the model's default signature.")),
    "inputs": described(
        {"anyOf": [ref("Tensor"), mapping(ref("Tensor"))]},
        "One input bare or by name; several as an object by name.",
    ),
    "preprocessing": nullable(ref("Preprocessing")),
    "postprocessing": nullable(ref("Postprocessing")),
    "timeoutMs": nullable(
        described(
            {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_TIMEOUT_MS},
            "Milliseconds for waiting, lazy loading, preprocessing and the model.",
        )
    ),
    "maxBatchSize": nullable(
        described(
            {"type": "integer", "minimum": 1},
            "Most rows of a model call. Default and ceiling: the setting `max_batch_size`.",
        )
    ),
    "batch": described(listing(ref("BatchItem"), maxItems=MAX_ITEMS), "The items; each is answered at its place."),
    "version": nullable(described(NAME, "A version or a label.")),
    "label": described(NAME, "A label; no name of a version."),
    "path": nullable(
        described(
            TEXT,
            "A folder on the server's disk under the model path or an allowed root, for a model that the repository "
            "does not have; relative to the model path.",
        )
    ),
}


def _body(fields: Collection[str], required: Collection[str] = ()) -> Schema:
    return accepted({name: _FIELDS[name] for name in _FIELDS if name in fields}, required)


SCHEMAS: dict[str, Schema] = {
    "PredictRequest": _body(PREDICT_FIELDS | INPUTS, required={"modelName", *INPUTS}),
    "BatchPredictRequest": _body(BATCH_FIELDS | BATCH, required={"modelName", *BATCH}),
    "BatchItem": _body(ITEM_FIELDS | INPUTS, required=INPUTS),
    "LoadRequest": _body(LOAD_FIELDS),
    "UnloadRequest": _body(UNLOAD_FIELDS),
    "LabelRequest": described(
        _body(LABEL_FIELDS, required={"label"}),
        "With a `version` of null the label is again what `model.toml` says, or gone.",
    ),
    "Preprocessing": PREPROCESSING,
    "Postprocessing": POSTPROCESSING,
    "Tensor": _TENSOR,
    "Bytes": _BYTES,
}
