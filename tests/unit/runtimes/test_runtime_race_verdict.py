"""Who serves, decided from made-up measurements."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.race.verdict import Entrant, Heat, decide, decide_all, unportable

TENSORFLOW = RuntimeName.TENSORFLOW
OPENVINO = Entrant(RuntimeName.OPENVINO, Precision.FLOAT32)
LITERT = Entrant(RuntimeName.LITERT, Precision.FLOAT32)
BF16 = Entrant(RuntimeName.OPENVINO, Precision.BF16)
ENGINE = EngineFile("openvino-0.xml", {"x": "x"}, {"y": "y"})


def heat(entrant, speedups, refused="", calls=3):
    """A heat in which the model's own runtime took a millisecond for each row."""
    times = {rows: (rows / 1000, rows / 1000 / speedup) for rows, speedup in speedups.items()}
    return Heat("serving_default", entrant, ENGINE, times, 1e-7, 1.0, calls, refused)


def served(decision):
    return [(rows if rows < 2**20 else None, entrant and entrant.label) for rows, entrant in decision.routes]


def test_the_fastest_over_all_sizes_serves_all_of_them():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 3.0, 8: 2.0}), heat(LITERT, {1: 2.9, 8: 1.9})])
    assert served(decision) == [(None, "openvino")]
    assert not decision.needs_native


def test_the_models_own_runtime_serves_where_every_other_is_slower():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 0.5, 8: 0.9})])
    assert served(decision) == [(None, None)]
    assert decision.needs_native
    assert decision.lost(decision.heats[0]) == "0.67 times as fast as tensorflow, which is not enough to leave it."


def test_at_equal_speed_the_models_own_runtime_is_left():
    assert served(decide(TENSORFLOW, [heat(LITERT, {1: 1.0, 8: 1.0})])) == [(None, "litert")]


def test_one_that_computes_something_else_never_serves_however_fast():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 100.0}, refused="The result differs."), heat(LITERT, {1: 1.5})])
    assert served(decision) == [(None, "litert")]
    assert decision.lost(decision.heats[0]) == "The result differs."


def test_two_share_the_sizes_where_each_is_clearly_better():
    decision = decide(TENSORFLOW, [heat(LITERT, {1: 8.0, 2: 4.0, 8: 1.2}), heat(OPENVINO, {1: 1.5, 2: 2.0, 8: 2.4})])
    assert served(decision) == [(2, "litert"), (None, "openvino")]


def test_a_second_one_is_not_loaded_for_a_little():
    decision = decide(TENSORFLOW, [heat(LITERT, {1: 4.0, 8: 2.0}), heat(OPENVINO, {1: 3.0, 8: 2.2})])
    assert served(decision) == [(None, "litert")]


def test_the_models_own_runtime_must_be_far_better_to_be_kept_for_some_sizes():
    assert served(decide(TENSORFLOW, [heat(LITERT, {1: 6.0, 32: 0.75})])) == [(None, "litert")]
    assert served(decide(TENSORFLOW, [heat(LITERT, {1: 6.0, 32: 0.5})])) == [(1, "litert"), (None, None)]


def test_one_signature_does_not_keep_all_of_tensorflow_alone():
    quick, slow = heat(OPENVINO, {1: 4.0}), heat(OPENVINO, {1: 0.9})
    decisions = decide_all(TENSORFLOW, {"a": [quick], "b": [slow]}, {"a": "", "b": ""})
    assert [served(each) for each in decisions.values()] == [[(None, "openvino")], [(None, "openvino")]]
    far_slower = heat(OPENVINO, {1: 0.3})
    decisions = decide_all(TENSORFLOW, {"a": [quick], "b": [far_slower]}, {"a": "", "b": ""})
    assert [served(each) for each in decisions.values()] == [[(None, "openvino")], [(None, None)]]


def test_litert_is_not_left_for_nothing():
    assert decide(RuntimeName.LITERT, [heat(OPENVINO, {1: 1.05})]).needs_native
    assert not decide(RuntimeName.LITERT, [heat(OPENVINO, {1: 1.2})]).needs_native


