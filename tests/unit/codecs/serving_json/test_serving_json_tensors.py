"""Requests as TensorFlow Serving's clients write them, each with its exact answer."""

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorhost.codecs.serving_json import Layout, decode_predict, parse_document, signature_name
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError, TensorhostError, UnsupportedTypeError
from tensorhost.core.tensors import Array, TensorSpec

_LIMIT = 10**6


def _decode(body: str | bytes, **dtypes: str) -> tuple[Layout, dict[str, Array]]:
    document = parse_document(body if isinstance(body, bytes) else body.encode(), max_depth=64)
    specs = {name: TensorSpec(name, DType(dtype), (7, 7, 7)) for name, dtype in dtypes.items()}
    return decode_predict(document, specs, max_elements=_LIMIT)


def _fault(body: str | bytes, **dtypes: str) -> str:
    with pytest.raises(TensorhostError) as caught:
        _decode(body, **dtypes)
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "shape", "values"),
    [
        ('{"instances": [1, 2.5, 3]}', (3,), [1.0, 2.5, 3.0]),
        ('{"instances": [[1, 2], [3, 4]]}', (2, 2), [[1.0, 2.0], [3.0, 4.0]]),
        ('{"instances": [{"x": 1}, {"x": 2}]}', (2,), [1.0, 2.0]),
        ('{"instances": [{"x": [[1], [2]]}]}', (1, 2, 1), [[[1.0], [2.0]]]),
        ('{"instances": [[[]], [[]]]}', (2, 1, 0), [[[]], [[]]]),
        ('{"inputs": 3}', (), 3.0),
        ('{"inputs": [1, 2]}', (2,), [1.0, 2.0]),
        ('{"inputs": {"x": [[1, 2]]}}', (1, 2), [[1.0, 2.0]]),
        ('{"inputs": []}', (0,), []),
        ('{"inputs": {"x": [1], "more": [[1], {"deep": [2]}]}}', (1,), [1.0]),
        ('{"unknown": [1, [2]], "instances": [[1, 2], [3, 4]], "signature_name": "s"}', (2, 2), [[1, 2], [3, 4]]),
        ('{"instances": [1e300, -1e300]}', (2,), [math.inf, -math.inf]),
        ('{"instances": [Infinity, -Infinity, 1]}', (3,), [math.inf, -math.inf, 1.0]),
        ('\ufeff{"instances": [1]}', (1,), [1.0]),
        ('{"instances": [100000000000000000000]}', (1,), [float(np.float32(1e20))]),
    ],
)
def test_a_float_input_in_rows_and_columns(body: str, shape: tuple[int, ...], values: Any) -> None:
    layout, arrays = _decode(body, x="float32")
    assert layout is (Layout.ROWS if '"instances"' in body else Layout.COLUMNS)
    assert arrays["x"].dtype == np.float32
    assert arrays["x"].shape == shape
    assert arrays["x"].tolist() == values


def test_nan_is_taken_wherever_a_number_is() -> None:
    _, arrays = _decode(
        '{"instances": [{"a": NaN, "b": ["NaN", "x"], "c": [NaN, 1]}]}', a="float64", b="string", c="float16"
    )
    assert math.isnan(arrays["a"][0])
    assert arrays["b"].tolist() == [[b"NaN", b"x"]]
    assert math.isnan(arrays["c"][0, 0])
    assert arrays["c"][0, 1] == 1


@pytest.mark.parametrize("text", ["NaN", "-NaN", "Infinity", "-Infinity", "Inf", "-Inf"])
@pytest.mark.parametrize("beside", ["plain", "a NaN and Infinity", '\\"NaN'])
def test_tokens_in_strings_are_text(text: str, beside: str) -> None:
    body = f'{{"inputs": {{"s": "{beside}", "x": [{text}, 1, {text}]}}, "unknown": {text}}}'
    _, arrays = _decode(body, x="float64", s="string")
    assert arrays["s"].item() == json.loads(f'"{beside}"').encode()
    value = math.nan if "NaN" in text else -math.inf if text.startswith("-") else math.inf
    np.testing.assert_array_equal(arrays["x"], [value, 1, value])


