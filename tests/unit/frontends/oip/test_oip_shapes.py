"""The dimension that clients see where a model has none besides that of rows."""

import numpy as np
import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.oip.shapes import as_it_is_shown, as_the_model_has_it, is_admitted, shown_shape


def spec(*shape):
    return TensorSpec("x", DType.INT32, shape)


@pytest.mark.parametrize(
    ("shape", "by_row", "shown"),
    [
        ((None,), True, (None, 1)),
        ((None,), False, (None,)),
        ((4,), False, (4,)),
        ((), False, (1,)),
        ((None, 4), True, (None, 4)),
        ((None, 1), True, (None, 1)),
        (None, True, None),
        (None, False, None),
    ],
)
def test_what_is_shown(shape, by_row, shown):
    assert shown_shape(shape, by_row=by_row) == shown


@pytest.mark.parametrize(
    ("wanted", "by_row", "given", "is_taken"),
    [
        ((None,), True, (3,), True),
        ((None,), True, (3, 1), True),
        ((None,), True, (0, 1), True),
        ((None,), True, (3, 2), False),
        ((None,), True, (3, 1, 1), False),
        ((None,), True, (), False),
        ((None,), False, (3, 1), False),
        ((), False, (), True),
        ((), False, (1,), True),
        ((), False, (2,), False),
        ((None, 4), True, (3, 4), True),
        ((None, 4), True, (3, 4, 1), False),
        ((None, None), True, (3, 4, 1), False),
    ],
)
def test_inputs_come_as_they_are_shown_or_as_the_model_has_them(wanted, by_row, given, is_taken):
    assert is_admitted(spec(*wanted), given, by_row=by_row) is is_taken
    if is_taken:
        array = np.arange(np.prod(given), dtype=np.int32).reshape(given)
        fed = as_the_model_has_it(spec(*wanted), array)
        assert spec(*wanted).admits(fed.shape)
        assert fed.ravel().tolist() == array.ravel().tolist()


def test_any_rank_is_admitted_and_left_alone():
    any_rank = TensorSpec("x", DType.INT32, None)
    array = np.zeros((3, 1), np.int32)
    assert is_admitted(any_rank, array.shape, by_row=True)
    assert as_the_model_has_it(any_rank, array) is array


def test_what_is_no_tensor_of_the_models_is_left_alone():
    # Encoded images, one text each, where the model has four dimensions: the pipeline says what is wrong with them.
    image = spec(None, 8, 8, 3)
    for texts in (np.empty(2, object), np.empty((1, 1, 1, 1, 2), object)):
        assert as_the_model_has_it(image, texts) is texts


@pytest.mark.parametrize(
    ("shape", "by_row", "answered"),
    [((3,), True, (3, 1)), ((3,), False, (3,)), ((), False, (1,)), ((3, 4), True, (3, 4)), ((0,), True, (0, 1))],
)
def test_answers_are_as_they_are_shown(shape, by_row, answered):
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    shown = as_it_is_shown(array, by_row=by_row)
    assert (shown.shape, shown.ravel().tolist()) == (answered, array.ravel().tolist())
