import base64
import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorhost.codecs import JsonObject, decode_inputs
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidRequestError,
    MissingInputError,
    PayloadTooLargeError,
    RaggedInputError,
    TensorhostError,
    UnknownInputError,
)
from tensorhost.core.tensors import Array, Shape, TensorSpec

ANY_RANK = None


def decode_text(inputs: str | bytes, dtype: DType = DType.FLOAT32, shape: Shape | None = ANY_RANK) -> Array:
    text = inputs.encode() if isinstance(inputs, str) else inputs
    request = JsonObject.parse(b'{"modelName":"m","inputs":' + text + b',"timeoutMs":5}')
    return decode_inputs(request, {"x": TensorSpec("x", dtype, shape)}, max_elements=2**27)["x"]


def decode(inputs: Any, dtype: DType = DType.FLOAT32, shape: Shape | None = ANY_RANK) -> Array:
    return decode_text(json.dumps(inputs), dtype, shape)


def decode_many(inputs: Any, **specs: tuple[DType, Shape | None]) -> dict[str, Array]:
    request = JsonObject.parse(json.dumps({"inputs": inputs, "z": '[["inputs":['}).encode())
    named = {name: TensorSpec(name, dtype, shape) for name, (dtype, shape) in specs.items()}
    return decode_inputs(request, named, max_elements=2**27)


def same(array: Array, expected: Any, dtype: Any) -> None:
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array(expected, dtype), strict=True)


# --- names ---


def test_one_input_bare_or_by_name() -> None:
    same(decode([[1, 2.5]], shape=(None, 2)), [[1, 2.5]], np.float32)
    same(decode({"x": [[1, 2.5]]}, shape=(None, 2)), [[1, 2.5]], np.float32)
    same(decode(3, shape=()), 3, np.float32)
    same(decode({"x": 3}, DType.INT64, ()), 3, np.int64)


def test_several_inputs_come_back_in_the_order_of_the_signature() -> None:
    arrays = decode_many(
        {"c": True, "b": ["[", "]"], "a": [[1], [2]]},
        a=(DType.INT8, (None, 1)), b=(DType.STRING, (None,)), c=(DType.BOOL, ()),
    )  # fmt: skip
    assert list(arrays) == ["a", "b", "c"]
    same(arrays["a"], [[1], [2]], np.int8)
    assert arrays["b"].tolist() == [b"[", b"]"]
    same(arrays["c"], True, np.bool_)


def test_wrong_names() -> None:
    both = {"a": (DType.INT8, None), "b": (DType.INT8, None)}
    with pytest.raises(MissingInputError, match="'b' is missing; the inputs are 'a', 'b'"):
        decode_many({"a": 1}, **both)
    with pytest.raises(UnknownInputError, match="no input 'c'"):
        decode_many({"a": 1, "b": 1, "c": 1}, **both)
    with pytest.raises(MissingInputError, match="must be an object by name, not a list"):
        decode_many([1, 2], **both)
    with pytest.raises(InvalidRequestError, match="the field 'x' twice"):
        decode_text('{"x":[1],"x":[1]}')
    with pytest.raises(MissingInputError, match="must be an object by name, not null"):
        decode_many(None)
    assert decode_many({}) == {}


def test_no_inputs_at_all() -> None:
    with pytest.raises(InvalidRequestError, match="The body has no 'inputs'"):
        decode_inputs(JsonObject.parse(b"{}"), {}, max_elements=1)


def test_another_key() -> None:
    request = JsonObject.parse(b'{"instances":[1]}')
    spec = TensorSpec("x", DType.INT8, (None,))
    same(decode_inputs(request, {"x": spec}, max_elements=9, key="instances")["x"], [1], np.int8)


# --- shapes ---


