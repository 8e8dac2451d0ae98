import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.telemetry.request_ids import accept_request_id, new_request_id


def test_new_ids_are_short_and_differ():
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{16}", value) for value in ids)


@pytest.mark.parametrize("value", [b"a", b"0f8fad5b-d9cb-469f-a165-70867728950e", b"a/b:c=+,@~._-", b"x" * 128])
def test_a_safe_id_is_kept(value):
    assert accept_request_id(value) == value.decode()


@pytest.mark.parametrize(
    "value",
    [None, b"", b"x" * 129, b"a b", b"a\n", b"\na", b"a\r\nX: y", b"a\x1b[31m", b'a"', b"a\x00", "é".encode(), b"<a>"],
)
def test_anything_else_is_replaced(value):
    assert re.fullmatch(r"[0-9a-f]{16}", accept_request_id(value))


@given(st.binary(max_size=200))
def test_the_result_is_always_safe(value):
    assert re.fullmatch(r"[!-~]{1,128}", accept_request_id(value))
