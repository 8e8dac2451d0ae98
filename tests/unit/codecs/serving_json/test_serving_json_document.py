"""What is no JSON, told as RapidJSON tells it; and what else TensorFlow Serving takes for JSON."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.serving_json import parse_document
from tensorhost.codecs.serving_json.faults import find_fault
from tensorhost.core.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b" \n", "The document is empty"),
        (b"{", "Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": 1 "b": 2}', "Missing a comma or } after an object member. at offset: 8"),
        (b'{"a": [1 2]}', "Missing a comma or ] after an array element. at offset: 9"),
        (b'{"a": [1,]}', "Invalid value. at offset: 9"),
        (b'{"a": 1,}', "Missing a name for object member. at offset: 8"),
        (b'{"a": }', "Invalid value. at offset: 6"),
        (b'{"a": nul}', "Invalid value. at offset: 9"),
        (b'{"a": -}', "Invalid value. at offset: 7"),
        (b'{"a": 1.}', "Miss fraction part in number. at offset: 8"),
        (b'{"a": 1e+}', "Miss exponent in number. at offset: 9"),
        (b'{"a": 1e999}', "Number too big to be stored in double. at offset: 6"),
        (b'{"a": 01}', "Missing a comma or } after an object member. at offset: 7"),
        (b'{"a": "x}', "Missing a closing quotation mark in string. at offset: 6"),
        (b'{"a": "\\q"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a": "\\u12g4"}', "Incorrect hex digit after \\u escape in string. at offset: 7"),
        (b'{"a": "\\ud800x"}', "The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": "\x01"}', "Invalid encoding in string. at offset: 7"),
        (b'{"a": "\xff"}', "Invalid encoding in string. at offset: 7"),
        (b'{"a": 1} x', "The document root must not be followed by other values. at offset: 9"),
        (b"{}}", "The document root must not be followed by other values. at offset: 2"),
    ],
)
def test_faults_have_the_words_and_offsets_of_rapidjson(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_document(body, max_depth=64)
    assert caught.value.message == f"JSON Parse error: {message}"


@pytest.mark.parametrize(
    ("body", "shown"), [(b"[1]", "[1]"), (b"3", "3"), (b'"x"', '"x"'), (b"null", "null"), (b"NaN", "NaN")]
)
def test_the_top_must_be_an_object(body: bytes, shown: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_document(body, max_depth=64)
    assert caught.value.message == f"JSON Value: {shown} Is not object"


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="twice"):
        parse_document(b'{"a": 1, "a": 2}', max_depth=64)


@pytest.mark.parametrize("size", [10, 2**17])
def test_strings_full_of_quotes_do_not_cost_the_square_of_their_length(size: int) -> None:
    with pytest.raises(InvalidRequestError):
        parse_document(b'{"a": NaN, "b": "' + b'\\"' * size, max_depth=64)


def test_nesting_beyond_the_parser_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        parse_document(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", max_depth=64)


def test_a_large_body_is_refused_without_its_place() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_document(b'{"a": [' + b"1," * 2**20 + b"]}", max_depth=64)
    assert caught.value.message == "JSON Parse error: Unspecific syntax error."


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES, st.data())
def test_a_fault_is_found_where_and_only_where_there_is_one(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.binary(max_size=2)) + text[at + data.draw(st.integers(0, 2)) :]
    try:
        orjson.loads(changed)
    except orjson.JSONDecodeError:
        assert find_fault(changed) is not None
    else:
        assert find_fault(changed) is None