@pytest.mark.parametrize("text", ["1NaN", "NaN1", "--Infinity", "NaNNaN", "Infinit", "nan", "-", "N", "I", "1Infinity"])
def test_what_only_looks_like_a_token_is_no_number(text: str) -> None:
    assert "JSON Parse error" in _fault(f'{{"inputs": [{text}, NaN]}}', x="float64")


def test_several_inputs_in_rows_whatever_the_order_of_names() -> None:
    body = '{"instances": [{"a": 1, "b": [1.5, 2], "c": "x"}, {"c": {"b64": "AP8="}, "b": [3, 4], "a": -2}]}'
    _, arrays = _decode(body, a="int64", b="float32", c="string")
    assert list(arrays) == ["a", "b", "c"]
    assert arrays["a"].tolist() == [1, -2]
    assert arrays["b"].tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert arrays["c"].tolist() == [b"x", b"\x00\xff"]


def test_several_inputs_in_columns_may_have_different_first_dimensions() -> None:
    body = '{"inputs": {"a": 7, "b": [[1.5, 2], [3, 4]], "c": ["x", "\u00e9"], "d": [true]}}'
    _, arrays = _decode(body, b="float32", a="int32", c="string", d="bool")
    assert list(arrays) == ["b", "a", "c", "d"]
    assert arrays["a"].shape == ()
    assert arrays["b"].shape == (2, 2)
    assert arrays["c"].tolist() == [b"x", "\u00e9".encode()]
    assert arrays["d"].tolist() == [True]


@pytest.mark.parametrize(
    ("dtype", "given_values", "values"),
    [
        ("int32", "-2147483648, 2147483647", [-(2**31), 2**31 - 1]),
        ("int64", "-9223372036854775808, 9223372036854775807", [-(2**63), 2**63 - 1]),
        ("uint64", "18446744073709551615", [2**64 - 1]),
        ("uint32", "4294967295", [2**32 - 1]),
        ("uint8", "300, -1", [44, 255]),
        ("int8", "128", [-128]),
        ("int16", "65536", [0]),
        ("uint16", "65535", [65535]),
        ("float16", "1, 70000", [1.0, math.inf]),
        ("bfloat16", "1.5", [1.5]),
        ("bool", "true, false", [True, False]),
    ],
)
def test_which_values_each_type_takes(dtype: str, given_values: str, values: list[Any]) -> None:
    for body in (f'{{"instances": [{given_values}]}}', f'{{"inputs": {{"x": [{given_values}]}}}}'):
        _, arrays = _decode(body, x=dtype)
        assert arrays["x"].dtype == DType(dtype).numpy
        assert arrays["x"].tolist() == values
    rows = ", ".join(f'{{"x": {value}}}' for value in given_values.split(", "))
    assert _decode(f'{{"instances": [{rows}]}}', x=dtype)[1]["x"].tolist() == values


@pytest.mark.parametrize(
    ("dtype", "value", "kind", "name"),
    [
        ("float32", '"x"', "String", "float"),
        ("float64", "true", "True", "double"),
        ("float32", "null", "Null", "float"),
        ("float32", '{"b64":"aGk="}', "Object", "float"),
        ("int32", "1.0", "Number", "int32"),
        ("int32", "2147483648", "Number", "int32"),
        ("int32", "NaN", "Number", "int32"),
        ("int64", "9223372036854775808", "Number", "int64"),
        ("uint64", "-1", "Number", "uint64"),
        ("uint32", "-1", "Number", "uint32"),
        ("uint16", "65536", "Number", "uint16"),
        ("bool", "1", "Number", "bool"),
        ("string", "1", "Number", "string"),
        ("string", "false", "False", "string"),
        ("float16", '"x"', "String", "half"),
    ],
)
def test_which_values_each_type_refuses(dtype: str, value: str, kind: str, name: str) -> None:
    expected = f"JSON Value: {value} Type: {kind} is not of expected type: {name}"
    assert _fault(f'{{"inputs": {value}}}', x=dtype) == expected
    assert _fault(f'{{"inputs": {{"x": [{value}]}}}}', x=dtype) == expected
    first = "Failed to process element: 0"
    assert _fault(f'{{"instances": [{value}]}}', x=dtype) == (
        f"{first} of 'instances' list. Error: INVALID_ARGUMENT: {expected}"
    )
    assert _fault(f'{{"instances": [{{"x": {value}}}]}}', x=dtype) == (
        f"{first} key: x of 'instances' list. Error: INVALID_ARGUMENT: {expected}"
    )