@pytest.mark.parametrize(
    ("inputs", "spec_shape", "shape"),
    [
        ([], (None, 4), (0, 4)),
        ([], (None, None), (0, 0)),
        ([], (None,), (0,)),
        ([], None, (0,)),
        ([[], []], (None, None), (2, 0)),
        ([[], []], (None, None, 4), (2, 0, 4)),
        ([[], []], None, (2, 0)),
        ([[[]]], (None, 1, 0), (1, 1, 0)),
    ],
)
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT8, DType.UINT64, DType.BOOL, DType.STRING, DType.INT4])
def test_empty_lists(inputs: Any, spec_shape: Shape | None, shape: tuple[int, ...], dtype: DType) -> None:
    array = decode(inputs, dtype, spec_shape)
    assert (array.shape, array.dtype) == (shape, dtype.numpy)


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [([1, 2], (None, 2)), ([[1, 2, 3]], (None, 2)), (1, (None,)), ([1], ()), ([[]], (None, 4)), ([], (1, 4))],
)
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT32])
def test_wrong_shape(inputs: Any, shape: Shape, dtype: DType) -> None:
    with pytest.raises(InvalidInputShapeError, match="Input 'x' has shape"):
        decode(inputs, dtype, shape)


def test_wrong_shape_of_strings() -> None:
    with pytest.raises(InvalidInputShapeError, match=r"has shape \[2\], expected \[\?, 1\]"):
        decode(["a", "b"], DType.STRING, (None, 1))


@pytest.mark.parametrize(
    "text",
    [
        "[[1,2],[3]]",
        "[[1],[2,3]]",
        "[[1,2],3]",
        "[1,[2]]",
        "[1,[]]",
        "[[1,[2]]]",
        "[[[1,2],[3,4]],[[1,2,3,4]]]",
        "[[1,2],[[3,4]]]",
        "[[],[1]]",
        "[[1],[]]",
        "[[[1]],[[[1]]]]",
        "[[1,2],[3,[4]]]",
        "[[1, 2], [3, [4]],  [5, 6]]",
        "[[1,2],[3,4],[5],[6,7,8]]",
        "[" + "[" * 60 + "]" * 60 + ",1]",
        "[1," + "[" * 900 + "]" * 900 + "]",
    ],
)
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT64, DType.BOOL, DType.STRING, DType.FLOAT8_E5M2])
def test_ragged_lists(text: str, dtype: DType) -> None:
    for inputs in (text, '{"x":' + text + "}"):
        with pytest.raises(RaggedInputError, match="Input 'x' is ragged"):
            decode_text(inputs, dtype)


def test_ragged_error_names_the_place() -> None:
    with pytest.raises(RaggedInputError, match=r"the list at \[1\]\[0\] has 3 elements where others have 2"):
        decode([[[1, 2]], [[1, 2, 3]]])
    with pytest.raises(RaggedInputError, match=r"the value at \[1\] is the number 3 where others are lists of 2"):
        decode([[1, 2], 3])
    with pytest.raises(RaggedInputError, match="Input 'b'"):
        decode_many({"a": [[1], [2]], "b": [1, [2]]}, a=(DType.INT8, None), b=(DType.INT8, None))


def test_ragged_input_is_not_hidden_by_brackets_in_strings() -> None:
    body = '{"inputs":[[[1,2],[3,4]],[[1,2,3,4]]],"modelName":"[],[[inputs\\":[","a\\\\":"\\\\"}'
    spec = TensorSpec("x", DType.FLOAT32, None)
    with pytest.raises(RaggedInputError):
        decode_inputs(JsonObject.parse(body.encode()), {"x": spec}, max_elements=99)


def test_huge_shapes_promised_by_first_elements_are_never_built() -> None:
    row = "[" + "1," * 9999 + "1]"
    with pytest.raises(RaggedInputError):
        decode_text("[" + row + ",0" * 9999 + "]")
    with pytest.raises(RaggedInputError):
        decode_text("[" + "[" + "[]," * 999 + "[]]" + ",0" * 99999 + "]")


