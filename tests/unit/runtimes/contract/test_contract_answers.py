"""Calls: the right numbers, under the right names, in arrays that are the caller's to keep."""

from __future__ import annotations

import numpy as np
import pytest
from contract_case import assert_equal, read_spec

from tensorhost.core.errors import InvalidRequestError, ModelFailedError
from tensorhost.core.tensors import TensorSpec


def check(case, signature, answer, expected):
    assert list(answer) == list(case.promises[signature].outputs)
    for name, text in case.promises[signature].outputs.items():
        dtype, shape = read_spec(text)
        assert answer[name].dtype == dtype.numpy
        assert TensorSpec(name, dtype, shape).admits(answer[name].shape)
        assert_equal(answer[name], expected[name], case.tolerance)


def test_answers_are_those_of_the_formats_own_runtime_for_every_number_of_rows(bench, case):
    runtime = bench.runtime(case)
    for signature in case.promises:
        for seed, rows in enumerate(case.rows):
            inputs = case.inputs(signature, rows, seed)
            check(case, signature, runtime.run(signature, inputs), bench.expected(case, signature, inputs))


def test_inputs_come_by_name_whatever_their_order(bench, case):
    inputs = case.inputs(case.default, case.rows[-1], 5)
    turned = dict(reversed(inputs.items()))
    expected = bench.expected(case, case.default, inputs)
    check(case, case.default, bench.runtime(case).run(case.default, turned), expected)


def test_no_rows_give_no_rows_or_a_clear_refusal(bench, case):
    """Some kernels of TensorFlow refuse an empty batch; the engine answers those without a call."""
    runtime = bench.runtime(case)
    for signature, promise in case.promises.items():
        if not runtime.signatures[signature].may_batch:
            continue
        try:
            answer = runtime.run(signature, case.inputs(signature, 0))
        except (InvalidRequestError, ModelFailedError):
            continue
        for name, text in promise.outputs.items():
            dtype, shape = read_spec(text)
            assert answer[name].dtype == dtype.numpy
            assert TensorSpec(name, dtype, shape).admits(answer[name].shape)
            assert answer[name].size == 0
    inputs = case.inputs(case.default, case.rows[0])
    check(case, case.default, runtime.run(case.default, inputs), bench.expected(case, case.default, inputs))


def test_outputs_are_read_only_and_share_no_memory_with_inputs(bench, case):
    runtime = bench.runtime(case)
    for signature in case.promises:
        inputs = case.inputs(signature, case.rows[-1])
        before = {name: array.copy() for name, array in inputs.items()}
        answer = runtime.run(signature, inputs)
        for array in answer.values():
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                array[...] = array
            assert not any(np.may_share_memory(array, given) for given in inputs.values())
        for name, array in inputs.items():
            assert array.flags.writeable
            assert array.tobytes() == before[name].tobytes() or array.tolist() == before[name].tolist()


def test_an_answer_is_not_overwritten_by_later_calls(bench, case):
    runtime = bench.runtime(case)
    first = runtime.run(case.default, case.inputs(case.default, case.rows[-1], 1))
    kept = {name: array.copy() for name, array in first.items()}
    for seed in range(2, 6):
        runtime.run(case.default, case.inputs(case.default, case.rows[seed % len(case.rows)], seed))
    for name, array in first.items():
        assert array.tolist() == kept[name].tolist()


def test_answers_stay_valid_after_the_model_is_closed(bench, case):
    inputs = {signature: case.inputs(signature, case.rows[-1], 3) for signature in case.promises}
    runtime = bench.load(case)
    answers = {signature: runtime.run(signature, given) for signature, given in inputs.items()}
    runtime.close()
    del runtime
    np.zeros(2**20).fill(7.0)  # something else to lie where the model was
    for signature, answer in answers.items():
        check(case, signature, answer, bench.expected(case, signature, inputs[signature]))


def unaligned(array):
    raw = np.empty(array.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(array.tobytes(), np.uint8)
    return raw[1:].view(array.dtype).reshape(array.shape)


def every_other(array):
    wide = np.repeat(np.ascontiguousarray(array), 2, axis=-1) if array.ndim else array
    return wide[..., ::2] if array.ndim else wide


def backwards(array):
    return np.ascontiguousarray(array[::-1])[::-1] if array.ndim else array


def column_major(array):
    return np.asfortranarray(array).reshape(array.shape, order="F")  # which gives a scalar a dimension


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def from_bytes(array):
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


@pytest.mark.parametrize("layout", [unaligned, every_other, backwards, column_major, read_only, from_bytes])
def test_answers_do_not_depend_on_how_inputs_lie_in_memory(bench, case, layout):
    runtime = bench.runtime(case)
    for signature in case.promises:
        inputs = case.inputs(signature, case.rows[-1], 9)
        plain = layout in (unaligned, from_bytes)
        laid_out = {name: array if plain and array.dtype.hasobject else layout(array) for name, array in inputs.items()}
        for name, array in laid_out.items():
            assert array.dtype == inputs[name].dtype
        check(case, signature, runtime.run(signature, laid_out), bench.expected(case, signature, inputs))


def test_tuning_changes_no_answer(bench, case):
    runtime = bench.tuned(case)
    for signature in case.promises:
        assert runtime.call_path(signature)
        for rows in case.rows:
            inputs = case.inputs(signature, rows, rows + 50)
            check(case, signature, runtime.run(signature, inputs), bench.expected(case, signature, inputs))
