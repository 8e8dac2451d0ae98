"""Bodies of SageMaker's clients, and what they become."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.errors import InvalidRequestError, UnsupportedMediaTypeError
from tensorhost.frontends.containers.bodies import serving_body

INSTANCES = [[1.0, 2.0], [3.0, 4.0]]
JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}'),
        ("", b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}'),
        (JSON, b" \n[ [1.0, 2.0], [3.0, 4.0]]"),
        (JSON, b"\xef\xbb\xbf[[1.0, 2.0], [3.0, 4.0]]"),
        (LINES, b"[1.0, 2.0]\n[3.0, 4.0]\n"),
        (LINES, b"\xef\xbb\xbf[1.0, 2.0]\r\n\r\n \t\n[3.0, 4.0]"),
        (LINES, b'\n{"instances": [[1.0, 2.0], [3.0, 4.0]]}\n'),
        ("application/jsons", b"[1.0, 2.0]\n[3.0, 4.0]"),
        (CSV, b"1.0,2.0\n3.0,4.0\n"),
        (CSV, b"\xef\xbb\xbf1.0, 2e0\r\n3.0,4.0"),
        (CSV, b'"1.0","2.0"\n\n3.0,4.0'),
    ],
)
def test_different_ways_of_asking_the_same(content_type, body):
    assert json.loads(serving_body(body, content_type, "instances")) == {"instances": INSTANCES}


@pytest.mark.parametrize(
    ("content_type", "body", "instances"),
    [
        (JSON, b"[1.0, 2.0]", [[1.0, 2.0]]),
        (JSON, b'[{"x": 1}]', [{"x": 1}]),
        (JSON, b"[]", [[]]),
        (JSON, b"3", [3]),
        (JSON, b'"red"', ["red"]),
        (JSON, b'{"x": [1, 2]}', [{"x": [1, 2]}]),
        (JSON, b"{}", [{}]),
        (JSON, b"[[100000000000000000000]]", [[10**20]]),
        (LINES, b'{"x": 1}\n{"x": 2}', [{"x": 1}, {"x": 2}]),
        (LINES, b'{"inputs": 1}\n{"inputs": 2}', [{"inputs": 1}, {"inputs": 2}]),
        (LINES, b'1\n"a"\nnull', [1, "a", None]),
        (LINES, b"100000000000000000000\n1", [10**20, 1]),
        (LINES, b"", []),
        (CSV, b"1,2\n3,4.5", [[1, 2], [3, 4.5]]),
        (CSV, b"red\nblue", ["red", "blue"]),
        (CSV, b"", []),
    ],
)
def test_instances(content_type, body, instances):
    assert json.loads(serving_body(body, content_type, "instances")) == {"instances": instances}


def test_a_long_body_is_not_mended_line_by_line():
    with pytest.raises(InvalidRequestError, match="Line 524289 has an integer beyond 64 bits"):
        serving_body(b"1\n" * 2**19 + b"100000000000000000000", LINES, "instances")


def test_what_names_its_inputs_goes_on_as_it_is():
    for body in (b'{"inputs": {"x": 1}}', b' {"signature_name": "s", "examples" : []}', b'{"instances": broken'):
        assert serving_body(body, JSON, "instances") is body


def test_classification_has_examples():
    assert serving_body(b"[[1]]", JSON, "examples") == b'{"examples":[[1]]}'


@pytest.mark.parametrize("content_type", [JSON, LINES])
def test_what_json_has_no_number_for_is_left_to_tensorflow_serving(content_type):
    assert serving_body(b"[[NaN, -Infinity]]", content_type, "instances").count(b"[NaN, -Infinity]") == 1
    assert serving_body(b"nan,-inf", CSV, "instances") == b'{"instances":[[NaN,-Infinity]]}'


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (JSON, b'[[1]],"signature_name":"x"', "JSON Parse error"),
        (JSON, b'[[1]]}, {"instances": [[2]]', "JSON Parse error"),
        (JSON, b'1,"signature_name":"x"', "JSON Parse error"),
        (JSON, b"[[1]", "JSON Parse error"),
        (JSON, b"[[1]]]", "JSON Parse error"),
        (JSON, b"[1, 2]\n[3, 4]", "JSON Parse error"),
        (JSON, b"[[NaN]],NaN", "JSON Parse error"),
        (JSON, b"", "JSON Parse error: The document is empty"),
        (JSON, b"[\xff]", "JSON Parse error"),
        (JSON, b"[" * 100_000, "JSON Parse error"),
        (LINES, b"[1, 2]\n[3, 4", "Line 2: JSON Parse error"),
        (LINES, b"[1\n2]", "Line 1: JSON Parse error"),
        (LINES, b"[1]\n\n1,2\n[3\n4]", "Line 3: JSON Parse error"),
        (LINES, b'"a\nb"', "Line 1: JSON Parse error"),
        (LINES, b'[1]],"signature_name":["x"', "Line 1: JSON Parse error"),
        (CSV, b'"', "The body is not valid CSV"),
        (CSV, b"1,2\n3", "The rows of the CSV differ"),
    ],
)
def test_what_is_not_what_its_type_says(content_type, body, message):
    with pytest.raises(InvalidRequestError) as caught:
        serving_body(body, content_type, "instances")
    assert caught.value.message.startswith(message)


@given(
    st.sampled_from([JSON, LINES, CSV]),
    st.text(alphabet='[]{}",:\n 01aeN.-', max_size=30).map(lambda text: text.encode()),
)
def test_nothing_but_instances_is_ever_made(content_type, body):
    try:
        made = serving_body(body, content_type, "instances")
    except InvalidRequestError:
        return
    if made is not body:
        assert list(json.loads(made)) == ["instances"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "image/png", "x" * 5000])
def test_other_media_types(content_type):
    with pytest.raises(UnsupportedMediaTypeError, match="text/csv"):
        serving_body(b"", content_type, "instances")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (LINES, b"1\n" * 50_000),
        (CSV, b"1\n" * 50_000),
        (CSV, b"a,b\n" * 25_000),
        (CSV, b"1.5," * 25_000 + b"1"),
    ],
)
def test_a_body_of_many_short_rows_does_not_take_many_times_its_memory(content_type, body):
    tracemalloc.start()
    try:
        serving_body(body, content_type, "instances")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * len(body)
