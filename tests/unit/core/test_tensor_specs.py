import pickle

import numpy as np
import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputShapeError, InvalidInputTypeError
from tensorhost.core.tensors import TensorSpec


@pytest.mark.parametrize(
    ("wanted", "shape", "admitted"),
    [
        ((None, 3), (5, 3), True),
        ((None, 3), [5, 3], True),
        ((None, 3), (5, 4), False),
        ((None, 3), (3,), False),
        ((None, 3), (), False),
        ((None,), (5,), True),
        ((None,), (), False),
        ((None, None, 3), (1, 9, 3), True),
        ((None, None, 3), (1, 9), False),
        ((2, 3), (2, 3), True),
        ((2, 3), (3, 3), False),
        ((), (), True),
        ((), (1,), False),
        (None, (), True),
        (None, (4, 5), True),
    ],
)
def test_a_shape_is_admitted_when_every_dimension_is_free_or_equal(wanted, shape, admitted):
    assert TensorSpec("x", DType.FLOAT32, wanted).admits(shape) is admitted


@pytest.mark.parametrize(
    ("shape", "batchable"), [((None, 3), True), ((None,), True), ((1, None), False), ((), False), (None, False)]
)
def test_a_spec_is_batchable_when_its_first_dimension_is_free(shape, batchable):
    assert TensorSpec("x", DType.FLOAT32, shape).is_batchable is batchable


def test_what_a_spec_works_out_is_no_part_of_its_identity():
    spec = TensorSpec("x", DType.FLOAT32, (None, 3))
    assert spec == pickle.loads(pickle.dumps(spec))
    assert hash(spec) == hash(TensorSpec("x", DType.FLOAT32, (None, 3)))
    assert "is_batchable" not in repr(spec)


def test_an_array_of_the_wrong_type_or_shape_is_refused():
    spec = TensorSpec("x", DType.FLOAT32, (None, 3))
    spec.check(np.zeros((2, 3), np.float32))
    with pytest.raises(InvalidInputTypeError):
        spec.check(np.zeros((2, 3), np.float64))
    with pytest.raises(InvalidInputTypeError):
        spec.check(np.zeros((2, 3), ">f4"))
    with pytest.raises(InvalidInputShapeError):
        spec.check(np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("dtype", DType)
def test_every_dtype_knows_its_kind_and_its_numpy_type(dtype):
    kinds = [dtype.is_floating, dtype.is_integer, dtype.is_complex, dtype.is_string, dtype is DType.BOOL]
    assert sum(kinds) == 1
    assert DType.of(np.zeros(1, dtype.numpy)) is dtype
