"""Answers as TensorFlow Serving's clients read them."""

import json
import math
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tensorhost.codecs.serving_json import (
    Layout,
    encode_classifications,
    encode_predictions,
    encode_regressions,
)
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array


def _strings(*values: bytes) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([2.5, 3, 4.5], np.float32), "[2.5,3.0,4.5]"),
        (np.array([0.1, 1 / 3], np.float32), "[0.1,0.33333334]"),
        (np.array([0.1, 1 / 3], np.float64), "[0.1,0.3333333333333333]"),
        (np.array([math.nan, math.inf, -math.inf, 1], np.float32), "[NaN,Infinity,-Infinity,1.0]"),
        (np.array([[1.5], [math.nan]], np.float16), "[[1.5],[NaN]]"),
        (np.array([1.5], ml_dtypes.bfloat16), "[1.5]"),
        (np.array([2**63 - 1]), "[9223372036854775807]"),
        (np.array([255], np.uint8), "[255]"),
        (np.array([65535], np.uint16), "[65535]"),
        (np.array([True, False]), "[true,false]"),
        (np.empty((0, 3), np.float32), "[]"),
        (_strings(b"a", "\u00e9".encode(), b'"'), '["a","\u00e9","\\""]'),
        (_strings(b"\xff"), '[{"b64":"/w=="}]'),
    ],
)
def test_one_output(array: Array, text: str) -> None:
    assert encode_predictions({"y": array}, Layout.ROWS).decode() == f'{{"predictions": {text}}}'
    assert encode_predictions({"y": array}, Layout.COLUMNS).decode() == f'{{"outputs": {text}}}'


def test_rows_of_several_outputs_are_objects() -> None:
    outputs = {
        "scores": np.array([[0.1, 0.9], [math.nan, 1]], np.float32),
        "label": _strings(b"a", b"b"),
        "image_bytes": _strings(b"a", b"\xff"),
        "count": np.array([1, 2]),
    }
    assert encode_predictions(outputs, Layout.ROWS).decode() == (
        '{"predictions": [{"scores":[0.1,0.9],"label":"a","image_bytes":{"b64":"YQ=="},"count":1},'
        '{"scores":[NaN,1.0],"label":"b","image_bytes":{"b64":"/w=="},"count":2}]}'
    )


def test_columns_of_several_outputs_are_one_object() -> None:
    outputs = {"a": np.array(2.0, np.float32), "b_bytes": np.array([[b"x"]], object), "c": np.array([math.inf])}
    assert encode_predictions(outputs, Layout.COLUMNS).decode() == (
        '{"outputs": {"a": 2.0, "b_bytes": [[{"b64":"eA=="}]], "c": [Infinity]}}'
    )


@pytest.mark.parametrize(
    ("outputs", "layout", "message"),
    [
        ({"y": np.array(1.0)}, Layout.ROWS, "Tensor name: y has no shape information "),
        (
            {"x": np.zeros(3), "y": np.zeros(2)},
            Layout.ROWS,
            "Tensor name: y has inconsistent batch size: 2 expecting: 3",
        ),
        (
            {"y": np.array([1j], np.complex64)},
            Layout.COLUMNS,
            "Failed to write JSON value for tensor type: complex64",
        ),
        ({}, Layout.COLUMNS, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_what_cannot_be_written(outputs: dict[str, Any], layout: Layout, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        encode_predictions(outputs, layout)
    assert caught.value.message == message


def test_arrays_need_not_be_contiguous() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert json.loads(encode_predictions({"y": array}, Layout.ROWS)) == {"predictions": array.tolist()}
    assert json.loads(encode_predictions({"y": array, "z": array}, Layout.ROWS))["predictions"][1] == {
        "y": [1.0, 4.0],
        "z": [1.0, 4.0],
    }


def test_classes_and_their_scores() -> None:
    labels, scores = np.array([[b"a", b"b"]], object), np.array([[0.25, math.nan]], np.float32)
    assert encode_classifications(labels, scores) == b'{"results": [[["a", 0.25], ["b", NaN]]]}'
    assert encode_classifications(None, scores) == b'{"results": [[["", 0.25], ["", NaN]]]}'
    assert encode_classifications(labels, None) == b'{"results": [[["a", 0.0], ["b", 0.0]]]}'
    with pytest.raises(InvalidRequestError, match="empty ClassificationResults"):
        encode_classifications(None, None)


def test_regressed_values() -> None:
    assert encode_regressions(np.array([1, 2.5, math.inf], np.float32)) == b'{"results": [1.0,2.5,Infinity]}'
    with pytest.raises(InvalidRequestError, match="empty RegressionResults"):
        encode_regressions(np.zeros(0, np.float32))


def test_a_signalling_nan_is_one_like_any_other():
    assert encode_predictions({"y": np.array([0x7F800001], np.uint32).view(np.float32)}, Layout.COLUMNS) == (
        b'{"outputs": [NaN]}'
    )


@pytest.mark.parametrize("rows", [4096, 4097, 10_000])
def test_many_rows_are_as_few_ones(rows):
    outputs = {"n": np.arange(rows), "x": np.where(np.arange(rows) % 3, 0.5, np.nan)}
    [predictions] = json.loads(encode_predictions(outputs, Layout.ROWS)).values()
    assert [row["n"] for row in predictions] == list(range(rows))
    assert [math.isnan(row["x"]) for row in predictions] == [n % 3 == 0 for n in range(rows)]


def test_many_rows_take_little_more_memory_than_what_is_written():
    words = np.full(50_000, b"word", object)
    outputs = {"a": words, "a_bytes": words}
    tracemalloc.start()
    written = len(encode_predictions(outputs, Layout.ROWS))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * written
