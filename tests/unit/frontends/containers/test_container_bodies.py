"""Bodies of SageMaker's clients, and what they become."""

import json
import math

import pytest

from tensorhost.core.errors import InvalidRequestError, UnsupportedMediaTypeError
from tensorhost.frontends.containers.bodies import serving_body

INSTANCES = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}'),
        ("", b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}'),
        ("application/json", b" \n[ [1.0, 2.0], [3.0, 4.0]]"),
        ("application/jsonlines", b"[1.0, 2.0]\n[3.0, 4.0]\n"),
        ("application/jsonlines", b"[1.0, 2.0]\r\n\r\n[3.0, 4.0]"),
        ("text/csv", b"1.0,2.0\n3.0,4.0\n"),
        ("text/csv", b"\xef\xbb\xbf1.0, 2e0\r\n3.0,4.0"),
        ("text/csv", b'"1.0","2.0"\n\n3.0,4.0'),
    ],
)
def test_different_ways_of_asking_the_same(content_type, body):
    assert json.loads(serving_body(body, content_type, "instances")) == {"instances": INSTANCES}


@pytest.mark.parametrize(
    ("content_type", "body", "instances"),
    [
        ("application/json", b"[1.0, 2.0]", [[1.0, 2.0]]),
        ("application/json", b'[{"x": 1}]', [{"x": 1}]),
        ("application/json", b"[]", [[]]),
        ("application/jsonlines", b'{"x": 1}\n{"x": 2}', [{"x": 1}, {"x": 2}]),
        ("application/jsonlines", b"", []),
        ("text/csv", b"1,2\n3,4.5", [[1, 2], [3.0, 4.5]]),
        ("text/csv", b'red,"a,b"\n"say ""no""",1', [["red", "a,b"], ['say "no"', "1"]]),
        ("text/csv", b"", []),
        ("text/csv", b"9999999999999999999", [[1e19]]),
    ],
)
def test_instances(content_type, body, instances):
    made = json.loads(serving_body(body, content_type, "instances"))["instances"]
    assert made == instances
    assert [list(map(type, row)) for row in made if isinstance(row, list)] == [
        list(map(type, row)) for row in instances if isinstance(row, list)
    ]


def test_classification_has_examples():
    assert serving_body(b"[[1]]", "application/json", "examples") == b'{"examples":[[1]]}'


def test_what_json_has_no_number_for_is_written_as_tensorflow_serving_reads_it():
    body = serving_body(b"nan,-inf", "text/csv", "instances")
    assert body == b'{"instances": [[NaN, -Infinity]]}'.replace(b": ", b":", 1)
    assert math.isnan(json.loads(body)["instances"][0][0])


@pytest.mark.parametrize("body", [b"\xff\xfe", b'"never closed', b'"a"b,c', b"a" * 200_000 + b"\n"])
def test_csv_that_is_none(body):
    with pytest.raises(InvalidRequestError, match="not valid CSV"):
        serving_body(body, "text/csv", "instances")


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "image/png", "x" * 5000])
def test_other_media_types(content_type):
    with pytest.raises(UnsupportedMediaTypeError, match="text/csv"):
        serving_body(b"", content_type, "instances")