def test_element_limit() -> None:
    spec = {"x": TensorSpec("x", DType.FLOAT32, None)}
    for text in (b"[1,2,3,4,5]", b"[[1,2,3],[4,5,6]]", b"[[],[],[],[],[]]"):
        request = JsonObject.parse(b'{"inputs":' + text + b"}")
        with pytest.raises(PayloadTooLargeError, match="Input 'x' has more than 4 elements"):
            decode_inputs(request, spec, max_elements=4)
    assert decode_inputs(JsonObject.parse(b'{"inputs":[1,2,3,4]}'), spec, max_elements=4)["x"].size == 4


def test_depth_limit() -> None:
    spec = {"x": TensorSpec("x", DType.FLOAT32, None)}
    inside = JsonObject.parse(b'{"inputs":' + b"[" * 7 + b"1" + b"]" * 7 + b"}", max_depth=8)
    assert decode_inputs(inside, spec, max_elements=9)["x"].shape == (1,) * 7
    for text in (b"[" * 8 + b"1" + b"]" * 8, b'{"x":' + b"[" * 7 + b"1" + b"]" * 7 + b"}", b"[" * 900 + b"]" * 900):
        beyond = JsonObject.parse(b'{"inputs":' + text + b"}", max_depth=8)
        with pytest.raises(InvalidRequestError, match="nested too deeply"):
            decode_inputs(beyond, spec, max_elements=9)


@pytest.mark.parametrize(
    ("element", "count", "dtype", "spec_shape", "shown", "actual"),
    [
        ("1", 2**24 + 3, DType.FLOAT32, (None, 4), "[?], expected [?, 4]", [None]),
        ("1", 2**24 + 3, DType.FLOAT32, (), "[?], expected []", [None]),
        ("1", 2**24 + 3, DType.INT8, (4,), "[?], expected [4]", [None]),
        ("1", 300_000, DType.FLOAT32, (None, 4), "[300000], expected [?, 4]", [300_000]),
        ("[1,2]", 150_000, DType.BOOL, (None,), "[150000, 2], expected [?]", [150_000, 2]),
        ('["a","b"]', 150_000, DType.STRING, (None, 3), "[150000, 2], expected [?, 3]", [150_000, 2]),
        ('{"b64":""}', 300_000, DType.STRING, (None, 2), "[300000], expected [?, 2]", [300_000]),
        ("[]", 300_000, DType.FLOAT32, (None,), "[300000, 0], expected [?]", [300_000, 0]),
    ],
)
def test_long_lists_of_the_wrong_shape_are_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
    element: str, count: int, dtype: DType, spec_shape: Shape, shown: str, actual: list[int | None],
) -> None:  # fmt: skip
    for reading in ("chain", "islice"):
        monkeypatch.setattr(f"tensorhost.codecs.json_shapes.{reading}", None)
    with pytest.raises(InvalidInputShapeError) as caught:
        decode_text("[" + f"{element}," * (count - 1) + element + "]", dtype, spec_shape)
    assert caught.value.message == f"Input 'x' has shape {shown}."
    assert caught.value.details == {"input": "x", "expected": list(spec_shape), "actual": actual}


def test_long_lists_without_elements_take_dimensions_from_the_spec() -> None:
    assert decode_text("[" + "[]," * 299_999 + "[]]", shape=(None, None, 4)).shape == (300_000, 0, 4)


def test_counting_of_a_very_long_list_ends_at_the_limit() -> None:
    request = JsonObject.parse(b'{"inputs":[[' + b"1," * (2**24 + 2) + b"1]]}")
    spec = {"x": TensorSpec("x", DType.UINT8, (1, None))}
    for limit in (1000, 2**24 + 2):
        with pytest.raises(PayloadTooLargeError, match=f"Input 'x' has more than {limit} elements"):
            decode_inputs(request, spec, max_elements=limit)
    assert decode_inputs(request, spec, max_elements=2**24 + 3)["x"].shape == (1, 2**24 + 3)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.STRING])
def test_short_lists_that_are_ragged_are_said_to_be_whatever_the_rank(dtype: DType) -> None:
    with pytest.raises(RaggedInputError):
        decode([[1, 2], [3]], dtype, (None, 2, 2))