def test_what_json_cannot_carry_is_unimplemented() -> None:
    with pytest.raises(UnsupportedTypeError, match="Conversion of JSON Value: 1 to type: complex64"):
        _decode('{"inputs": [1]}', x="complex64")


@pytest.mark.parametrize(
    ("body", "dtypes", "message"),
    [
        ('{"x": 1}', {"x": "float32"}, "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": [1]}',
            {"x": "float32"},
            (
                'JSON Value: {"inputs":1,"instances":[1]} Not formatted correctly expecting only one of \'inputs\' or '
                "'instances' keys to exist "
            ),
        ),
        (
            '{"instances": 1}',
            {"x": "float32"},
            "JSON Value: {\"instances\":1} Expecting 'instances' to be an list/array",
        ),
        ('{"instances": []}', {"x": "float32"}, "JSON Value: {\"instances\":[]} No values in 'instances' array"),
        (
            '{"instances": [1, 2]}',
            {"a": "float32", "b": "float32"},
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        (
            '{"inputs": [1, 2]}',
            {"a": "float32", "b": "float32"},
            (
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        (
            '{"inputs": {"b64": "aGk="}}',
            {"a": "string", "b": "string"},
            (
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ('{"inputs": {"y": 1}}', {"x": "float32"}, "Missing named input: x in 'inputs' object."),
        (
            '{"instances": [{"a": 1, "b": 1}, {"a": 1}]}',
            {"a": "float32", "b": "float32"},
            "Failed to process element: 1 of 'instances' list. JSON object: {\"a\":1} keys must be equal to: a,b",
        ),
        (
            '{"instances": [{"a": 1, "K": 1}]}',
            {"a": "float32", "b": "float32"},
            (
                "Failed to process element: 0 key: K of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does "
                "not have named input: K"
            ),
        ),
        (
            '{"instances": [{"x": 1}, 2]}',
            {"x": "float32"},
            "Expecting object but got list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 2}]}',
            {"x": "float32"},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            '{"instances": [[1, 2, 3], [1, 2]]}',
            {"x": "float32"},
            (
                "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 3 "
                "but got: 2"
            ),
        ),
        (
            '{"instances": [[[1, 2]], [[1], [2]]]}',
            {"x": "float32"},
            (
                "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but "
                "got: [2,1]"
            ),
        ),
        (
            '{"instances": [{"x": [[1]]}, {"x": [1]}]}',
            {"x": "float32"},
            (
                "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape "
                "[1,1] but got: [1]"
            ),
        ),
        (
            '{"inputs": [[1, 2, 3], [1, 2]]}',
            {"x": "float32"},
            "Encountered list at unexpected size: 2 at level: 1 expected size: 3",
        ),
        ('{"inputs": [1, [2]]}', {"x": "float32"}, "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            {"x": "float32"},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ('{"inputs": {"b64": "a?b="}}', {"x": "string"}, "Unable to base64 decode"),
        (
            '{"inputs": [{"b64": "aGk=", "y": 1}]}',
            {"x": "string"},
            'JSON Value: {"b64":"aGk=","y":1} not formatted correctly for base64 data',
        ),
    ],
)
def test_what_is_refused_and_how(body: str, dtypes: dict[str, str], message: str) -> None:
    assert _fault(body, **dtypes) == message


@pytest.mark.parametrize(
    ("text", "data"),
    [("aGk=", b"hi"), ("aGk", b"hi"), ("a G\\nk =", b"hi"), ("", b""), ("/+8=", b"\xff\xef")],
)
def test_base64_is_taken_with_or_without_padding(text: str, data: bytes) -> None:
    assert _decode(f'{{"instances": [{{"b64": "{text}"}}, "x"]}}', x="string")[1]["x"].tolist() == [data, b"x"]


def test_the_signature_is_named_by_a_string() -> None:
    assert signature_name(parse_document(b'{"signature_name": "s"}', max_depth=8)) == "s"
    assert signature_name(parse_document(b"{}", max_depth=8)) == ""
    with pytest.raises(InvalidRequestError) as caught:
        signature_name(parse_document(b'{"signature_name": 3}', max_depth=8))
    assert caught.value.message == (
        "JSON Value: {\"signature_name\":3} not formatted correctly. 'signature_name' key must be a string value."
    )


def test_values_in_messages_are_cut() -> None:
    message = _fault(json.dumps({"inputs": "x" * 5000}), x="float32")
    assert message.startswith('JSON Value: "xxx')
    assert len(message) < 400


@pytest.mark.parametrize("body", ['{"instances": [[1, 2], [3, 4]]}', '{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}'])
def test_tensors_have_a_limit(body: str) -> None:
    document = parse_document(body.encode(), max_depth=64)
    specs = {"x": TensorSpec("x", DType.FLOAT32, None)}
    assert decode_predict(document, specs, max_elements=4)[1]["x"].size == 4
    with pytest.raises(PayloadTooLargeError):
        decode_predict(document, specs, max_elements=3)


def test_lists_have_a_depth() -> None:
    deep = "[" * 70 + "1" + "]" * 70
    for body in (f'{{"inputs": {deep}}}', f'{{"instances": [1, {deep}]}}', f'{{"instances": [{{"x": {deep}}}]}}'):
        assert "nested too deeply" in _fault(body, x="float32")


_NUMBERS = st.floats(width=32, allow_nan=False) | st.integers(-(2**31), 2**31 - 1)


@st.composite
def _tensors(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))

    def nested(level: int) -> Any:
        return draw(values) if level == len(shape) else [nested(level + 1) for _ in range(shape[level])]

    return nested(0)


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=True)


@settings(deadline=None)
@given(_tensors(_NUMBERS), st.lists(_tensors(_NUMBERS), min_size=1, max_size=4))
def test_columns_and_rows_are_what_they_say_or_are_refused(column: Any, rows: list[Any]) -> None:
    expected = np.array(column, np.float32)
    _, arrays = _decode(f'{{"inputs": {_dumped(column)}}}', x="float32")
    # Of lists without elements, the innermost dimensions cannot be seen.
    assert arrays["x"].shape == expected.shape[: arrays["x"].ndim]
    np.testing.assert_array_equal(arrays["x"].ravel(), expected.ravel())
    for written in (rows, [{"x": row} for row in rows]):
        body = f'{{"instances": {_dumped(written)}}}'
        if len({np.array(row, np.float32).shape for row in rows}) == 1:
            stacked = np.array(rows, np.float32)
            np.testing.assert_array_equal(_decode(body, x="float32")[1]["x"].ravel(), stacked.ravel())
        elif len({_seen_shape(row) for row in rows}) > 1:
            assert "Failed to process element" in _fault(body, x="float32")


def _seen_shape(value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "b64"]), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(_ANYTHING, st.sampled_from(["instances", "inputs"]), st.sampled_from(["float32", "int8", "string", "bool"]))
def test_whatever_comes_is_decoded_or_refused_by_name(value: Any, key: str, dtype: str) -> None:
    for dtypes in ({"x": dtype}, {"x": dtype, "y": "float32"}):
        with contextlib.suppress(TensorhostError):
            _, arrays = _decode(_dumped({key: value}), **dtypes)
            assert {name: DType.of(array) for name, array in arrays.items()} == dtypes
