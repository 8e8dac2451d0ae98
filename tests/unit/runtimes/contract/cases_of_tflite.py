"""TensorFlow Lite models, asked of LiteRT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import contract_references as references
import numpy as np
from contract_case import NOT_FREE, PROVED, Case, Promise, inside

from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes import ModelFormat


def tflite(name: str, file: str, promises: Mapping[str, Promise], **rest: Any) -> Case:
    rest = {"reference": references.litert} | rest
    return Case(name, ModelFormat.TFLITE, inside("contract_tflite", file), promises, **rest)


def _several(signature: str, inputs: Tensors) -> Mapping[str, Array]:
    """Both signatures in numpy: LiteRT's Python gives no output that came out empty."""
    x = inputs["x"]
    if signature == "serving_default":
        return {"sum": x + 1}
    return {"doubled": x * 2, "found": np.argwhere(x > inputs["least"])}


TFLITE = (
    tflite(
        "tflite-several",
        "several.tflite",
        {
            "serving_default": Promise({"x": "float32 [?, 3]"}, {"sum": "float32 [?, 3]"}),
            "positions": Promise(
                {"least": "float32 [1]", "x": "float32 [?, 3]"}, {"doubled": "float32 [?, 3]", "found": "int64 [?, 2]"}
            ),
        },
        reference=lambda _fixture, _path: _several,
        batched={"serving_default": PROVED, "positions": NOT_FREE},
    ),
    tflite(
        "tflite-convolution",
        "convolution.tflite",
        {"serving_default": Promise({"x": "float32 [?, 16, 16, 3]"}, {"Identity": "float32 [?, 5]"})},
    ),
    tflite(
        "tflite-int8",
        "int8.tflite",
        {"serving_default": Promise({"x": "uint8 [?, 16, 16, 3]"}, {"Identity": "int8 [?, 5]"})},
    ),
    tflite(
        "tflite-strings",
        "strings.tflite",
        {"serving_default": Promise({"x": "string [?]"}, {"x": "string [?]", "Identity_2": "string [1]"})},
        rows=(2, 3, 7, 32),
        batched=None,  # the row that it always picks is not there when there is one only
    ),
    tflite(
        "tflite-one-row",
        "one_row_of_two.tflite",
        {
            "serving_default": Promise(
                {"x": "float32 [?, 4]", "y": "float32 [?, 2]"},
                {"Identity": "float32 [?, 3]", "Identity_1": "float32 [?, 6]"},
            )
        },
    ),
    tflite(
        "tflite-state",
        "counter.tflite",
        {"serving_default": Promise({"x": "float32 [3]"}, {"total": "float32 [3]"})},
        rows=(3,),
        batched=NOT_FREE,
    ),
)