def test_integers_beyond_the_precision_of_float32_become_the_nearest() -> None:
    same(decode([2**24 + 1, 2**24 + 3, -(2**53) - 1]), [2.0**24, 2.0**24 + 4, -(2.0**53)], np.float32)


def test_more_elements_in_a_list_than_the_parser_counts() -> None:
    count = 2**24 + 3
    array = decode_text(b"[" + b"1," * (count - 1) + b"2]", DType.UINT8, (None,))
    assert array.shape == (count,)
    assert int(array.sum(dtype=np.int64)) == count + 1


# --- numbers ---


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype.is_integer])
def test_integer_limits(dtype: DType) -> None:
    info = ml_dtypes.iinfo(dtype.numpy)
    low, high = int(info.min), int(info.max)
    for inputs in ([low, high], [[high], [low]]):
        array = decode(inputs, dtype)
        assert array.dtype == dtype.numpy
        assert [int(value) for value in array.ravel()] == list(np.ravel(np.array(inputs, object)))
    assert int(decode(high, dtype)) == high
    assert int(decode(low, dtype)) == low
    for beyond in (low - 1, high + 1, float(high) * 2 + 2, 2**64, -(2**63) - 1):
        for inputs in ([0, beyond], beyond):
            with pytest.raises(InvalidInputTypeError, match=f"Input 'x' must be {dtype}"):
                decode(inputs, dtype)


def test_integers_written_as_floats() -> None:
    same(decode([3.0, 4, -5e1], DType.INT32), [3, 4, -50], np.int32)
    same(decode([3.0, 4], DType.UINT64), [3, 4], np.uint64)
    same(decode(3.0, DType.INT8), 3, np.int8)
    with pytest.raises(InvalidInputTypeError, match=r"value at \[1\]\[0\] is the number 3.5; a fraction would be lost"):
        decode([[3], [3.5]], DType.INT32)
    with pytest.raises(InvalidInputTypeError, match=r"the value is the number 3.5"):
        decode(3.5, DType.INT32)
    with pytest.raises(InvalidInputTypeError, match="range is 0 to 255"):
        decode([1.0, -1.0], DType.UINT8)


def test_64_bit_integers_are_exact() -> None:
    exact = [2**53 + 1, -(2**63), 2**63 - 1]
    same(decode(exact, DType.INT64), exact, np.int64)
    same(decode([*exact, 3.0], DType.INT64), [*exact, 3], np.int64)
    same(decode([[2**64 - 1], [1.0]], DType.UINT64), [[2**64 - 1], [1]], np.uint64)
    same(decode([2**53 + 1, 1.0], DType.INT64), [2**53 + 1, 1], np.int64)
    for written in ("9007199254740993.0", "[9007199254740993.0, 1]", "[-9007199254740993.0]"):
        with pytest.raises(InvalidInputTypeError, match="without point or exponent"):
            decode_text(written, DType.INT64)
    with pytest.raises(InvalidInputTypeError, match="without point or exponent"):
        decode([1e17, 2], DType.INT64)
    with pytest.raises(InvalidInputTypeError, match="without point or exponent"):
        decode(1e17, DType.UINT64)
    with pytest.raises(InvalidInputTypeError, match="range"):
        decode([2**63, 3.0], DType.INT64)


FLOATS = [dtype for dtype in DType if dtype.is_floating]


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_limits(dtype: DType) -> None:
    high = float(ml_dtypes.finfo(dtype.numpy).max)
    for inputs in ([high, -high, 0.1, 1], high):
        np.testing.assert_array_equal(decode(inputs, dtype), np.array(inputs, np.float64).astype(dtype.numpy))
    if dtype is not DType.FLOAT64:
        for inputs in ([[0.0], [high * 1.5]], -high * 1.5):
            with pytest.raises(InvalidInputTypeError, match=f"Input 'x' must be {dtype}.*beyond the range"):
                decode(inputs, dtype)


