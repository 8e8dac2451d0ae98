import pytest

from tensorhost.core.errors import InvalidRequestError
from tensorhost.frontends.native.fields import optional_count, optional_text, optional_timeout_s, required_text


@pytest.mark.parametrize("fields", [{}, {"k": None}])
def test_absent_and_null_are_none(fields):
    assert optional_text(fields, "k") is None
    assert optional_count(fields, "k") is None
    assert optional_timeout_s({"timeoutMs": fields.get("k")}) is None


def test_values():
    assert required_text({"k": "v"}, "k") == "v"
    assert optional_text({"k": ""}, "k") == ""
    assert optional_count({"k": 1}, "k") == 1
    assert optional_timeout_s({"timeoutMs": 1500}) == 1.5
    assert optional_timeout_s({"timeoutMs": 0.5}) == 0.0005
    assert optional_timeout_s({"timeoutMs": 86_400_000}) == 86_400


@pytest.mark.parametrize("value", [None, ""])
def test_required_text_is_there(value):
    with pytest.raises(InvalidRequestError, match="'k' is missing") as caught:
        required_text({"k": value}, "k")
    assert caught.value.details == {"field": "k"}


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}])
def test_text_is_a_string(value):
    with pytest.raises(InvalidRequestError, match="'k' must be a string"):
        optional_text({"k": value}, "k")


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, True, "1", [], {}])
def test_a_count_is_a_whole_number_of_at_least_one(value):
    with pytest.raises(InvalidRequestError, match="'k' must be a whole number of at least 1"):
        optional_count({"k": value}, "k")


@pytest.mark.parametrize("value", [0, -1, -0.0, True, "5", [], {}, 86_400_001, 1e300, float("nan"), float("inf")])
def test_a_timeout_is_a_number_within_bounds(value):
    with pytest.raises(InvalidRequestError, match="'timeoutMs' must be a number of milliseconds") as caught:
        optional_timeout_s({"timeoutMs": value})
    assert caught.value.details["field"] == "timeoutMs"
    assert "object at" not in caught.value.message


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, "a boolean"), ([], "a list"), ({}, "an object"), (7, "7"), (10**99, "1" + "0" * 31)],
)
def test_the_message_says_what_came_in_the_words_of_json(value, said):
    with pytest.raises(InvalidRequestError) as caught:
        optional_text({"k": value}, "k")
    assert caught.value.details["actual"] == said
