"""Which files take any number of rows, whatever they say; and that warm-up then batches them."""

from __future__ import annotations

import numpy as np
import pytest
import tflite_models
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError
from tensorhost.models.warmup import WarmupOptions, warm_up
from tensorhost.runtimes import LoadOptions, load
from tensorhost.runtimes.litert.free_rows import rows_are_free
from tensorhost.runtimes.litert.model_file import parse_model
from tensorhost.runtimes.litert.signatures import bind_signatures

ONE_THREAD = LoadOptions(intra_op_threads=1)
OP = schema.BuiltinOperator


@pytest.fixture(scope="module")
def files(tf, keras, tmp_path_factory):
    return tflite_models.converted(tf, keras, tmp_path_factory)


@pytest.fixture(scope="module")
def shapes(files):
    """Public shapes of inputs and of outputs."""

    def of(name):
        runtime = load(files / f"{name}.tflite", ONE_THREAD)
        signature = runtime.signatures["serving_default"]
        runtime.close()
        return [[spec.shape for spec in ports.values()] for ports in (signature.inputs, signature.outputs)]

    return of


@pytest.mark.parametrize(("name", "inputs", "outputs"), [
    ("one_row", [(None, 4)], [(None, 3)]),
    ("one_row_of_two", [(None, 4), (None, 2)], [(None, 3), (None, 6)]),
    ("dense", [(None, 4)], [(None, 3)]),
    ("stuck", [(1, 4)], [(1, 3)]),
    ("mixing", [(1, 4)], [(1, 4)]),
    ("alike", [(1, 4)], [(1, 4)]),
    ("lstm", [(1, 6, 3)], [(1, 4)]),
    ("loop", [(1,)], [()]),
])  # fmt: skip
def test_rows_are_free_where_two_answer_as_each_alone(shapes, name, inputs, outputs):
    assert sorted(shapes(name)[0]) == sorted(inputs)
    assert sorted(shapes(name)[1]) == sorted(outputs)


@pytest.mark.parametrize("name", ["one_row", "one_row_of_two", "int8", "convolution", "several"])
def test_warm_up_proves_that_rows_may_share_a_call(files, name):
    runtime = load(files / f"{name}.tflite", LoadOptions())
    plan = warm_up(runtime, runtime.signatures["serving_default"], WarmupOptions(3, 8, batching=True, threshold_s=1.0))
    assert plan.batched, plan.reason
    assert plan.inline_rows == 8
    runtime.close()


@pytest.mark.parametrize("name", ["stuck", "mixing", "lstm"])
def test_warm_up_does_not_batch_the_others(files, name):
    runtime = load(files / f"{name}.tflite", LoadOptions())
    plan = warm_up(runtime, runtime.signatures["serving_default"], WarmupOptions(1, 8, batching=True, threshold_s=1.0))
    assert not plan.batched
    assert plan.warmed
    runtime.close()


def test_trying_leaves_a_model_that_refused_as_good_as_new(files):
    path = files / "stuck.tflite"
    runtime = load(path, ONE_THREAD)
    x = np.random.default_rng(0).random((1, 4), np.float32)
    (value,) = runtime.run("serving_default", {"x": x}).values()
    interpreter = Interpreter(model_content=path.read_bytes())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    np.testing.assert_array_equal(value, interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    runtime.close()


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_rows_of_every_type_are_made_up(tmp_path, dtype):
    flat = tflite_models.Flat()
    flat.tensor("x", (1, 3), dtype)
    flat.tensor("c", (3,), dtype, constant=np.ones(3, dtype))
    flat.tensor("y", (1, 3), dtype)
    flat.operator(OP.ADD, [0, 1], [2])
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.ports([0], [2]).build())
    runtime = load(path, ONE_THREAD)
    assert runtime.signatures["serving_default"].inputs["x"].shape == (None, 3)
    runtime.close()