def test_big_integers_into_floats() -> None:
    same(decode([10**20, 2**64 - 1, 2**53 + 1], DType.FLOAT64), [1e20, 2.0**64, 2.0**53], np.float64)
    with pytest.raises(InvalidInputTypeError):
        decode([1e39])


@pytest.mark.parametrize("text", ["[[],[true]]", "[[true],[]]", "[[],[null]]", "[[1],[],[true]]"])
@pytest.mark.parametrize("shape", [None, (None, None), (None, 1), (None, 0), (None, None, 4)])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT8, DType.BOOL])
def test_lists_of_one_and_of_none_are_told_apart(text: str, shape: Shape | None, dtype: DType) -> None:
    with pytest.raises(RaggedInputError):
        decode_text(text, dtype, shape)


@pytest.mark.parametrize("bad", ["true", "null", '"1"', '{"a":1}', "{}"])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.FLOAT64, DType.INT32, DType.UINT64, DType.INT4])
def test_what_is_no_number(bad: str, dtype: DType) -> None:
    for text in (f"[[0,1],[2,{bad}]]", f"[{bad}]", bad):
        with pytest.raises((InvalidInputTypeError, UnknownInputError, MissingInputError)) as caught:
            decode_text(text, dtype)
        assert caught.type is InvalidInputTypeError or text.startswith("{")
    with pytest.raises(InvalidInputTypeError, match=r"at \[1\]\[1\] is .*only numbers"):
        decode_text(f"[[0,1],[2,{bad}]]", dtype)


@pytest.mark.parametrize("bad", ["0", "1", "null", '"true"', "1.0", "{}"])
def test_bool_takes_true_and_false_only(bad: str) -> None:
    same(decode([[True, False]], DType.BOOL), [[True, False]], np.bool_)
    with pytest.raises(InvalidInputTypeError, match=r"at \[1\] is .*only true and false"):
        decode_text(f"[true,{bad}]", DType.BOOL)


def test_scalar_of_the_wrong_kind_is_a_matter_of_type() -> None:
    for bad in (None, "hello", True):
        with pytest.raises(InvalidInputTypeError):
            decode(bad, DType.FLOAT32, (None, 4))


@pytest.mark.parametrize("inputs", [1, [1.0], [[1, 2]], {"b64": "AA=="}])
@pytest.mark.parametrize("dtype", [DType.COMPLEX64, DType.COMPLEX128])
def test_complex_is_refused(inputs: Any, dtype: DType) -> None:
    with pytest.raises(InvalidInputTypeError, match="which JSON cannot carry"):
        decode(inputs, dtype)


# --- strings and images ---


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.mark.parametrize("inputs", [b64(b"\xff\0"), {"x": b64(b"\xff\0")}])
def test_a_bare_b64_object_is_a_value(inputs: Any) -> None:
    array = decode(inputs, DType.STRING, ())
    assert (array.shape, array.item()) == ((), b"\xff\0")


def test_an_input_really_named_b64() -> None:
    request = JsonObject.parse(b'{"inputs":{"b64":"AA=="}}')
    spec = TensorSpec("b64", DType.STRING, ())
    assert decode_inputs(request, {"b64": spec}, max_elements=1)["b64"].item() == b"AA=="


def test_nested_strings() -> None:
    array = decode([["a", b64(b"\x80")], ["", "é€\0"]], DType.STRING, (None, 2))
    assert array.tolist() == [[b"a", b"\x80"], [b"", "é€\0".encode()]]
    assert decode("x", DType.STRING, ()).item() == b"x"


@pytest.mark.parametrize("text", ["A", "AAA", "AA==\n", "A A=", "****", "AA==AA==", "=", "é", "AA=", "-_=="])
def test_bad_base64(text: str) -> None:
    with pytest.raises(InvalidInputTypeError, match=r"at \[1\] is not valid base64"):
        decode(["a", {"b64": text}], DType.STRING)


