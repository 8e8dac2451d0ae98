"""How many threads a call uses: who decides, and that the answer does not depend on it."""

from __future__ import annotations

import numpy as np
import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.runtimes import LoadOptions, load
from tensorhost.runtimes.tensorflow import session as tensorflow_session
from tensorhost.runtimes.tensorflow.session import SessionCall

SIGNATURE = Signature(
    "s", {"x": TensorSpec("x", DType.FLOAT32, (None, 2))}, {"y": TensorSpec("y", DType.FLOAT32, (None, 2))}
)


def rows(count):
    return {"x": np.ones((count, 2), np.float32)}


@pytest.fixture
def call(monkeypatch):
    """A call whose threads pay off from eight rows up, and a list of the ways taken."""
    taken = []

    def way(name, factor):
        def run(x):
            taken.append(name)
            return [x * factor]

        return run

    monkeypatch.setattr(tensorflow_session, "_race", lambda _first, _second, feeds: (len(feeds[0]), 6.0))
    return SessionCall(SIGNATURE, way("threads", 2), "path", way("alone", 2)), taken


@pytest.mark.parametrize(("count", "way"), [(1, "alone"), (4, "alone"), (5, "threads"), (32, "threads")])
def test_calls_stay_in_one_thread_up_to_the_last_size_that_threads_do_not_serve_clearly_faster(call, count, way):
    session_call, taken = call
    session_call.tune([rows(1), rows(4), rows(8), rows(16)])
    assert session_call(rows(count))["y"].tolist() == [[2.0, 2.0]] * count
    assert taken == [way]
    assert session_call.describe() == "path, operations in one thread up to 4 rows"


def test_untuned_calls_use_the_threads_asked_for(call):
    session_call, taken = call
    session_call(rows(1))
    assert (taken, session_call.describe()) == (["threads"], "path")


def test_a_call_without_another_way_keeps_the_one_it_has():
    session_call = SessionCall(SIGNATURE, lambda x: [x], "path")
    session_call.tune([rows(1)])
    assert session_call(rows(3))["y"].shape == (3, 2)


def test_both_ways_of_a_real_model_give_the_same_answer(tf, models, monkeypatch):
    runtime = load(models / "half_plus_two", LoadOptions())
    signature = runtime.signatures["serving_default"]
    spec = next(iter(signature.inputs.values()))
    inputs = {spec.name: np.arange(6, dtype=np.float32).reshape([1 if size else -1 for size in spec.shape])}
    before = runtime.run("serving_default", inputs)
    monkeypatch.setattr(tensorflow_session, "_race", lambda *_: (1.0, 1.0))
    runtime.tune("serving_default", [inputs])
    assert "operations in one thread up to 6 rows" in runtime.call_path("serving_default")
    after = runtime.run("serving_default", inputs)
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])
    runtime.close()


def test_threads_chosen_by_the_operator_are_not_second_guessed(models):
    runtime = load(models / "half_plus_two", LoadOptions(intra_op_threads=2))
    signature = runtime.signatures["serving_default"]
    spec = next(iter(signature.inputs.values()))
    runtime.tune("serving_default", [{spec.name: np.ones([1] * len(spec.shape), np.float32)}])
    assert "one thread" not in runtime.call_path("serving_default")
    runtime.close()


def test_the_race_takes_turns_and_keeps_the_least():
    seen = []
    alone, together = tensorflow_session._race(lambda x: seen.append("a"), lambda x: seen.append("b"), [np.ones(1)])
    assert seen == ["a", "b"] * (len(seen) // 2)
    assert 0 < alone < 1
    assert 0 < together < 1
