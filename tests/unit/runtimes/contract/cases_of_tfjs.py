"""TensorFlow.js models, with TensorFlow.js' own answers beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import contract_references as references
from contract_case import DATA, Case, Promise

from tensorhost.runtimes import ModelFormat


def tfjs(name: str, folder: str, inputs: Mapping[str, str], outputs: Mapping[str, str], **rest: Any) -> Case:
    """A model with TensorFlow.js' own answers beside it."""
    path = DATA / "tfjs" / folder / "model.json"
    promises = {"serving_default": Promise(inputs, outputs)}
    pool = {"serving_default": references.recorded_inputs(path)}
    rest = {"tolerance": 1e-4} | rest
    return Case(name, ModelFormat.TFJS, lambda _fixture: path, promises, references.recorded, pool=pool, **rest)


TFJS = (
    tfjs("tfjs-fused", "graph/fused_in_functions", {"x": "float32 [?, 3]"}, {"y": "float32 [?, 3]"}),
    tfjs("tfjs-strings", "graph/captured_table", {"words": "string [?]"}, {"scores": "float32 [?]"}),
    tfjs(
        "tfjs-layers-quantised",
        "layers/converter_uint8",
        {"dense_input": "float32 [?, 8]"},
        {"out": "float32 [?, 4]"},
    ),
    tfjs(
        "tfjs-layers-two-by-two",
        "layers/several_inputs_outputs",
        {"numbers": "float32 [?, 4]", "tokens": "int32 [?, 3]"},
        {"second": "float32 [?, 2]", "first": "float32 [?, 3]"},
    ),
)