@pytest.mark.parametrize(
    "bad", [1, None, True, {"b64": 1}, {"b64": "AA==", "x": 1}, {}, {"b65": ""}, {"b64": ["AA=="]}]
)
def test_what_is_no_string(bad: Any) -> None:
    with pytest.raises(InvalidInputTypeError, match=r"at \[1\] is"):
        decode(["a", bad], DType.STRING)


def test_encoded_images_for_a_numeric_input() -> None:
    for dtype in (DType.FLOAT32, DType.UINT8):
        one = decode(b64(b"png"), dtype, (None, 8, 8, 3))
        assert (one.shape, one.item()) == ((), b"png")
        two = decode([b64(b"png"), b64(b"gif")], dtype, (None, 8, 8, 3))
        assert (two.shape, two.tolist()) == ((2,), [b"png", b"gif"])
    by_name = decode_many({"n": [[1, 2]], "x": [b64(b"p")]}, n=(DType.INT8, None), x=(DType.FLOAT32, (None, 8, 8, 3)))
    assert by_name["x"].tolist() == [b"p"]
    same(by_name["n"], [[1, 2]], np.int8)


def test_images_mixed_with_numbers_or_nested() -> None:
    with pytest.raises(InvalidInputTypeError, match=r"at \[1\] is the number 1, expected"):
        decode([b64(b"png"), 1])
    with pytest.raises(InvalidInputTypeError, match=r"at \[1\] is an object; only numbers"):
        decode([1, b64(b"png")])
    with pytest.raises(InvalidInputShapeError, match="one list"):
        decode([[b64(b"png")]])


def test_strings_and_numbers_in_one_request_are_both_checked() -> None:
    specs: dict[str, tuple[DType, Shape | None]] = {"s": (DType.STRING, None), "n": (DType.FLOAT32, None)}
    arrays = decode_many({"s": [["[", b64(b"x")], ['"', "\\"]], "n": [[1, 2], [3, 4]]}, **specs)
    assert arrays["s"].tolist() == [[b"[", b"x"], [b'"', b"\\"]]
    with pytest.raises(RaggedInputError, match="'n'"):
        decode_many({"s": [["["], ["]"]], "n": [[1, 2], [3, [4]]]}, **specs)


# --- items of a batch ---


def test_items_do_not_disturb_each_other() -> None:
    inputs_and_results = [
        ("[[1,2]]", [[1, 2]]),
        ("[[1],[2,3]]", "RAGGED_INPUT"),
        ('{"x":[[3,4]]}', [[3, 4]]),
        ("[1,[2]]", "RAGGED_INPUT"),
        ("[[5,6]]", [[5, 6]]),
        ('[["a","b"]]', "INVALID_INPUT_TYPE"),
        ("[[7,8],[9,10]]", [[7, 8], [9, 10]]),
        ("[[1,2,3]]", "INVALID_INPUT_SHAPE"),
    ]
    items = ['{"preprocessing":{"mean":[1]},"inputs":' + text + "}" for text, _ in inputs_and_results]
    items += ["{}", '[{"inputs":[9]}]', '{"inputs":[[1,[2]]]}', '{"inputs":[[1,2]]}']
    expected = [result for _, result in inputs_and_results]
    expected += ["INVALID_REQUEST", "INVALID_REQUEST", "RAGGED_INPUT", [[1, 2]]]
    body = '{"modelName":"[{","options":{"a":[{}]},"batch":[' + ",".join(items) + "]}"
    spec = TensorSpec("x", DType.FLOAT32, (None, 2))
    results: list[Any] = []
    for item in JsonObject.parse(body.encode()).items("batch", max_items=99):
        try:
            if isinstance(item, TensorhostError):
                raise item
            results.append(decode_inputs(item, {"x": spec}, max_elements=99)["x"].tolist())
        except TensorhostError as error:
            results.append(error.code.value)
    assert results == expected


# --- properties ---

RAGGED = object()


