"""Every model under contract: at least one of each format and of each way a format is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import contract_references as references
import numpy as np
from contract_case import PROVED, Ask, Case, Promise
from contract_models import WEIGHTS, WORDS

from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes import ModelFormat
from tensorhost.runtimes.tensorflow import saved_model as saved_model_module

Fixture = Callable[[str], Any]
NOT_FREE = "Not every input and output has a free first dimension."
MIXES = "depend on what else is in the batch"


def inside(fixture_name: str, name: str) -> Callable[[Fixture], Path]:
    """The file or folder ``name`` in the folder that a fixture gives."""
    return lambda fixture: fixture(fixture_name) / name


def _unfrozen():
    return mock.patch.object(saved_model_module, "MAX_FROZEN_BYTES", 0)


def _as_functions():
    return mock.patch.object(saved_model_module, "_load", side_effect=RuntimeError("no session"))


HALF_PLUS_TWO = {
    "serving_default": Promise({"x": "float32 [?]"}, {"y": "float32 [?]"}),
    "plus_three": Promise({"x": "float32 [?]"}, {"y": "float32 [?]"}),
}
STRINGS = {
    "serving_default": Promise({"text": "string [?]"}, {"first": "string []", "id": "int64 [?]", "upper": "string [?]"})
}


def _saved_model(name: str, fixture: str, folder: str, promises: Mapping[str, Promise], **rest: Any) -> Case:
    rest = {"reference": references.saved_model} | rest
    return Case(name, ModelFormat.SAVED_MODEL, inside(fixture, folder), promises, **rest)


SAVED_MODELS = (
    _saved_model("tf2", "models", "half_plus_two", HALF_PLUS_TWO),
    _saved_model("tf2-unfrozen", "models", "half_plus_two", HALF_PLUS_TWO, loading=_unfrozen),
    _saved_model("tf2-functions", "models", "half_plus_two", HALF_PLUS_TWO, loading=_as_functions),
    _saved_model("tf2-strings", "models", "strings", STRINGS, batched=NOT_FREE),
    _saved_model("tf2-strings-functions", "models", "strings", STRINGS, batched=NOT_FREE, loading=_as_functions),
    _saved_model(
        "tf2-assets",
        "models",
        "assets",
        {"serving_default": Promise({"word": "string [?]"}, {"index": "int64 [?]"})},
    ),
    _saved_model(
        "tf2-edges",
        "models",
        "edges",
        {
            "serving_default": Promise(
                {"x": "float32 [?, 4]"},
                {
                    "constant": "float32 [1000]",
                    "first": "float32 [?, 4]",
                    "relu": "float32 [?, 4]",
                    "same": "float32 [?, 4]",
                    "scalar": "float32 []",
                    "variable": "float32 [4]",
                },
            )
        },
        batched=NOT_FREE,
    ),
    _saved_model(
        "tf2-loop",
        "models",
        "loop",
        {"serving_default": Promise({"times": "int32 []", "x": "float32 [?]"}, {"y": "float32 [?]"})},
        batched=NOT_FREE,
    ),
    _saved_model(
        "tf2-pointwise",
        "models",
        "pointwise",
        {"serving_default": Promise({"x": "float32 [?, 8, 8, 24]"}, {"y": "float32 [?, 8, 8, 28]"})},
    ),
    _saved_model(
        "tf2-casts",
        "models",
        "casts",
        {
            f"as_{dtype}": Promise({"x": f"{dtype} [?]"}, {"same": f"{dtype} [?]", "twice": f"{dtype} [?]"})
            for dtype in ("bfloat16", "bool", "complex64", "float16", "float64", "int8", "int64", "uint8")
        },
        batched="does not have one row for each row of input",
    ),
    _saved_model(
        "tf1-control-flow",
        "tf1_models",
        "control_flow",
        {"serving_default": Promise({"x": "float32 [?]"}, {"y": "float32 [?]"})},
        batched=None,  # the sign of the sum over all rows decides, and made-up numbers are all positive
    ),
    _saved_model(
        "tf1-tagged",
        "tf1_models",
        "two_tags",
        {"serving_default": Promise({"x": "float32 [?]"}, {"y": "float32 [?]"})},
    ),
)

KERAS = (
    Case(
        "keras-two-by-two",
        ModelFormat.KERAS,
        inside("keras_models", "two_by_two.keras"),
        {
            "serving_default": Promise(
                {"left": "float32 [?, 4]", "right": "float32 [?, 4]"},
                {"total": "float32 [?, 2]", "one_side": "float32 [?, 3]"},
            )
        },
        references.keras(["left", "right"], ["total", "one_side"]),
    ),
    Case(
        "keras-text",
        ModelFormat.KERAS,
        inside("keras_models", "text.keras"),
        {"serving_default": Promise({"text": "string [?]"}, {"vectors": "float32 [?, 4, 3]"})},
        references.keras(["text"], ["vectors"]),
    ),
    Case(
        "keras-fixed",
        ModelFormat.KERAS,
        inside("keras_models", "fixed.keras"),
        {"serving_default": Promise({"fixed": "float32 [2, 4]"}, {"y": "float32 [2, 1]"})},
        references.keras(["fixed"], ["y"]),
        rows=(2,),
        batched=NOT_FREE,
    ),
)


def _answering(function: Callable[[Tensors], Mapping[str, Array]]) -> Callable[[Fixture, Path], Ask]:
    """A reference that is a few lines of numpy."""
    return lambda _fixture, _path: lambda _signature, inputs: function(inputs)


def words_in(numbers: Mapping[bytes, int]) -> Callable[[Tensors], Mapping[str, Array]]:
    """What the graph ``words`` computes with those numbers in its table."""

    def answer(inputs: Tensors) -> Mapping[str, Array]:
        text = inputs["text"]
        found = np.array([numbers.get(word, -1) for word in text], np.int64)
        return {"number": found, "upper": np.array([word.upper() for word in text], object)}

    return answer


GRAPHS = (
    Case(
        "graph-named",
        ModelFormat.GRAPH_DEF,
        inside("contract_graphs", "linear.pb"),
        {"serving_default": Promise({"features": "float32 [?, 3]"}, {"y": "float32 [?, 2]"})},
        _answering(lambda inputs: {"y": np.maximum(inputs["features"] @ WEIGHTS, 0)}),
        options={"graph_inputs": {"features": "x"}, "graph_outputs": {"y": "positive:0"}},
    ),
    Case(
        "graph-words",
        ModelFormat.GRAPH_DEF,
        inside("contract_graphs", "words.pb"),
        {"serving_default": Promise({"text": "string [?]"}, {"number": "int64 [?]", "upper": "string [?]"})},
        _answering(words_in(WORDS)),
    ),
)

DATA = Path(__file__).parents[3] / "data"


def _tfjs(name: str, folder: str, inputs: Mapping[str, str], outputs: Mapping[str, str], **rest: Any) -> Case:
    """A model with TensorFlow.js' own answers beside it."""
    path = DATA / "tfjs" / folder / "model.json"
    promises = {"serving_default": Promise(inputs, outputs)}
    pool = {"serving_default": references.recorded_inputs(path)}
    rest = {"tolerance": 1e-4} | rest
    return Case(name, ModelFormat.TFJS, lambda _fixture: path, promises, references.recorded, pool=pool, **rest)