def test_a_model_that_fails_on_one_row_still_loads_as_its_file_says(tmp_path):
    path = tmp_path / "m.tflite"
    flat = tflite_models.Flat()
    flat.tensor("x", (1, 3), "float64")
    flat.tensor("y", (1, 3), "float64")
    flat.operator(OP.ADD, [0, 0], [1])  # which LiteRT has for smaller numbers only
    path.write_bytes(flat.ports([0], [1]).build())
    runtime = load(path, ONE_THREAD)
    assert runtime.signatures["serving_default"].inputs["x"].shape == (1, 3)
    with pytest.raises(ModelFailedError, match="failed while running"):
        runtime.run("serving_default", {"x": np.ones((1, 3))})
    runtime.close()


def bound(dtype="float32", shape=(1, 3), signature=None, **tensor):
    flat = tflite_models.absolute(dtype=dtype, shape=shape, signature=signature, **tensor)
    (found,), _ = bind_signatures(parse_model(flat.build()), dequantize=False)
    return found


class Model:
    """Something that is called with rows, and what it was called with."""

    def __init__(self, answer):
        self.answer = answer
        self.calls = []

    def __call__(self, inputs):
        self.calls.append(inputs["x"])
        return {"y": self.answer(inputs["x"])}


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in DType if "int4" not in dtype.value and "float8" not in dtype.value]
)
def test_any_model_that_answers_row_by_row_is_free(dtype):
    model = Model(lambda x: x.copy())
    assert rows_are_free(bound(dtype.value), model)
    assert {call.dtype for call in model.calls} == {dtype.numpy}
    assert model.calls[-1].shape == (2, 3)


@pytest.mark.parametrize(("answer", "why"), [
    (lambda x: x[:1], "rows are lost"),
    (lambda x: x[::-1].copy(), "rows change places"),
    (lambda x: x.reshape(1, -1)[:, :3].copy(), "rows are cut"),
    (lambda x: np.zeros_like(x), "rows answer alike"),
    (lambda x: x + len(x), "rows know of each other"),
    (lambda x: x * np.float32(1 + 1e-3 * len(x)), "more than rounding"),
    (lambda x: x[0], "no rows"),
])  # fmt: skip
def test_any_doubt_keeps_rows_fixed(answer, why):
    assert not rows_are_free(bound(), Model(answer)), why


def test_rounding_is_no_doubt():
    assert rows_are_free(bound(), Model(lambda x: x * np.float32(1 + 1e-6 * len(x))))


def test_pixels_are_tried_where_numbers_up_to_one_all_answer_alike():
    assert rows_are_free(bound(), Model(lambda x: np.floor(x)))


def test_other_dimensions_are_tried_until_the_model_takes_them():
    def answer(x):
        if x.shape[1] != 32:
            raise InvalidRequestError("The model refused the input.")
        return x.copy()

    model = Model(answer)
    assert rows_are_free(bound(shape=(1, 1), signature=[1, -1]), model)
    assert [call.shape for call in model.calls[-3:]] == [(1, 32), (1, 32), (2, 32)]


def test_a_model_that_takes_nothing_or_fails_stays_as_its_file_says():
    def refuse(x):
        raise InvalidRequestError("no")

    def fail(x):
        raise ModelFailedError("no")

    def fail_together(x):
        return x.copy() if len(x) == 1 else fail(x)

    for answer in (refuse, fail, fail_together):
        assert not rows_are_free(bound(), Model(answer))


@pytest.mark.parametrize(("shape", "signature"), [((3, 2), None), ((), None), ((1, 3), [-1, 3]), ((1, 2**25), None)])
def test_what_is_not_tried(shape, signature):
    model = Model(lambda x: x)
    assert not rows_are_free(bound(shape=shape, signature=signature), model)
    assert model.calls == []


def test_quantised_rows_are_of_the_whole_range():
    model = Model(lambda x: x.copy())
    assert rows_are_free(bound("int8", shape=(1, 500), scale=(0.1, 3)), model)
    assert model.calls[-1].min() < -100
    assert model.calls[-1].max() > 100