def reference_shape(value: Any) -> Any:
    """The shape of nested lists, or RAGGED."""
    if not isinstance(value, list):
        return ()
    shapes = {reference_shape(element) for element in value}
    if len(shapes) > 1 or RAGGED in shapes:
        return RAGGED
    return (len(value), *(shapes.pop() if shapes else ()))


numbers = st.integers(-5, 5) | st.floats(-1e6, 1e6, width=32)
maybe_ragged = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3), max_leaves=10) | st.integers(
    1, 3
).flatmap(lambda n: st.lists(st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=2), max_size=3))
tricky = st.sampled_from(['"inputs":[', "[[1,2],[3]]", 'x"', "\\", "\\\\", '\\"', "[", "]", "{}", "é", "inputs"])
spaces = st.sampled_from(["", " ", "\n\t ", "\r\n"])
ESCAPED_KEY = '"\\u0069nputs"'


@given(maybe_ragged, st.lists(tricky, min_size=2, max_size=2), spaces, st.booleans(), st.booleans())
@example([[[1, 2], [3, 4]], [[1, 2, 3, 4]]], ["]", "["], "", False, False)
@example([[1, [2]], [3, 4]], ['"inputs":[', "\\"], " ", True, True)
def test_ragged_input_is_never_accepted_and_the_rest_is_exact(
    value: Any, texts: list[str], space: str, escape_key: bool, nested: bool
) -> None:
    inputs = json.dumps(value).replace(",", space + "," + space).replace("[", "[" + space)
    if nested:
        inputs = '{"x":' + space + inputs + "}"
    options = json.dumps({"inputs": texts, texts[0]: [[texts[1]], {}]})
    key = ESCAPED_KEY if escape_key else '"inputs"'
    members = [f'"a":{json.dumps(texts[0])}', f'"options":{options}', f"{key}{space}:{space}{inputs}{space}"]
    body = "{" + f"{space},{space}".join([*members, f'"b":{json.dumps(texts[1])}']) + "}"
    request = JsonObject.parse(body.encode())
    shape = reference_shape(value)
    spec = {"x": TensorSpec("x", DType.FLOAT32, None)}
    if shape is RAGGED:
        with pytest.raises(RaggedInputError):
            decode_inputs(request, spec, max_elements=999)
        return
    array = decode_inputs(request, spec, max_elements=999)["x"]
    assert array.shape == shape
    np.testing.assert_array_equal(array, np.array(json.loads(body)["inputs"]["x"] if nested else value, np.float32))


hostile_leaves = numbers | st.booleans() | st.none() | st.sampled_from(["[", "]", "[[", '"', "\\"])
hostile_values = st.recursive(
    hostile_leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "[", "b64"]), inner, max_size=2),
    max_leaves=8,
)
rows = st.integers(0, 3).flatmap(
    lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n) | hostile_values, max_size=4)
)
other_members = st.dictionaries(st.sampled_from(["a", "[", "b["]), hostile_values, max_size=2)


def outcome(inputs: Any, members: dict[str, Any], by_name: bool, *, use_counts: bool) -> Any:
    body = json.dumps({**members, "inputs": {"x": inputs} if by_name else inputs, "z": "]"}).encode()
    with pytest.MonkeyPatch.context() as patch:
        if not use_counts:
            patch.setattr(JsonObject, "has_few_lists", lambda self, lists: False)
        try:
            request = JsonObject.parse(body)
            array = decode_inputs(request, {"x": TensorSpec("x", DType.FLOAT32, None)}, max_elements=99)["x"]
        except TensorhostError as error:
            return error.code, error.message
    return array.shape, array.dtype, array.tolist()