TFJS = (
    _tfjs("tfjs-fused", "graph/fused_in_functions", {"x": "float32 [?, 3]"}, {"y": "float32 [?, 3]"}),
    _tfjs("tfjs-strings", "graph/captured_table", {"words": "string [?]"}, {"scores": "float32 [?]"}),
    _tfjs(
        "tfjs-layers-quantised",
        "layers/converter_uint8",
        {"dense_input": "float32 [?, 8]"},
        {"out": "float32 [?, 4]"},
    ),
    _tfjs(
        "tfjs-layers-two-by-two",
        "layers/several_inputs_outputs",
        {"numbers": "float32 [?, 4]", "tokens": "int32 [?, 3]"},
        {"second": "float32 [?, 2]", "first": "float32 [?, 3]"},
    ),
)


def _tflite(name: str, file: str, promises: Mapping[str, Promise], **rest: Any) -> Case:
    rest = {"reference": references.litert} | rest
    return Case(name, ModelFormat.TFLITE, inside("contract_tflite", file), promises, **rest)


def _several(signature: str, inputs: Tensors) -> Mapping[str, Array]:
    """Both signatures in numpy: LiteRT's Python gives no output that came out empty."""
    x = inputs["x"]
    if signature == "serving_default":
        return {"sum": x + 1}
    return {"doubled": x * 2, "found": np.argwhere(x > inputs["least"])}


