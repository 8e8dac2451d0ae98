import json
from typing import Any

import pytest

from tensorhost.codecs import JsonObject
from tensorhost.codecs.examples import MOST_CONTEXT_BYTES, encode_example, input_examples, with_context
from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError

Example: Any = message_class("tensorflow.Example")
Input: Any = message_class("tensorflow.serving.Input")


def features(data: bytes) -> dict[str, tuple[str | None, list[Any]]]:
    """Kind and values of each feature of a serialized example."""
    found = {}
    for name, feature in Example.FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return found


@pytest.mark.parametrize("as_parsed", [False, True])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, ("int64_list", [1])),
        (-(2**63), ("int64_list", [-(2**63)])),
        ([True, 2, False], ("int64_list", [1, 2, 0])),
        (2.0, ("float_list", [2.0])),
        ([1.5, -0.25], ("float_list", [1.5, -0.25])),
        (1e300, ("float_list", [float("inf")])),
        ("héllo", ("bytes_list", ["héllo".encode()])),
        ({"b64": "AP8="}, ("bytes_list", [b"\x00\xff"])),
        ({"b64": "A P8\n"}, ("bytes_list", [b"\x00\xff"])),
        (["a", {"b64": "Yg"}], ("bytes_list", [b"a", b"b"])),
        ([], (None, [])),
    ],
)
def test_the_kind_of_a_value_decides_the_kind_of_the_feature(value, expected, as_parsed):
    row: Any = {"x": value}
    if as_parsed:
        row = JsonObject.parse(json.dumps({"row": row}).encode()).element("row")
    assert features(encode_example(row)) == {"x": expected}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "Example must be JSON object but got JSON Array"),
        (None, "Example must be JSON object but got JSON Null"),
        ({"x": None}, "Feature: x has element with unexpected JSON type: Null"),
        ({"x": [1, None]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"x": [[1]]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"x": {"b64": 1}}, "Feature: x has element with unexpected JSON type: Object"),
        ({"x": {"b64": "", "c": 1}}, "Feature: x has element with unexpected JSON type: Object"),
        ({"x": {}}, "Feature: x has element with unexpected JSON type: Object"),
        ({"x": [1, 2.5]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"x": [2.5, 1]}, "Unexpected element type in feature: x expecting type: float"),
        ({"x": [{"b64": "AA=="}, 1]}, "Unexpected element type in feature: x expecting type: bytes"),
        ({"x": 2**63}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"x": {"b64": "!!!!"}}, "Unable to base64 decode"),
        ({"x": {"b64": "A"}}, "Unable to base64 decode"),
        ({"x": {"b64": "é"}}, "Unable to base64 decode"),
    ],
)
def test_what_cannot_be_an_example_is_refused(row, message):
    with pytest.raises(InvalidRequestError) as caught:
        encode_example(row)
    assert caught.value.message == message


def test_a_context_lends_its_features_and_yields_to_the_examples_own():
    context = encode_example({"country": "de", "hour": 9})
    rows = [encode_example({"hour": 10}), encode_example({})]
    merged = [features(row) for row in with_context(context, rows)]
    assert merged[0] == {"country": ("bytes_list", [b"de"]), "hour": ("int64_list", [10])}
    assert merged[1] == {"country": ("bytes_list", [b"de"]), "hour": ("int64_list", [9])}


def test_examples_are_taken_out_of_an_input_unread():
    rows = [Example.FromString(encode_example({"x": number})) for number in (1, 2)]
    plain = Input(example_list={"examples": rows})
    assert input_examples(decode("tensorhost.wire.Input", plain.SerializeToString())) == [
        row.SerializeToString() for row in rows
    ]
    shared = Input(example_list_with_context={"examples": rows, "context": encode_context()})
    given = input_examples(decode("tensorhost.wire.Input", shared.SerializeToString()))
    assert [features(row) for row in given] == [
        {"x": ("int64_list", [number]), "c": ("float_list", [0.5])} for number in (1, 2)
    ]
    assert input_examples(decode("tensorhost.wire.Input", b"")) == []


def encode_context() -> Any:
    return Example.FromString(encode_example({"c": 0.5}))


def test_a_context_that_would_be_copied_too_often_is_refused():
    context = bytes(2**20)
    most = MOST_CONTEXT_BYTES // len(context)
    with pytest.raises(PayloadTooLargeError, match=f"for {most + 1} examples"):
        with_context(context, [b""] * (most + 1))
    assert len(with_context(context, [b""] * 3)) == 3
