"""Parameters with a meaning are read and checked; others come back."""

import pytest

from tensorhost.codecs.oip import RequestedOutput
from tensorhost.core.errors import InvalidRequestError
from tensorhost.frontends.oip.parameters import NO_PARAMETERS, OutputWish, read_output, read_parameters
from tensorhost.frontends.oip.shared_tensors import SharedPart


def test_a_request_without_parameters_has_none():
    assert read_parameters({}) is NO_PARAMETERS


def test_reserved_parameters_are_not_repeated():
    given = {
        "timeout": 5000,
        "priority": 1,
        "binary_data_output": True,
        "sequence_id": 7,
        "sequence_start": True,
        "sequence_end": False,
        "headers": "x",
        "triton_enable_empty_final_response": True,
        "mine": 1.5,
        "yours": "text",
    }
    read = read_parameters(given)
    assert (read.timeout_us, read.priority, read.binary_data_output) == (5000, 1, True)
    assert read.echoed == {"mine": 1.5, "yours": "text"}


@pytest.mark.parametrize("value", [-1, 1.5, True, "soon", "", "-1", "٣", 2**64, "9" * 30])
@pytest.mark.parametrize("name", ["timeout", "priority"])
def test_numbers_are_whole_and_not_negative(name, value):
    with pytest.raises(InvalidRequestError, match=f"parameter '{name}' must be a whole number"):
        read_parameters({name: value})


def test_numbers_may_come_as_text():
    assert read_parameters({"timeout": "250"}).timeout_us == 250


def test_binary_data_output_is_true_or_false():
    with pytest.raises(InvalidRequestError, match="'binary_data_output' must be true or false"):
        read_parameters({"binary_data_output": 1})


def test_what_is_wanted_of_an_output():
    assert read_output(RequestedOutput("y")) == OutputWish("y")
    assert read_output(RequestedOutput("y", {"binary_data": False, "classification": 3})) == OutputWish("y", 3, False)
    where = {"shared_memory_region": "r", "shared_memory_byte_size": 64, "shared_memory_offset": 8}
    assert read_output(RequestedOutput("y", where)).shared == SharedPart("r", 8, 64)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"binary_data": "yes"}, "binary_data"),
        ({"classification": -1}, "classification"),
        ({"shared_memory_region": 3}, "shared_memory_region"),
        ({"shared_memory_region": ""}, "shared_memory_region"),
        ({"shared_memory_region": "r"}, "shared_memory_byte_size"),
        ({"shared_memory_region": "r", "shared_memory_byte_size": -1}, "shared_memory_byte_size"),
        ({"shared_memory_region": "r", "shared_memory_byte_size": 4, "shared_memory_offset": 2**63}, "offset"),
        ({"shared_memory_region": "r", "shared_memory_byte_size": 4, "classification": 1}, "both .* 'classification'"),
        ({"shared_memory_region": "r", "shared_memory_byte_size": 4, "binary_data": True}, "both .* 'binary_data'"),
    ],
)
def test_a_wrong_parameter_of_an_output_is_named(parameters, named):
    with pytest.raises(InvalidRequestError, match=named):
        read_output(RequestedOutput("y", parameters))
