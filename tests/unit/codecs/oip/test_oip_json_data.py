"""The ``data`` of an input in JSON: flat and nested, of every datatype, and everything that is neither."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.oip import DATATYPES, datatype_of, read_http_request
from tensorhost.codecs.oip.json_data import ListCensus
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidRequestError,
    PayloadTooLargeError,
    RaggedInputError,
    TensorhostError,
)

LIMIT = 100_000


def decode(datatype, shape, data, *, max_elements=LIMIT, also="", beside=()):
    """The array of one input whose data are given as JSON text; ``also`` stands before the inputs in the body."""
    text = data if isinstance(data, str) else json.dumps(data)
    inputs = [f'{{"name":"x","datatype":"{datatype}","shape":{json.dumps(shape)},"data":{text}}}', *beside]
    request = read_http_request(f'{{{also}"inputs":[{",".join(inputs)}]}}'.encode(), None)
    return request.inputs[0].decode(max_elements=max_elements)


@given(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(sorted(set(DATATYPES) - {"BYTES", "BOOL"})))
def test_flat_and_nested_lists_are_the_same(shape, datatype):
    array = (np.arange(math.prod(shape)) % 100).reshape(shape)
    wanted = array.astype(DATATYPES[datatype].numpy)
    for data in (array.reshape(-1).tolist(), array.tolist()):
        # The strings make the quick proof, and then the slow one, do the work.
        for also in ("", '"id":"[",', '"more":[[]],'):
            read = decode(datatype, shape, data, also=also)
            assert (read.dtype, read.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_array_equal(read, wanted)


@given(st.lists(st.integers(0, 3), max_size=3))
def test_strings_and_bools_are_nested_as_numbers_are(shape):
    count = math.prod(shape)
    bools = (np.arange(count) % 2 == 1).reshape(shape)
    texts = np.array([f"é{index}[" for index in range(count)] + [None], object)[:-1].reshape(shape)
    for nested in (True, False):
        read = decode("BOOL", shape, bools.tolist() if nested else bools.reshape(-1).tolist())
        np.testing.assert_array_equal(read, bools)
        read = decode("BYTES", shape, json.dumps(texts.tolist() if nested else texts.reshape(-1).tolist()))
        assert read.shape == tuple(shape)
        assert [value.decode() for value in read.reshape(-1)] == texts.reshape(-1).tolist()


@pytest.mark.parametrize("datatype", ["FP32", "INT32", "BOOL", "BYTES"])
def test_one_element_may_be_bare_where_there_are_no_dimensions(datatype):
    element = {"FP32": 1.5, "INT32": 3, "BOOL": True, "BYTES": "a"}[datatype]
    wanted = element.encode() if datatype == "BYTES" else element
    for data in (element, [element]):
        read = decode(datatype, [], json.dumps(data))
        assert (read.shape, read.item()) == ((), wanted)
    with pytest.raises(InvalidInputTypeError, match="'data' must be a list, not"):
        decode(datatype, [1], json.dumps(element))


@pytest.mark.parametrize("also", ["", '"id":"[",'])
@pytest.mark.parametrize(
    ("shape", "data", "error"),
    [
        ([4], [1, 2, 3], InvalidInputShapeError),
        ([4], [1, 2, 3, 4, 5], InvalidInputShapeError),
        ([4], [], InvalidInputShapeError),
        ([0], [1], InvalidInputShapeError),
        ([2, 2], [[1, 2, 3, 4]], InvalidInputShapeError),
        ([2, 2], [[[1, 2], [3, 4]]], InvalidInputShapeError),
        ([2, 2], [[1, 2], [3]], RaggedInputError),
        ([2, 2], [[1, 2], 3], RaggedInputError),
        ([2, 2], [[1, 2], [3, [4]]], RaggedInputError),
        ([2, 2], [1, 2, 3, [4]], RaggedInputError),
        ([3], [1, [], [2, 3]], RaggedInputError),
        ([3], [1, [2], [3]], RaggedInputError),
        ([2, 1], [[1], []], RaggedInputError),
        ([2, 1], [[1], [2, 3]], RaggedInputError),
        ([3, 0], [[], [1], []], RaggedInputError),
        ([2], [{"a": 1}, {}], InvalidInputTypeError),
        ([2, 1], [[1], [{}]], InvalidInputTypeError),
        ([1], [None], InvalidInputTypeError),
        ([1], ["1"], InvalidInputTypeError),
        ([1], [True], InvalidInputTypeError),
        ([1], [1e39], InvalidInputTypeError),
        ([], {}, InvalidInputTypeError),
        ([], None, InvalidRequestError),
        ([LIMIT + 1], [1], PayloadTooLargeError),
        ([2**62, 2**62], [1], PayloadTooLargeError),
    ],
)
def test_data_that_are_not_the_tensor_are_refused(shape, data, error, also):
    with pytest.raises(error, match="Input 'x'"):
        decode("FP32", shape, data, also=also)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("UINT64", [2**64]),
        ("INT64", [2**63]),
        ("INT32", [1.5]),
        ("BOOL", [1]),
        ("BYTES", [1]),
        ("BYTES", [None]),
        ("BYTES", [{"b64": "YQ=="}]),
        ("FP16", [65520]),
        ("BF16", [1e39]),
    ],
)
def test_values_that_are_not_of_the_datatype_are_refused(datatype, data):
    with pytest.raises(InvalidInputTypeError, match=r"Input 'x' must be .*: the value at \[0\]"):
        decode(datatype, [1], data)


@pytest.mark.parametrize("datatype", ["INT64", "UINT64"])
def test_large_integers_are_exact(datatype):
    limits = np.iinfo(DATATYPES[datatype].numpy)
    values = [limits.min, limits.max, 2**53 + 1]
    assert decode(datatype, [3], values).tolist() == values


def test_no_list_hides_behind_one_that_is_missing():
    """As many lists as the shapes want, one of them where another's numbers belong."""
    text = '{"name":"y","datatype":"FP32","shape":[2],"data":7}'
    with pytest.raises(RaggedInputError, match="Input 'x'"):
        decode("FP32", [2], "[1,[2]]", beside=[text])


