"""SavedModels of both generations, loaded in every way there is, and bare graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import contract_references as references
import numpy as np
from contract_case import NOT_FREE, Ask, Case, Promise, inside
from contract_models import WEIGHTS, WORDS

from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes import ModelFormat
from tensorhost.runtimes.tensorflow import saved_model as saved_model_module

Fixture = Callable[[str], Any]


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


def saved_model(name: str, fixture: str, folder: str, promises: Mapping[str, Promise], **rest: Any) -> Case:
    rest = {"reference": references.saved_model} | rest
    return Case(name, ModelFormat.SAVED_MODEL, inside(fixture, folder), promises, **rest)


SAVED_MODELS = (
    saved_model("tf2", "models", "half_plus_two", HALF_PLUS_TWO),
    saved_model("tf2-unfrozen", "models", "half_plus_two", HALF_PLUS_TWO, loading=_unfrozen),
    saved_model("tf2-functions", "models", "half_plus_two", HALF_PLUS_TWO, loading=_as_functions),
    saved_model("tf2-strings", "models", "strings", STRINGS, batched=NOT_FREE),
    saved_model("tf2-strings-functions", "models", "strings", STRINGS, batched=NOT_FREE, loading=_as_functions),
    saved_model(
        "tf2-assets",
        "models",
        "assets",
        {"serving_default": Promise({"word": "string [?]"}, {"index": "int64 [?]"})},
    ),
    saved_model(
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
    saved_model(
        "tf2-loop",
        "models",
        "loop",
        {"serving_default": Promise({"times": "int32 []", "x": "float32 [?]"}, {"y": "float32 [?]"})},
        batched=NOT_FREE,
    ),
    saved_model(
        "tf2-pointwise",
        "models",
        "pointwise",
        {"serving_default": Promise({"x": "float32 [?, 8, 8, 24]"}, {"y": "float32 [?, 8, 8, 28]"})},
    ),
    saved_model(
        "tf2-casts",
        "models",
        "casts",
        {
            f"as_{dtype}": Promise({"x": f"{dtype} [?]"}, {"same": f"{dtype} [?]", "twice": f"{dtype} [?]"})
            for dtype in ("bfloat16", "bool", "complex64", "float16", "float64", "int8", "int64", "uint8")
        },
        batched="does not have one row for each row of input",
    ),
    saved_model(
        "tf1-control-flow",
        "tf1_models",
        "control_flow",
        {"serving_default": Promise({"x": "float32 [?]"}, {"y": "float32 [?]"})},
        batched=None,  # the sign of the sum over all rows decides, and made-up numbers are all positive
    ),
    saved_model(
        "tf1-tagged",
        "tf1_models",
        "two_tags",
        {"serving_default": Promise({"x": "float32 [?]"}, {"y": "float32 [?]"})},
    ),
)


def answering(function: Callable[[Tensors], Mapping[str, Array]]) -> Callable[[Fixture, Path], Ask]:
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
        answering(lambda inputs: {"y": np.maximum(inputs["features"] @ WEIGHTS, 0)}),
        options={"graph_inputs": {"features": "x"}, "graph_outputs": {"y": "positive:0"}},
    ),
    Case(
        "graph-words",
        ModelFormat.GRAPH_DEF,
        inside("contract_graphs", "words.pb"),
        {"serving_default": Promise({"text": "string [?]"}, {"number": "int64 [?]", "upper": "string [?]"})},
        answering(words_in(WORDS)),
    ),
)