@given(rows | maybe_ragged | hostile_values, other_members, st.booleans())
@example([[1], 2], {"a": "["}, False)
@example([[1, 2], []], {}, True)
@example([[[1, 2], []]], {}, False)
@example([[[1], [2]], [[3, 4], []]], {}, False)
@example([1, []], {}, False)
@example([[], 1, 2], {}, True)
@example([[], []], {}, False)
@example([[[]], [[1]]], {}, False)
@example([[1, {"x": 2}], [3, 4]], {"a": [[]]}, False)
def test_counting_lists_and_comparing_structures_agree(value: Any, members: dict[str, Any], by_name: bool) -> None:
    counted = outcome(value, members, by_name, use_counts=True)
    assert counted == outcome(value, members, by_name, use_counts=False)
    accepted = counted[0] if isinstance(counted[0], tuple) else None
    shape = reference_shape(value)
    if accepted is not None and not is_image(value):
        assert accepted == shape
        np.testing.assert_array_equal(counted[2], np.array(value, np.float32))
    if shape is RAGGED:
        assert accepted is None


def is_image(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict)


@given(st.lists(st.sampled_from([1, [], [1], [2], [1, 2]]), max_size=12))
def test_lists_of_one_number_among_others(row: list[Any]) -> None:
    value = [row] * 5
    if reference_shape(value) is RAGGED:
        with pytest.raises(RaggedInputError):
            decode(value)
    else:
        assert decode(value).shape == reference_shape(value)


def test_few_long_lists_need_no_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorhost.codecs.json_document.structure_of", None)
    for value in ([[0.5] * 784], [1, 2], [[1]], {"x": [[1, 2], [3, 4]]}, [], [[], []]):
        plain = value["x"] if isinstance(value, dict) else value
        same(decode(value), plain, np.float32)
    arrays = decode_inputs(
        JsonObject.parse(b'{"inputs":{"a":[[1],[2]],"b":["p","q"],"c":3}}'),
        {
            "a": TensorSpec("a", DType.INT8, None),
            "b": TensorSpec("b", DType.STRING, None),
            "c": TensorSpec("c", DType.INT8, None),
        },
        max_elements=9,
    )
    assert arrays["a"].tolist() == [[1], [2]]


@pytest.mark.parametrize("size", [1, 9_999, 10_000, 10_001])
def test_the_range_of_float32_is_exact_whatever_the_number_of_values(size: int) -> None:
    largest = float(np.finfo(np.float32).max)
    same(decode([0.0] * (size - 1) + [largest]), [0.0] * (size - 1) + [largest], np.float32)
    for beyond in (largest * (1 + 2**-24), -1e39, 1e160, -1.7e308):
        with pytest.raises(InvalidInputTypeError, match="beyond the range of float32"):
            decode([0.0] * (size - 1) + [beyond])


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=1))
def test_doubles_round_trip_bit_for_bit(value: list[list[float]]) -> None:
    assert decode(value, DType.FLOAT64).tobytes() == np.array(value).tobytes()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_float32_is_the_nearest(value: list[float]) -> None:
    assert decode(value, DType.FLOAT32).tobytes() == np.array(value, np.float32).tobytes()


integers = (
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(2**53 - 3, 2**53 + 3)
    | st.integers(-(2**53) - 3, 3 - 2**53)
    | st.integers(-1000, 1000).map(float)
)


@given(st.lists(integers, min_size=1))
def test_int64_in_any_mixture_is_exact(value: list[int | float]) -> None:
    assert decode(value, DType.INT64).tolist() == [int(number) for number in value]


hostile_text = st.text('a"[\\', max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | hostile_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "b64", "y"]), inner, max_size=2),
    max_leaves=8,
)  # fmt: skip


@given(json_values, st.sampled_from(list(DType)), st.sampled_from([None, (), (None,), (None, 2), (2, None, None)]))
def test_any_value_is_decoded_as_specified_or_refused(value: Any, dtype: DType, shape: Shape | None) -> None:
    try:
        array = decode(value, dtype, shape)
    except TensorhostError as error:
        code = error.code.value
    else:
        code = "OK"
        images = array.dtype == object and dtype is not DType.STRING
        assert images or (array.dtype == dtype.numpy and TensorSpec("x", dtype, shape).admits(array.shape))
    assert code != "INTERNAL"
