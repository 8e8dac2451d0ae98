"""Protocols in which the model has the last word on shapes, and which carry nothing but tensors."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from engine_bench import EngineBench, rows

from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidRequestError,
    MissingInputError,
    ModelNotReadyError,
    OverloadedError,
    UnknownInputError,
)
from tensorhost.pipelines import PostprocessingOptions

VECTOR = np.float32([1.0, 2.0, 3.0])


async def test_an_undeclared_shape_is_the_models_to_answer():
    bench = EngineBench()
    result = await bench.ask_tensors({"x": VECTOR}, loose_shapes=True)
    assert result.outputs["y"].tolist() == [2.0, 4.0, 6.0]
    assert bench.runtime.loose_calls == [[(3,)]]
    assert bench.counted() == (1, {})
    bench.check_idle()


async def test_who_does_not_ask_for_it_is_refused_as_ever():
    bench = EngineBench()
    with pytest.raises(InvalidInputShapeError):
        await bench.ask_tensors({"x": VECTOR}, raw_outputs=True)
    assert bench.runtime.calls == 0


async def test_declared_shapes_share_batches_and_odd_ones_have_calls_of_their_own():
    bench = EngineBench()
    asked = [{"x": rows(value)} for value in range(4)] + [{"x": VECTOR}, {"x": np.float32(5.0)}]
    results = await asyncio.gather(*[bench.ask_tensors(inputs, loose_shapes=True) for inputs in asked])
    assert [result.outputs["y"].tolist() for result in results[4:]] == [[2.0, 4.0, 6.0], 10.0]
    assert [result.outputs["y"][0, 0] for result in results[:4]] == [0, 2, 4, 6]
    assert (bench.runtime.calls, bench.runtime.loose_calls) == (3, [[(3,)], [()]])
    bench.check_idle()


async def test_an_odd_shape_that_the_model_refuses_hurts_nobody_else():
    bench = EngineBench(failure=InvalidRequestError("Negative."))
    good, bad = await asyncio.gather(
        bench.ask_tensors({"x": rows(1)}, loose_shapes=True),
        bench.ask_tensors({"x": -VECTOR}, loose_shapes=True),
        return_exceptions=True,
    )
    assert good.outputs["y"].tolist() == [[2, 2]]
    assert isinstance(bad, InvalidRequestError)
    assert bench.counted() == (2, {"INVALID_REQUEST": 1})
    bench.check_idle()


async def test_inputs_of_different_rows_go_to_the_model_alone_and_in_its_order():
    bench = EngineBench()
    result = await bench.ask_tensors({"b": rows(1, 2), "a": rows(7)}, "pair", loose_shapes=True)
    assert result.outputs["y"].tolist() == [[14, 14]]
    assert bench.runtime.loose_calls == [[(1, 2), (2, 2)]]


async def test_inputs_are_put_in_the_signatures_order():
    bench = EngineBench()
    first = bench.ask_tensors({"b": rows(1), "a": rows(2)}, "pair", loose_shapes=True)
    second = bench.ask_tensors({"a": rows(3), "b": rows(4)}, "pair", loose_shapes=True)
    results = await asyncio.gather(first, second)
    assert [result.outputs["y"][0, 0] for result in results] == [4, 6]
    assert bench.runtime.calls == 1


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({}, MissingInputError),
        ({"a": rows(1)}, MissingInputError),
        ({"a": rows(1), "c": rows(1)}, MissingInputError),
        ({"a": rows(1), "b": rows(1), "c": rows(1)}, UnknownInputError),
        ({"a": rows(1), "b": rows(1).astype(np.float64)}, InvalidInputTypeError),
        ({"a": VECTOR.astype(np.int32), "b": VECTOR}, InvalidInputTypeError),
    ],
)
async def test_names_and_dtypes_are_checked_all_the_same(inputs, error):
    bench = EngineBench()
    with pytest.raises(error):
        await bench.ask_tensors(inputs, "pair", loose_shapes=True)
    assert bench.runtime.calls == 0
    bench.check_idle()


async def test_no_rows_are_answered_without_the_model_where_the_shape_is_declared():
    bench = EngineBench()
    result = await bench.ask_tensors({"x": np.empty((0, 2), np.float32)}, loose_shapes=True)
    assert result.outputs["y"].shape == (0, 2)
    assert bench.runtime.calls == 0
    result = await bench.ask_tensors({"x": np.empty((0, 3), np.float32)}, loose_shapes=True)
    assert result.outputs["y"].shape == (0, 3)
    assert bench.runtime.loose_calls == [[(0, 3)]]


async def test_inputs_with_defaults_may_be_left_out_by_those_who_ask_loosely():
    bench = EngineBench(input_defaults={"pair": {"b": rows(9)}})
    result = await bench.ask_tensors({"a": rows(1)}, "pair", loose_shapes=True)
    assert result.outputs["y"].tolist() == [[2, 2]]
    with pytest.raises(MissingInputError, match="'a' is missing"):
        await bench.ask_tensors({"b": rows(1)}, "pair", loose_shapes=True)


async def test_a_given_value_comes_before_the_default():
    bench = EngineBench(input_defaults={"serving_default": {"x": rows(9)}})
    assert (await bench.ask_tensors({"x": rows(1)}, loose_shapes=True)).outputs["y"].tolist() == [[2, 2]]
    assert (await bench.ask_tensors({}, loose_shapes=True)).outputs["y"].tolist() == [[18, 18]]


async def test_steps_that_answer_no_tensors_are_left_out_and_others_are_not():
    bench = EngineBench(postprocessing=PostprocessingOptions(sigmoid=True, top_k=1), labels=("low", "high"))
    assert isinstance((await bench.ask_tensors({"x": rows(0)})).outputs["y"], list)
    raw = await bench.ask_tensors({"x": rows(0)}, raw_outputs=True)
    assert raw.outputs["y"].tolist() == [[0.5, 0.5]]


async def test_thresholds_are_tensors_where_there_are_no_labels():
    bench = EngineBench(postprocessing=PostprocessingOptions(threshold=3.0))
    raw = await bench.ask_tensors({"x": rows(1, 2)}, raw_outputs=True)
    assert raw.outputs["y"].tolist() == (await bench.ask_tensors({"x": rows(1, 2)})).outputs["y"].tolist()
    labelled = EngineBench(postprocessing=PostprocessingOptions(threshold=3.0), labels=("low", "high"))
    assert (await labelled.ask_tensors({"x": rows(1, 2)}, raw_outputs=True)).outputs["y"].tolist() == [[2, 2], [4, 4]]


async def test_only_the_outputs_asked_for_are_answered():
    bench = EngineBench()
    assert (await bench.ask_tensors({"x": rows(1)}, outputs=["y"])).outputs.keys() == {"y"}
    assert (await bench.ask_tensors({"x": rows(1)}, outputs=["z"], loose_shapes=True)).outputs == {}


async def test_odd_requests_wait_in_a_bounded_queue():
    bench = EngineBench(max_queue_rows=2)
    asked = [bench.ask_tensors({"x": VECTOR[:1]}, loose_shapes=True) for _ in range(4)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(result, OverloadedError) for result in results) == 2
    assert bench.counted() == (4, {"OVERLOADED": 2})
    bench.check_idle()


async def test_an_odd_request_is_answered_at_its_deadline():
    bench = EngineBench()
    with pytest.raises(DeadlineExceededError):
        await bench.ask_tensors({"x": VECTOR}, timeout_s=0.0, loose_shapes=True)
    bench.check_idle()


async def test_an_unloaded_version_refuses_odd_requests_that_come_late():
    bench = EngineBench()
    bench.servable.refuse_all()
    with pytest.raises(ModelNotReadyError):
        await bench.ask_tensors({"x": VECTOR}, loose_shapes=True)
    bench.check_idle()
