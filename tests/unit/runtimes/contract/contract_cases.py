"""Every model under contract: at least one of each format and of each way a format is executed."""

from __future__ import annotations

import contract_references as references
import numpy as np
from cases_of_keras import KERAS, OLD_KERAS
from cases_of_tensorflow import GRAPHS, SAVED_MODELS, answering, saved_model
from cases_of_tfjs import TFJS, tfjs
from cases_of_tflite import TFLITE, tflite
from contract_case import MIXES, Case, Promise, inside

from tensorhost.runtimes import ModelFormat

MIXING = (
    saved_model(
        "tf2-mixing",
        "mixing_saved_model",
        ".",
        {"serving_default": Promise({"x": "float32 [?, 3]"}, {"centred": "float32 [?, 3]"})},
        batched=MIXES,
    ),
    Case(
        "keras-mixing",
        ModelFormat.KERAS,
        inside("contract_keras", "mixing.keras"),
        {"serving_default": Promise({"x": "float32 [?, 3]"}, {"share": "float32 [?, 3]"})},
        references.keras(["x"], ["share"]),
        batched=MIXES,
        weights_bytes=(0, 64),
    ),
    Case(
        "graph-mixing",
        ModelFormat.GRAPH_DEF,
        inside("contract_graphs", "mixing.pb"),
        {"serving_default": Promise({"x": "float32 [?, 3]"}, {"centred": "float32 [?, 3]"})},
        answering(lambda inputs: {"centred": inputs["x"] - inputs["x"].mean(axis=0, keepdims=True)}),
        batched=MIXES,
    ),
    Case(
        "keras-h5-mixing",
        ModelFormat.KERAS_H5,
        inside("contract_keras", "mixing.h5"),
        {"serving_default": Promise({"x": "float32 [?, 3]"}, {"share": "float32 [?, 3]"})},
        references.keras(["x"], ["share"]),
        batched=MIXES,
        weights_bytes=(0, 64),
    ),
    tflite(
        "tflite-mixing",
        "centred.tflite",
        {"serving_default": Promise({"x": "float32 [?, 4]"}, {"y": "float32 [?, 4]"})},
        batched=MIXES,
    ),
    Case(
        "tfjs-mixing",
        ModelFormat.TFJS,
        inside("tfjs_mixing", "graph/model.json"),
        {"serving_default": Promise({"x": "float32 [?, 3]"}, {"y": "float32 [?, 3]"})},
        references.recorded,
        batched=MIXES,
    ),
    Case(
        "tfjs-layers-mixing",
        ModelFormat.TFJS,
        inside("tfjs_mixing", "layers/model.json"),
        {"serving_default": Promise({"dense_Dense5_input": "float32 [?, 3]"}, {"softmax_Softmax1": "float32 [?, 4]"})},
        references.recorded,
        batched=MIXES,
    ),
)
"""Models whose rows depend on each other: only for the proof."""

CASES = (*SAVED_MODELS, *KERAS, *OLD_KERAS, *GRAPHS, *TFJS, *TFLITE)


def _named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


REFUSALS = (
    (
        saved_model("tf2-picking", "models", "shapes", {"pick": Promise({"index": "int32 [?]"}, {"y": "float32 [?]"})}),
        {"index": np.array([7], np.int32)},
        {"index": np.array([2], np.int32)},
    ),
    (
        tfjs("tfjs-picking", "layers/embedding_sequential", {}, {}),
        {"embedding_Embedding1_input": np.full((2, 6), 1e6, np.float32)},
        {"embedding_Embedding1_input": np.ones((2, 6), np.float32)},
    ),
    (
        _named("tflite-strings"),
        {"x": np.array([b"alone"], object)},
        {"x": np.array([b"one", b"two"], object)},
    ),
)
"""A case, values that its model refuses while it runs, and values that it takes."""
