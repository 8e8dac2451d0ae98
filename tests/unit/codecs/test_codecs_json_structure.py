import json
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.json_structure import (
    has_at_most_lists,
    iter_objects,
    structure_of,
    structure_of_shape,
    structure_of_value,
)

hostile_text = st.text(st.sampled_from('[]{},:"\\/ nu0a\n\u00e9'), max_size=12)
values = st.recursive(
    st.none() | st.integers() | hostile_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile_text, inner, max_size=4),
    max_leaves=15,
)
layouts = st.sampled_from([None, 1, 3, "\t\n"])


@given(values, layouts, st.booleans())
def test_structure_of_text_equals_structure_of_value(value: object, indent: str | int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert structure_of(body) == structure_of_value(value)


@given(st.lists(st.dictionaries(hostile_text, values, max_size=3), max_size=4))
def test_objects_of_a_list(items: list[dict[str, object]]) -> None:
    structure = structure_of_value({"batch": items})
    assert list(iter_objects(structure, 3)) == [structure_of_value(item) for item in items]


def test_structure_of_shape_by_hand() -> None:
    assert structure_of_shape(()) == b""
    assert structure_of_shape((2, 3)) == b"[[,,],[,,]]"
    assert structure_of_shape((2,), b"{:}") == b"[{:},{:}]"


def test_structure_of_every_small_shape() -> None:
    for rank in range(4):
        for shape in product(range(4), repeat=rank):
            nested: object = 0
            for size in reversed(shape):
                nested = [nested] * size
            expected = structure_of_value(nested)
            visible = shape[: shape.index(0) + 1] if 0 in shape else shape
            assert structure_of_shape(visible) == expected


def test_lists_are_counted_up_to_the_limit() -> None:
    assert has_at_most_lists(b'{"a":1}', 0)
    assert not has_at_most_lists(b"[]", 0)
    assert has_at_most_lists(b"[[1],[2]]", 3)
    assert not has_at_most_lists(b"[[1],[2]]", 2)
    assert not has_at_most_lists(b'["["]', 1)


@given(values, layouts, st.booleans(), st.integers(0, 6))
def test_no_more_lists_than_said_and_strings_only_add(
    value: object, indent: str | int | None, ascii_only: bool, lists: int
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    exact = structure_of_value(value).count(b"[")
    assert has_at_most_lists(structure_of(body), lists) == (exact <= lists)
    assert has_at_most_lists(body, lists) == (body.count(b"[") <= lists)
