"""Keras models: archives and HDF5 files, of Keras 3 and of Keras 2."""

from __future__ import annotations

import contract_references as references
from contract_case import DATA, NOT_FREE, Case, Promise, inside

from tensorhost.runtimes import ModelFormat

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
