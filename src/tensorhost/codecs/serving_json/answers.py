"""Outputs to JSON as TensorFlow Serving writes them: in rows under ``predictions``, in columns under ``outputs``.

Floating-point numbers have the fewest digits that give the same value back, ``.0`` where they are whole, and
``NaN``, ``Infinity`` and ``-Infinity`` stand for what JSON has no number for. Strings of outputs whose name ends in
``_bytes`` are written as ``{"b64": …}``, others as text, unless they are no UTF-8: those would make the answer
unreadable, so they are written as ``{"b64": …}`` too.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from tensorhost.codecs.json_response import writable_numbers
from tensorhost.codecs.json_strings import B64_KEY
from tensorhost.codecs.serving_json.tensors import Layout
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array

_BYTES_SUFFIX = "_bytes"
_BEGINNINGS = {layout: b'{"%b": ' % layout.value.encode() for layout in Layout}
_NOT_A_NUMBER = b"null"
"""What the writer makes of NaN and infinities; it writes it for nothing else."""
_ROWS_AT_ONCE = 4096


def encode_predictions(outputs: Mapping[str, Array], layout: Layout) -> bytes:
    """The body of the answer to a Predict request.

    Args:
        outputs: arrays by name; one alone is written without its name.
        layout: that of the request. In rows, the first dimension of all outputs is the number of rows.

    Raises:
        InvalidRequestError: an output is of a type that cannot be written, has no first dimension where rows are
            wanted, or another number of rows than others.
    """
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        if layout is Layout.ROWS and not array.ndim:
            _check_rows(outputs)
        return _BEGINNINGS[layout] + _encode(name, array) + b"}"
    if not outputs:
        raise InvalidRequestError("Cannot convert empty tensor map to JSON")
    if layout is Layout.ROWS:
        _check_rows(outputs)
        return _BEGINNINGS[layout] + _named_rows(outputs) + b"}"
    members = [orjson.dumps(name) + b": " + _encode(name, array) for name, array in outputs.items()]
    return _BEGINNINGS[layout] + b"{" + b", ".join(members) + b"}}"


def encode_classifications(labels: Array | None, scores: Array | None) -> bytes:
    """The body of the answer to a Classify request: for each example a list of pairs of a label and its score.

    Args:
        labels: bytes of shape [examples, classes]; None for empty ones.
        scores: float32 of the same shape; None for zeros.
    """
    given = labels if labels is not None else scores
    if given is None or not len(given):
        raise InvalidRequestError("Cannot convert empty ClassificationResults to JSON")
    texts = (
        np.full(given.shape, "", object).tolist()
        if labels is None
        else _encode_strings(labels.tolist(), as_binary=False)
    )
    numbers = np.zeros(given.shape, np.float32) if scores is None else np.asarray(scores, np.float32)
    rows = [
        b"["
        + b", ".join(b"[%b, %b]" % (orjson.dumps(text), _number(score)) for text, score in zip(*row, strict=True))
        + b"]"
        for row in zip(texts, numbers, strict=True)
    ]
    return b'{"results": [' + b", ".join(rows) + b"]}"


def encode_regressions(values: Array) -> bytes:
    """The body of the answer to a Regress request; ``values`` are float32 of shape [examples]."""
    if not len(values):
        raise InvalidRequestError("Cannot convert empty RegressionResults to JSON")
    return b'{"results": ' + _encode_numbers(values, DType.of(values)) + b"}"


def _check_rows(outputs: Mapping[str, Array]) -> None:
    rows: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise InvalidRequestError(f"Tensor name: {name} has no shape information ")
        size = array.shape[0]
        if rows is not None and rows != size:
            raise InvalidRequestError(f"Tensor name: {name} has inconsistent batch size: {size} expecting: {rows}")
        rows = size


def _named_rows(outputs: Mapping[str, Array]) -> bytes:
    """Rows as objects; made a few at a time, since an object for each of millions takes gigabytes."""
    rows = len(next(iter(outputs.values())))
    if rows <= _ROWS_AT_ONCE:
        return _few_named_rows(outputs)
    starts = range(0, rows, _ROWS_AT_ONCE)
    lists = (
        _few_named_rows({name: array[start : start + _ROWS_AT_ONCE] for name, array in outputs.items()})
        for start in starts
    )
    return b"[" + b",".join([each[1:-1] for each in lists]) + b"]"


def _few_named_rows(outputs: Mapping[str, Array]) -> bytes:
    columns = [_column(name, array) for name, array in outputs.items()]
    names = list(outputs)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)


def _column(name: str, array: Array) -> list[Any]:
    """Each row as a value that the writer takes."""
    dtype = _checked(array)
    if dtype.is_string:
        rows: list[Any] = _encode_strings(array.tolist(), as_binary=name.endswith(_BYTES_SUFFIX))
        return rows
    if dtype.is_floating and not np.isfinite(array).all():
        return [orjson.Fragment(_encode_numbers(row, dtype)) for row in array]
    return list(np.asarray(writable_numbers(array, dtype)))


def _encode(name: str, array: Array) -> bytes:
    dtype = _checked(array)
    if dtype.is_string:
        return orjson.dumps(_encode_strings(array.tolist(), as_binary=name.endswith(_BYTES_SUFFIX)))
    return _encode_numbers(array, dtype)


def _checked(array: Array) -> DType:
    dtype = DType.of(array)
    if dtype.is_complex:
        raise InvalidRequestError(f"Failed to write JSON value for tensor type: {dtype.tensorflow_name}")
    return dtype


def _number(value: np.generic) -> bytes:
    return _encode_numbers(np.asarray(value), DType.FLOAT32)


def _encode_numbers(array: Array, dtype: DType) -> bytes:
    text = orjson.dumps(writable_numbers(array, dtype), option=orjson.OPT_SERIALIZE_NUMPY)
    if _NOT_A_NUMBER not in text:
        return text
    with np.errstate(invalid="ignore"):  # a signalling NaN is one like any other
        flat = np.asarray(array, np.float64).reshape(-1)
    names = [_name_of(value) for value in flat[~np.isfinite(flat)].tolist()]
    pieces = text.split(_NOT_A_NUMBER)
    return b"".join(piece for pair in zip(pieces, [*names, b""], strict=True) for piece in pair)


def _name_of(value: float) -> bytes:
    if value != value:
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"


def _encode_strings(value: Any, *, as_binary: bool) -> Any:
    if isinstance(value, list):
        return [_encode_strings(element, as_binary=as_binary) for element in value]
    if isinstance(value, str):
        if not as_binary:
            return value
        value = value.encode("utf-8")
    if not as_binary:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {B64_KEY: b2a_base64(value, newline=False).decode("ascii")}