TFLITE = (
    _tflite(
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
    _tflite(
        "tflite-convolution",
        "convolution.tflite",
        {"serving_default": Promise({"x": "float32 [?, 16, 16, 3]"}, {"Identity": "float32 [?, 5]"})},
    ),
    _tflite(
        "tflite-int8",
        "int8.tflite",
        {"serving_default": Promise({"x": "uint8 [?, 16, 16, 3]"}, {"Identity": "int8 [?, 5]"})},
    ),
    _tflite(
        "tflite-strings",
        "strings.tflite",
        {"serving_default": Promise({"x": "string [?]"}, {"x": "string [?]", "Identity_2": "string [1]"})},
        rows=(2, 3, 7, 32),
        batched=None,  # the row that it always picks is not there when there is one only
    ),
    _tflite(
        "tflite-one-row",
        "one_row_of_two.tflite",
        {
            "serving_default": Promise(
                {"x": "float32 [?, 4]", "y": "float32 [?, 2]"},
                {"Identity": "float32 [?, 3]", "Identity_1": "float32 [?, 6]"},
            )
        },
    ),
    _tflite(
        "tflite-state",
        "counter.tflite",
        {"serving_default": Promise({"x": "float32 [3]"}, {"total": "float32 [3]"})},
        rows=(3,),
        batched=NOT_FREE,
    ),
)


def _keras_2(name: str, suffix: str) -> Case:
    """A model that Keras 2 saved, with Keras 2's own answers."""
    recorded = references.keras_2(DATA / "keras" / "references.zip", "nested_first")
    return Case(
        name,
        ModelFormat.KERAS if suffix == "keras" else ModelFormat.KERAS_H5,
        inside("keras_2_models", f"nested_first.{suffix}"),
        {"serving_default": Promise({"sequential_input": "float32 [?, 4]"}, {"output_0": "float32 [?, 2]"})},
        lambda _fixture, _path: references.by_rows(recorded.inputs, recorded.outputs),
        pool={"serving_default": recorded.inputs},
    )


OLD_KERAS = (
    _keras_2("keras-2", "keras"),
    _keras_2("keras-2-h5", "h5"),
    Case(
        "keras-3-h5",
        ModelFormat.KERAS_H5,
        inside("contract_keras", "dense.h5"),
        {"serving_default": Promise({"x": "float32 [?, 3]"}, {"y": "float32 [?, 2]"})},
        references.keras(["x"], ["y"]),
    ),
)

MIXING = (
    _saved_model(
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
        _answering(lambda inputs: {"centred": inputs["x"] - inputs["x"].mean(axis=0, keepdims=True)}),
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
    _tflite(
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
        _saved_model(
            "tf2-picking", "models", "shapes", {"pick": Promise({"index": "int32 [?]"}, {"y": "float32 [?]"})}
        ),
        {"index": np.array([7], np.int32)},
        {"index": np.array([2], np.int32)},
    ),
    (
        _tfjs("tfjs-picking", "layers/embedding_sequential", {}, {}),
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
