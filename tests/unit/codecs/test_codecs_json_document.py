import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs import JsonObject
from tensorhost.codecs.json_document import MAX_MEMBERS, MAX_PLAIN_VALUES
from tensorhost.core.errors import InvalidRequestError


def refused(body: bytes) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        JsonObject.parse(body)
    return caught.value.message


def test_fields_are_plain_python_and_deferred_members_stay() -> None:
    body = b'{"modelName":"m","inputs":[[1]],"preprocessing":{"scale":255.0,"mean":[0.5,1]},"timeoutMs":7}'
    request = JsonObject.parse(body)
    fields = request.fields({"modelName", "preprocessing", "timeoutMs", "modelVersion"})
    assert fields == {"modelName": "m", "preprocessing": {"scale": 255.0, "mean": [0.5, 1]}, "timeoutMs": 7}
    assert request.keys == ("modelName", "inputs", "preprocessing", "timeoutMs")


def test_unknown_field_is_named_with_what_is_allowed() -> None:
    request = JsonObject.parse(b'{"modelName":"m","inputs":1,"modelNane":2}')
    with pytest.raises(InvalidRequestError, match=r"unknown field 'modelNane'.*'inputs', 'modelName'"):
        request.fields({"modelName"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"[1]", "must be a JSON object, not a list"),
        (b"null", "not null"),
        (b"3", "not the number 3"),
        (b'"x"', "not a string"),
        (b"true", "not true"),
        (b'{"a":1}x', r"line 1, column 8"),
        (b'{"a":1} {}', r"line 1, column"),
        (b'{\n"a":1,}', r"line 2, column"),
        (b'{"a"', "line 1"),
        (b'{"a":[1,2}', "line 1"),
        (b'{"a":NaN}', r"NaN and Infinity are not JSON numbers \(line 1, column 6\)"),
        (b'{"a":[1,Infinity]}', "NaN and Infinity"),
        (b'{"a":-Infinity}', "NaN and Infinity"),
        ('{"é€":NaN}'.encode(), "NaN and Infinity"),
        (b'{"a":1e400}', "infinity"),
        (b'{"a":01}', "leading zero"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"x\xff"}', "not valid UTF-8: byte 7"),
        (b'{"a":"\x01"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "nested too deeply"),
        (b'{"a":1,"a":2}', "the field 'a' twice"),
        (b'{"a":1,"\\u0061":2}', "the field 'a' twice"),
        (b'{"a\\u0000":1}', "NUL"),
    ],
)
def test_broken_bodies_are_explained(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        JsonObject.parse(body)


@pytest.mark.parametrize("fault", [b"01", b'"\\ud800"', b"1e400", b"}", b'"\x01"', b"nul"])
def test_large_broken_bodies_are_not_parsed_twice(fault: bytes) -> None:
    body = b'{"a":[' + b"1," * 2**19 + b"1]," + b'"b":' + fault + b"}"
    assert "not valid JSON" in refused(body)
    assert "line" not in refused(body)


def test_integers_beyond_64_bits_become_floats() -> None:
    body = b'{"a":100000000000000000000,"b":[-9223372036854775809],"c":9007199254740993}'
    assert JsonObject.parse(body).fields("abc") == {"a": 1e20, "b": [-9223372036854775809.0], "c": 9007199254740993}


def test_duplicates_beside_wide_integers_are_still_refused() -> None:
    assert "not valid JSON" in refused(b'{"a":100000000000000000000,"a":1}')


def test_nested_duplicates_are_refused() -> None:
    request = JsonObject.parse(b'{"a":{"b":{"c":1,"c":2}}}')
    with pytest.raises(InvalidRequestError, match="'a' has the field 'c' twice"):
        request.fields({"a"})


def test_field_limits() -> None:
    deep = JsonObject.parse(b'{"a":' + b"[" * 8 + b"]" * 8 + b"}", max_depth=8)
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        deep.fields({"a"})
    just = JsonObject.parse(b'{"a":' + b"[" * 7 + b"]" * 7 + b"}", max_depth=8)
    assert just.fields({"a"}) == {"a": [[[[[[[]]]]]]]}
    wide = JsonObject.parse(b'{"a":[' + b"1," * MAX_PLAIN_VALUES + b"1]}")
    with pytest.raises(InvalidRequestError, match="more than"):
        wide.fields({"a"})
    many = json.dumps({f"k{index}": 0 for index in range(MAX_MEMBERS + 1)}).encode()
    assert "more than" in refused(many)


def test_long_names_do_not_make_long_messages() -> None:
    request = JsonObject.parse(json.dumps({"x" * 10_000: 1}).encode())
    with pytest.raises(InvalidRequestError) as caught:
        request.fields({"a"})
    assert len(caught.value.message) < 200


def test_element_of_a_missing_key() -> None:
    with pytest.raises(KeyError):
        JsonObject.parse(b'{"a":1}').element("b")


def test_items_in_order_with_bad_ones_in_place() -> None:
    body = b'{"m":{"x":[1]},"batch":[{"inputs":1},3,{"a":1,"a":2},[{"inputs":9}],{"inputs":2,"p":{}}],"n":1}'
    items = list(JsonObject.parse(body).items("batch", max_items=5))
    good = [items[0], items[4]]
    assert [item.fields({"inputs", "p"}) for item in good if isinstance(item, JsonObject)] == [
        {"inputs": 1},
        {"inputs": 2, "p": {}},
    ]
    bad = [str(item) for item in items[1:4]]
    assert bad[0] == "'batch[1]' must be an object, not the number 3."
    assert bad[1] == "'batch[2]' has the field 'a' twice."
    assert bad[2] == "'batch[3]' must be an object, not a list."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "'batch' is missing"),
        (b'{"batch":{}}', "must be a list of objects, not an object"),
        (b'{"batch":null}', "must be a list of objects, not null"),
        (b'{"batch":[{},{},{}]}', "3 items; at most 2"),
    ],
)
def test_items_that_are_no_list_of_objects(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        JsonObject.parse(body).items("batch", max_items=2)


def test_documents_live_side_by_side_in_many_threads() -> None:
    kept: list[JsonObject] = []

    def parse(number: int) -> None:
        for _ in range(200):
            request = JsonObject.parse(b'{"a":[%d],"b":{"c":%d}}' % (number, number))
            kept.append(request)
            assert request.fields({"a", "b"}) == {"a": [number], "b": {"c": number}}

    threads = [threading.Thread(target=parse, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(request.plain("a")[0] for request in kept) == 200 * (0 + 1 + 2 + 3)


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    try:
        request = JsonObject.parse(body)
    except InvalidRequestError:
        return
    assert set(request.keys) == json.loads(body).keys()


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(plain, st.booleans())
def test_plain_values_equal_those_of_json(value: object, ascii_only: bool) -> None:
    body = json.dumps({"a": value}, ensure_ascii=ascii_only).encode()
    assert JsonObject.parse(body).fields({"a"}) == json.loads(body)
