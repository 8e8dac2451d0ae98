"""Undeclared shapes: every runtime answers them or refuses them as the client's fault, and goes on."""

from __future__ import annotations

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import CanonicalCode, TensorhostError

SHAPES = ((), (2, 0), (1,) * 9)


def odd(spec, shape):
    """An array of the dtype of ``spec`` in another shape."""
    if spec.dtype is DType.STRING:
        return np.full(shape, b"a", object)
    return np.ones(shape, spec.dtype.numpy)


def refusals(runtime, name, signature, inputs):
    """What was raised, of every input given in every odd shape."""
    for shape in SHAPES:
        for changed, spec in signature.inputs.items():
            try:
                found = runtime.run_loosely(name, inputs | {changed: odd(spec, shape)})
                assert found.keys() == signature.outputs.keys()
            except TensorhostError as error:
                yield error


def test_odd_shapes_are_answered_or_refused_and_the_next_call_is_as_ever(bench, case):
    runtime = bench.runtime(case)
    for name, signature in runtime.signatures.items():
        inputs = case.inputs(name, max(case.rows[0], 1))
        before = runtime.run(name, inputs)
        for error in refusals(runtime, name, signature, inputs):
            assert error.canonical is CanonicalCode.INVALID_ARGUMENT, (name, error, error.log_detail)
        after = runtime.run(name, inputs)
        for output, array in before.items():
            if array.dtype.kind == "f":
                np.testing.assert_array_equal(after[output], array)