def test_who_was_timed_at_other_sizes_is_not_compared():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 2.0, 8: 2.0}), heat(LITERT, {1: 9.0})])
    assert served(decision) == [(None, "openvino")]


def test_the_runtime_that_the_operator_names_serves_however_slow():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 0.2})], fixed=True)
    assert served(decision) == [(None, "openvino")]


def test_of_the_named_runtimes_precisions_the_fastest_serves():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 0.2}), heat(BF16, {1: 0.4})], fixed=True)
    assert served(decision) == [(None, "openvino bf16")]


def test_the_runtime_that_the_operator_names_does_not_serve_what_it_computes_wrongly():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 2.0}, refused="The result differs.")], fixed=True)
    assert decision.needs_native
    assert decision.winners == ()


def test_nobody_tried_and_why_is_told():
    decision = decide(TENSORFLOW, [], "'text' is text.")
    assert decision.needs_native
    assert decision.to_json()["notRaced"] == "'text' is text."
    assert decision.summary() == {"runtime": "tensorflow", "reason": "'text' is text."}


def test_the_metadata_says_who_serves_by_how_much_and_how_far_off():
    decision = decide(TENSORFLOW, [heat(OPENVINO, {1: 2.0}), heat(LITERT, {1: 0.5}, refused="No such operation.")])
    told = decision.to_json()
    assert told["reference"] == "tensorflow"
    assert [route["runtime"] for route in told["served"]] == ["openvino"]
    first, second = told["candidates"]
    assert (first["serves"], first["speedup"], first["callTimeMs"]) == (True, {"1": 2.0}, {"1": 0.5})
    assert (first["referenceCallTimeMs"], first["largestDifference"]) == ({"1": 1.0}, 1e-7)
    assert (second["serves"], second["reason"]) == (False, "No such operation.")
    assert decision.summary()["openvino"] == "2.00 times as fast, 1e-07 of scale off"


heats = st.builds(
    heat,
    st.sampled_from([OPENVINO, LITERT]),
    st.fixed_dictionaries({1: st.floats(0.01, 100), 4: st.floats(0.01, 100), 32: st.floats(0.01, 100)}),
    st.sampled_from(["", "", "It failed."]),
)


@given(st.lists(heats, max_size=2, unique_by=lambda each: each.entrant))
def test_every_size_has_one_that_may_serve_it(measured):
    decision = decide(TENSORFLOW, measured)
    limits = [rows for rows, _ in decision.routes]
    assert limits == sorted(set(limits))
    assert limits[-1] >= 2**20
    fit = {each.entrant for each in measured if not each.refused}
    assert set(decision.winners) <= fit
    assert len({entrant for _, entrant in decision.routes}) <= 2


@given(st.lists(heats, max_size=2, unique_by=lambda each: each.entrant))
def test_over_all_sizes_what_serves_is_as_fast_as_the_best_single_one(measured):
    decision = decide(TENSORFLOW, measured)
    by_entrant = {each.entrant: each for each in measured if not each.refused}

    def speed(rows):
        entrant = next(entrant for limit, entrant in decision.routes if rows <= limit)
        return 1.0 if entrant is None else by_entrant[entrant].speedup(rows)

    mean = math.exp(sum(math.log(speed(rows)) for rows in (1, 4, 32)) / 3)
    assert mean >= max([1.0, *(each.overall() for each in by_entrant.values())]) * 0.999


def signature(dtype=DType.FLOAT32, inputs=True):
    spec = TensorSpec("x", dtype, (None, 2))
    return Signature("serving_default", {"x": spec} if inputs else {}, {"y": spec})


@pytest.mark.parametrize(
    ("made", "path", "reason"),
    [
        (signature(), "frozen graph, session", ""),
        (signature(), "graph with variables, session", "variables"),
        (signature(), "functions", "variables"),
        (signature(DType.STRING), "frozen graph, session", "'x' is text"),
        (signature(DType.COMPLEX64), "frozen graph, session", "complex"),
        (signature(inputs=False), "frozen graph, session", "no inputs"),
    ],
)
def test_what_only_tensorflow_may_execute(made, path, reason):
    assert (reason in unportable(made, path)) if reason else unportable(made, path) == ""
