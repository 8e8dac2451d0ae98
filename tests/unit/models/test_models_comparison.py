"""Two runtimes on the same inputs: what counts as equal, and what is said when they are not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.comparison import BATCH_ROWS, agree, compare, difference_of

SIGNATURE = Signature(
    "serving_default",
    {"x": TensorSpec("x", DType.FLOAT32, (None, 2))},
    {"y": TensorSpec("y", DType.FLOAT32, (None, 2))},
)


def runtime(answer, path="frozen graph"):
    """A stand-in that keeps the inputs it was given."""
    seen = []

    def run(name, inputs):
        seen.append(inputs)
        out = answer(**inputs)
        return out if isinstance(out, dict) else {"y": out}

    return SimpleNamespace(run=run, call_path=lambda name: path, seen=seen)


def same(x):
    return x * 2


def test_equal_runtimes_are_equal_at_every_batch_size():
    first, second = runtime(same), runtime(same)
    found = compare(first, second, SIGNATURE, (), 1e-5)
    assert (found.signature, found.calls, found.note) == ("serving_default", len(BATCH_ROWS), "")
    assert found.outputs["y"].largest == 0.0
    assert 0 < found.outputs["y"].scale <= 2.0
    assert [len(inputs["x"]) for inputs in first.seen] == [1, *BATCH_ROWS]
    for one, other in zip(first.seen, second.seen, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
    assert not np.array_equal(first.seen[1]["x"], first.seen[2]["x"][:1])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda x: x * 2.1, r"output 'y' is off by up to 0\.\d+ where its largest value is"),
        (lambda x: {"z": x}, "output 'y' is missing"),
        (lambda x: (x * 2)[:, :1], r"output 'y' is float32 \[\d, 2\] in one and float32 \[\d, 1\] in the other"),
        (lambda x: (x * 2).astype(np.float64), "is float32 .* and float64"),
        (lambda x: np.full_like(x, np.nan), "off by"),
        (lambda x: x * 2 if len(x) < 8 else x, "off by"),
    ],
)
def test_a_difference_is_an_error_that_says_where(other, message):
    with pytest.raises(ModelFailedError, match=message) as caught:
        compare(runtime(same), runtime(other), SIGNATURE, (), 1e-5)
    assert caught.value.message.startswith("The result differs from the model in signature 'serving_default': ")


def test_a_result_that_refuses_what_the_model_takes():
    def refuse(x):
        raise InvalidRequestError("not this one")

    with pytest.raises(ModelFailedError, match="one answers and the other says: not this one"):
        compare(runtime(same), runtime(refuse), SIGNATURE, (), 1e-5)


def test_a_model_that_refuses_everything_made_up_is_not_compared():
    def refuse(x):
        raise InvalidRequestError("only even numbers")

    found = compare(runtime(refuse), runtime(same), SIGNATURE, (), 1e-5)
    assert found.calls == 0
    assert "only even numbers" in found.note


def test_examples_take_the_place_of_made_up_inputs():
    first = runtime(same)
    examples = [{"x": np.float32([[7, 8], [9, 10]])}]
    assert compare(first, runtime(same), SIGNATURE, examples, 1e-5).calls == len(BATCH_ROWS)
    assert [len(inputs["x"]) for inputs in first.seen] == list(BATCH_ROWS)
    assert first.seen[0]["x"].tolist() == [[7, 8]]
    assert set(first.seen[2]["x"].ravel().tolist()) == {7, 8, 9, 10}


def counting():
    calls = [0]

    def answer(x):
        calls[0] += 1
        return x + calls[0]

    return answer


def test_models_that_keep_state_see_the_same_calls():
    stateful = "graph with variables"
    first, second = runtime(counting(), stateful), runtime(counting(), stateful)
    assert compare(first, second, SIGNATURE, (), 1e-5).note == ""
    behind = runtime(lambda x: x, stateful)
    with pytest.raises(ModelFailedError, match="off by"):
        compare(runtime(counting(), stateful), behind, SIGNATURE, (), 1e-5)


def test_a_model_that_rolls_dice_is_compared_by_shape_and_said_to():
    rng = np.random.default_rng(0)
    first, second = (runtime(lambda x: rng.random(x.shape, np.float32)) for _ in range(2))
    found = compare(first, second, SIGNATURE, (), 1e-5)
    assert found.calls == len(BATCH_ROWS)
    assert "another answer each time" in found.note
    with pytest.raises(ModelFailedError, match="in one and"):
        compare(first, runtime(lambda x: x[:, :1]), SIGNATURE, (), 1e-5)


def test_a_signature_without_free_rows_is_compared_on_as_many_inputs():
    fixed = Signature("f", {"x": TensorSpec("x", DType.FLOAT32, (2,))}, {"y": TensorSpec("y", DType.FLOAT32, (2,))})
    first = runtime(same)
    assert compare(first, runtime(same), fixed, (), 1e-5).calls == len(BATCH_ROWS)
    assert {inputs["x"].shape for inputs in first.seen} == {(2,)}
    nothing = Signature("n", {}, {"y": TensorSpec("y", DType.FLOAT32, ())})
    constant = runtime(lambda: np.float32(3).reshape(()))
    assert compare(constant, constant, nothing, (), 1e-5).calls == len(BATCH_ROWS)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ([b"a", b"b"], [b"a", b"b"], True),
        ([b"a", b"b"], [b"a", b"c"], False),
        ([1, 2], [1, 3], False),
        ([True], [False], False),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], True),
        ([np.inf, 1.0], [-np.inf, 1.0], False),
        ([0.0, 1000.0], [0.0005, 1000.0], True),
        ([0.0, 1.0], [0.1, 1.0], False),
        ([1 + 1j], [1 + 1.5j], False),
        ([], [], True),
    ],
)
def test_what_counts_as_equal(first, second, equal):
    one, other = np.array(first), np.array(second)
    if one.dtype.kind == "S":
        one, other = one.astype(object), other.astype(object)
    assert agree(one, other, 1e-5) is equal


@given(arrays(np.float32, 6, elements=st.floats(-1e6, 1e6, width=32)), st.just(0.0) | st.floats(1e-12, 0.5))
def test_noise_within_the_tolerance_is_equal_and_twice_of_it_on_the_largest_value_is_not(values, tolerance):
    # A tolerance under 1e-12 would be lost in the rounding of the sums made here.
    scale = float(np.abs(values).max())
    noisy = values.astype(np.float64) + tolerance * scale * 0.99
    assert agree(values.astype(np.float64), noisy, tolerance)
    assert difference_of(values.astype(np.float64), noisy).largest == pytest.approx(tolerance * scale * 0.99, abs=1e-6)
    far = values.astype(np.float64) + (2.5 * tolerance + 1e-3) * scale
    assert agree(values.astype(np.float64), far, tolerance) is (scale == 0)