def count(text: str) -> ListCensus:
    """The census of a request, every list of which is where fields have theirs, or hides."""
    request = read_http_request(f'{{"inputs":[{text}]}}'.encode(), None)
    return request.inputs[0].elements.census


def an_input(data: str) -> str:
    return f'{{"name":"x","datatype":"FP32","shape":[1],"data":{data}}}'


MANY = ",".join(["[1]"] * 50)


@pytest.mark.parametrize(
    ("inputs", "is_proved"),
    [
        (["[[1,2],[3,4]]", "[5]"], True),
        (["[[1,2],[3]]"], False),
        (["[[1,2],3]"], False),
        (["[1,[2]]", "3"], False),
        (["[1,2]", "[1,[2]]"], False),
        (['["[",2]'], True),
        ([f"[{MANY}]", "[5,6]"], True),
        ([f"[{MANY}]", "[5,[6]]"], False),
        ([f"[{MANY},2]"], False),
        ([f"[{MANY},[[2]]]"], False),
        ([f"[{MANY},{{}}]"], False),
        # A few elements that claim to be many.
        (["[[" + "1," * 200 + "1]" + ",[]" * 200 + "]"] * 3, False),
    ],
)
def test_a_census_proves_what_it_has_counted(inputs, is_proved):
    assert count(",".join(map(an_input, inputs))).proves_lists() is is_proved


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("fault", ["", "1", "[]", "[1,2,3,4]", "[[1,2,3]]", "[[1],2]", "[{}]", "[1,[]]"])
@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BOOL"])
def test_one_fault_among_very_many_lists_is_found(size, fault, datatype):
    row = json.dumps([datatype == "BOOL" or 1] * size)
    rows = [row] * 300
    assert decode(datatype, [300, size], f"[{','.join(rows)}]").tolist() == [json.loads(row)] * 300
    rows[200] = fault or "null"
    with pytest.raises((RaggedInputError, InvalidInputTypeError), match=r"Input 'x'.*\[200\]"):
        decode(datatype, [300, size], f"[{','.join(rows)}]")


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_nan_and_infinities_are_read_as_triton_reads_them(datatype):
    data = "[NaN, 1.5, Infinity, -Infinity, 0.0]"
    read = decode(datatype, [5], data, also='"parameters":{"NaN":"NaN","p":Infinity},')
    np.testing.assert_array_equal(read.astype(float), [np.nan, 1.5, np.inf, -np.inf, 0])
    assert np.isnan(decode(datatype, [], "NaN"))
    assert decode(datatype, [2, 1], "[[-Infinity],[2]]").tolist() == [[-np.inf], [2]]


def test_a_parameter_that_is_no_number_stays_none():
    body = b'{"inputs":[],"parameters":{"a":NaN,"b":-Infinity,"c":1.5}}'
    parameters = read_http_request(body, None).parameters
    assert math.isnan(parameters["a"])
    assert (parameters["b"], parameters["c"]) == (-math.inf, 1.5)


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("INT32", "[1, NaN]", "the value at [1] is the number NaN; a fraction would be lost"),
        ("BOOL", "[true, NaN]", "the value at [1] is the number NaN; only true and false"),
        ("FP32", "[NaN, 1e39]", "the value at [1] is the number 1e+39; that is beyond the range"),
        ("FP32", '[NaN, "a"]', "the value at [1] is a string; only numbers"),
    ],
)
def test_what_is_wrong_is_told_as_it_was_written(datatype, data, message):
    with pytest.raises(InvalidInputTypeError) as caught:
        decode(datatype, [2], data)
    assert message in caught.value.message
    assert "e-2" not in str(caught.value.details)


@pytest.mark.parametrize("data", ["[NaN", "[1NaN]", "[NaN NaN]", "[-]", "[Infinit]", "[nan]"])
def test_a_fault_beside_a_token_is_a_fault(data):
    with pytest.raises(InvalidRequestError, match="The body is not valid JSON"):
        decode("FP32", [1], data)


def test_lists_that_are_nested_too_deeply_are_refused():
    for depth in (63, 500):
        with pytest.raises(TensorhostError):
            decode("FP32", [1], "[" * depth + "1" + "]" * depth)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 300) | st.floats(-1e300, 1e300) | st.text(max_size=2),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
        max_leaves=12,
    ),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(sorted(DATATYPES)),
    st.sampled_from(["", '"id":"[",', '"id":"NaN",']),
)
def test_any_data_are_the_tensor_or_refused(data, shape, datatype, also):
    try:
        read = decode(datatype, shape, json.dumps(data), also=also)
    except TensorhostError:
        return
    assert (datatype_of(DATATYPES[datatype]), read.shape) == (datatype, tuple(shape))
    if datatype != "BYTES":
        wanted = np.array(data, np.float64).reshape(shape)
        np.testing.assert_allclose(read.astype(float), wanted, rtol=0.01, atol=1e-6)
