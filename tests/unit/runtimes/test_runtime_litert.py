"""Answers of TensorFlow Lite models, against LiteRT's own interpreter."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tflite_models
from ai_edge_litert.interpreter import Interpreter

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    RuntimeMissingError,
    UnsupportedModelError,
)
from tensorhost.runtimes import LoadOptions, load
from tensorhost.runtimes.litert import loader
from tensorhost.runtimes.litert.errors import load_error, reason, run_error

RNG = np.random.default_rng(3)
ONE_THREAD = LoadOptions(intra_op_threads=1)


@pytest.fixture(scope="module")
def files(tf, keras, tmp_path_factory):
    return tflite_models.converted(tf, keras, tmp_path_factory)


@pytest.fixture
def opened():
    """Loads, and closes at the end."""
    runtimes = []

    def open_one(path, options=ONE_THREAD):
        runtimes.append(load(path, options))
        return runtimes[-1]

    yield open_one
    for runtime in runtimes:
        runtime.close()


@pytest.fixture
def built(tmp_path, opened):
    """Loads a model put together by hand."""

    def open_one(flat, options=ONE_THREAD):
        path = tmp_path / "model.tflite"
        path.write_bytes(flat.build())
        return opened(path, options)

    return open_one


def plainly(path, *arrays):
    """The outputs of the main graph, by the plain interpreter."""
    interpreter = Interpreter(model_content=path.read_bytes())
    details = interpreter.get_input_details()
    for detail, array in zip(details, arrays, strict=True):
        interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(details, arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def floats(*shape):
    return RNG.random(shape, np.float32)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("dense", (4,)),
        ("one_row", (4,)),
        ("convolution", (16, 16, 3)),
        ("dynamic_range", (16, 16, 3)),
        ("float16", (16, 16, 3)),
        ("dynamic", (7, 3)),
    ],
)
def test_float_models_answer_like_the_interpreter(files, opened, name, inner, rows):
    path = files / f"{name}.tflite"
    runtime = opened(path)
    x = floats(rows, *inner)
    (value,) = runtime.run("serving_default", {"x": x}).values()
    np.testing.assert_allclose(value, plainly(path, x)[0], rtol=1e-5, atol=1e-6)
    assert value.shape[0] == rows
    assert runtime.name == "litert"


@pytest.mark.parametrize("rows", [1, 3])
def test_integer_models_answer_exactly_and_raw_by_default(files, opened, rows):
    path = files / "int8.tflite"
    runtime = opened(path)
    signature = runtime.signatures["serving_default"]
    assert signature.inputs["x"].dtype is DType.UINT8
    x = RNG.integers(0, 256, (rows, 16, 16, 3), np.uint8)
    (value,) = runtime.run("serving_default", {"x": x}).values()
    assert value.dtype == np.int8
    np.testing.assert_array_equal(value, plainly(path, x)[0])


def test_integer_models_speak_float_where_asked(files, opened):
    path = files / "int8.tflite"
    runtime = opened(path, LoadOptions(intra_op_threads=1, dequantize=True))
    signature = runtime.signatures["serving_default"]
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    assert {spec.dtype for spec in specs} == {DType.FLOAT32}
    interpreter = Interpreter(model_content=path.read_bytes())
    (scale_in, zero_in), (scale_out, zero_out) = (
        detail["quantization"] for detail in (interpreter.get_input_details()[0], interpreter.get_output_details()[0])
    )
    x = floats(2, 16, 16, 3)
    raw = np.clip(np.floor(x / np.float32(scale_in) + 0.5) + zero_in, 0, 255).astype(np.uint8)
    (value,) = runtime.run("serving_default", {"x": x}).values()
    assert value.dtype == np.float32
    assert not value.flags.writeable
    np.testing.assert_allclose(value, (plainly(path, raw)[0].astype(np.float64) - zero_out) * scale_out, rtol=1e-6)
    with pytest.raises(InvalidRequestError, match="'x' holds NaN"):
        runtime.run("serving_default", {"x": np.full((1, 16, 16, 3), np.nan, np.float32)})


def test_asking_for_floats_changes_nothing_in_float_models(files, opened):
    runtime = opened(files / "dense.tflite", LoadOptions(intra_op_threads=1, dequantize=True))
    x = floats(2, 4)
    (value,) = runtime.run("serving_default", {"x": x}).values()
    np.testing.assert_array_equal(value, plainly(files / "dense.tflite", x)[0])


def test_strings_come_and_go_as_bytes(files, opened):
    runtime = opened(files / "strings.tflite")
    x = np.array([b"first", b"\0se\0cond\xff", b""], object)
    out = runtime.run("serving_default", {"x": x})
    assert out["x"].tolist() == x.tolist()
    assert next(value for name, value in out.items() if name != "x").tolist() == [b"\0se\0cond\xff"]
    assert {value.dtype for value in out.values()} == {np.dtype(object)}


def test_values_out_of_range_are_the_callers_fault_and_the_next_call_is_fine(files, opened):
    runtime = opened(files / "strings.tflite")
    with pytest.raises(
        InvalidRequestError, match=r"^The model refused the input: .*out of bounds \(in GATHER\)\.$"
    ) as caught:
        runtime.run("serving_default", {"x": np.array([b"only one"], object)})
    assert "gather.cc" in (caught.value.log_detail or "")
    assert ".cc" not in caught.value.message
    out = runtime.run("serving_default", {"x": np.array([b"a", b"b"], object)})
    assert out["x"].tolist() == [b"a", b"b"]


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 0.0, 1.0], [0.0], []])
def test_outputs_may_be_of_any_size_and_empty(files, opened, values):
    runtime = opened(files / "where.tflite")
    x = np.array(values, np.float32)
    runtime.run("serving_default", {"x": np.ones(5, np.float32)})
    (value,) = runtime.run("serving_default", {"x": x}).values()
    assert value.tolist() == np.argwhere(x > 0).tolist()
    assert value.shape == (int((x > 0).sum()), 1)
    assert value.dtype == np.int64


def test_shapes_may_change_with_every_call(files, opened):
    runtime = opened(files / "dynamic.tflite")
    assert runtime.signatures["serving_default"].inputs["x"].shape == (None, None, 3)
    for shape in [(1, 1, 3), (4, 2, 3), (1, 9, 3), (1, 9, 3), (0, 2, 3), (4, 2, 3)]:
        x = floats(*shape)
        (value,) = runtime.run("serving_default", {"x": x}).values()
        np.testing.assert_allclose(value, 2 * x.sum(-1), rtol=1e-5)


def test_several_signatures_of_one_file(files, opened):
    path = files / "several.tflite"
    runtime = opened(path)
    listed = Interpreter(model_content=path.read_bytes()).get_signature_list()
    assert list(runtime.signatures) == ["serving_default", "positions"]
    for name, signature in runtime.signatures.items():
        assert sorted(signature.inputs) == sorted(listed[name]["inputs"])
        assert sorted(signature.outputs) == sorted(listed[name]["outputs"])
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for _ in range(2):
        assert runtime.run("serving_default", {"x": x})["sum"].tolist() == (x + 1).tolist()
        found = runtime.run("positions", {"x": x, "least": np.array([3], np.float32)})
        assert found["found"].tolist() == [[1, 1], [1, 2]]
        assert found["doubled"].tolist() == (x * 2).tolist()
        none = runtime.run("positions", {"x": x[:1], "least": np.array([9], np.float32)})
        assert none["found"].shape == (0, 2)
        assert none["found"].dtype == np.int64
        assert none["doubled"].tolist() == (x[:1] * 2).tolist()


@pytest.mark.parametrize("cores", [1, 2])
def test_a_short_call_never_waits_for_a_long_one_of_another_signature(files, opened, monkeypatch, cores):
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    runtime = opened(files / "several.tflite", LoadOptions())
    runtime.tune("serving_default", [{"x": np.ones((1, 3), np.float32)}])
    pools = [pool for pool in (runtime._pool, runtime._sequential) if pool is not None]
    assert len(pools) == cores
    for pool in pools:
        assert pool.size == 2
        taken = [pool.take(), pool.take()]  # does not wait, and makes none
        assert pool.size == 2
        for lane in taken:
            pool.give(lane)


def test_control_flow(files, opened):
    loop = opened(files / "loop.tflite")
    (value,) = loop.run("serving_default", {"x": np.array([5], np.float32)}).values()
    assert value.shape == ()
    assert value == 32.0
    path = files / "lstm.tflite"
    steps = floats(1, 6, 3)
    (value,) = opened(path).run("serving_default", {"steps": steps}).values()
    np.testing.assert_allclose(value, plainly(path, steps)[0], rtol=1e-5, atol=1e-6)


def test_no_call_sees_the_state_another_left(files, opened, built):
    counter = opened(files / "counter.tflite")
    assert "new interpreter for each call" in counter.call_path("serving_default")
    step = np.array([1, 2, 3], np.float32)
    for _ in range(3):
        assert counter.run("serving_default", {"x": step})["total"].tolist() == [1, 2, 3]
    cell = built(tflite_models.recurrent())
    for _ in range(3):
        assert cell.run("serving_default", {"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "dtype",
    [dtype.value for dtype in DType if "int4" not in dtype.value and "float8" not in dtype.value],
)
def test_every_type_that_litert_carries(built, dtype):
    runtime = built(tflite_models.identity(dtype))
    spec = runtime.signatures["serving_default"].inputs["x"]
    assert spec.dtype is DType(dtype)
    assert spec.shape == (2,)
    x = np.array([b"a", b""], object) if dtype == "string" else np.array([1, 0]).astype(spec.dtype.numpy)
    out = runtime.run("serving_default", {"x": x})["x"]
    assert out.dtype == spec.dtype.numpy
    assert out.tolist() == x.tolist()
    assert not np.shares_memory(out, x)
    with pytest.raises(ValueError, match="read-only"):
        out[0] = out[1]


def test_outputs_are_the_callers_to_keep(files, opened):
    runtime = opened(files / "dense.tflite")
    (first,) = runtime.run("serving_default", {"x": np.ones((1, 4), np.float32)}).values()
    kept = first.copy()
    runtime.run("serving_default", {"x": np.zeros((1, 4), np.float32)})
    runtime.close()
    np.testing.assert_array_equal(first, kept)


def test_what_no_request_can_carry_leaves_the_other_signatures(built):
    flat = tflite_models.absolute()
    flat.graph().tensor("r", (1,), "resource")
    flat.ports([0], [0])
    flat.signature("good", {"a": 0}, {"b": 1}).signature("bad", {"r": 0}, {"s": 0}, subgraph=1)
    runtime = built(flat)
    assert list(runtime.signatures) == ["good"]
    assert runtime.refused_signatures == {"bad": "input 'r' has the element type resource, which no request can carry"}
    assert runtime.run("good", {"a": np.array([[-1, 2]], np.float32)})["b"].tolist() == [[1, 2]]


@pytest.mark.parametrize(("name", "said"), [
    ("Sparkle", "the custom operation Sparkle"),
    ("FlexErf", "TensorFlow's own operation Erf"),
])  # fmt: skip
def test_an_operation_that_litert_lacks_is_named(built, name, said):
    with pytest.raises(UnsupportedModelError, match=said) as caught:
        built(tflite_models.custom(name))
    assert caught.value.details == {"operation": name}


def test_a_lacking_operation_in_a_second_graph_is_named_by_the_call(built):
    flat = tflite_models.absolute()
    other = tflite_models.custom("Sparkle")
    flat.model.operatorCodes += other.model.operatorCodes
    other.main.operators[0].opcodeIndex = 1
    flat.model.subgraphs.append(other.main)
    flat.signature("good", {"a": 0}, {"b": 1}).signature("bad", {"a": 0}, {"b": 1}, subgraph=1)
    runtime = built(flat)
    x = np.array([[-1, 2]], np.float32)
    assert runtime.run("good", {"a": x})["b"].tolist() == [[1, 2]]
    with pytest.raises(UnsupportedModelError, match="custom operation Sparkle"):
        runtime.run("bad", {"a": x})
    assert runtime.run("good", {"a": x})["b"].tolist() == [[1, 2]]


def test_a_missing_package_names_what_to_install(monkeypatch, files):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(RuntimeMissingError, match=r"pip install 'tensorhost\[litert\]'"):
        load(files / "dense.tflite", ONE_THREAD)


def test_tensorflow_is_not_needed(files):
    code = f"""
        import sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Refuse())
        from pathlib import Path
        import numpy as np
        from tensorhost.runtimes import LoadOptions, examine, load

        path = Path({str(files / "dense.tflite")!r})
        runtime = load(path, LoadOptions())
        (value,) = runtime.run("serving_default", {{"x": np.ones((2, 4), np.float32)}}).values()
        print(value.shape, examine(path, LoadOptions()).operations, "tensorflow" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(2, 3) {'FULLY_CONNECTED': 1} False"


def test_the_file_may_change_while_it_is_served(files, opened, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes((files / "dense.tflite").read_bytes())
    runtime = opened(path)
    x = floats(2, 4)
    before = runtime.run("serving_default", {"x": x})
    path.write_bytes(b"")
    after = runtime.run("serving_default", {"x": np.concatenate([x, x])})
    for name, value in before.items():
        np.testing.assert_allclose(after[name][:2], value, rtol=1e-5)


def test_a_shape_the_graph_cannot_take_is_the_callers_fault(files, opened):
    runtime = opened(files / "stuck.tflite")
    with pytest.raises(InvalidRequestError, match="refused the input"):
        runtime.run("serving_default", {"x": floats(2, 4)})
    (value,) = runtime.run("serving_default", {"x": floats(1, 4)}).values()
    assert value.shape == (1, 3)


def test_a_model_whose_memory_cannot_be_planned_fails_to_load(monkeypatch, files):
    def refuse(interpreter):
        raise RuntimeError(
            "tensorflow/lite/kernels/conv.cc:42 3 != 4 (0 != 1)Node number 7 (CONV_2D) failed to prepare."
        )

    monkeypatch.setattr(Interpreter, "allocate_tensors", refuse)
    with pytest.raises(ModelFailedError, match=r"^LiteRT cannot load the model: 3 != 4 \(0 != 1\) \(in CONV_2D\)\.$"):
        load(files / "lstm.tflite", ONE_THREAD)


def test_a_dynamic_model_may_fail_until_its_shapes_are_known(monkeypatch, files, opened):
    plan = Interpreter.allocate_tensors
    attempts = []

    def refuse_first(interpreter):
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError(
                "tensorflow/lite/kernels/reduce.cc:1 dims was not true.Node number 0 (SUM) failed to prepare."
            )
        return plan(interpreter)

    monkeypatch.setattr(Interpreter, "allocate_tensors", refuse_first)
    runtime = opened(files / "dynamic.tflite")
    (value,) = runtime.run("serving_default", {"x": np.ones((1, 2, 3), np.float32)}).values()
    assert value.tolist() == [[6, 6]]


@pytest.mark.parametrize(("error", "code", "said"), [
    (RuntimeError("index out of bounds"), "INVALID_REQUEST", "index out of bounds"),
    (RuntimeError("delegate failed"), "MODEL_FAILED", "The model failed while running: delegate failed."),
    (RuntimeError(""), "MODEL_FAILED", "no reason given"),
    (RuntimeError("Failed to allocate memory for tensor"), "OUT_OF_MEMORY", "ran out of memory"),
    (MemoryError(), "OUT_OF_MEMORY", "ran out of memory"),
    (ValueError("Cannot open /home/user/m.bin now"), "MODEL_FAILED", "Cannot open (path) now"),
])  # fmt: skip
def test_what_an_error_in_a_call_becomes(error, code, said):
    found = run_error(error)
    assert found.code == code
    assert said in found.message


def test_what_an_error_in_loading_becomes():
    old = load_error(ValueError("Didn't find op for builtin opcode 'CONV_2D' version '99'. An older version..."))
    assert isinstance(old, UnsupportedModelError)
    assert "version 99 of the operation CONV_2D" in old.message
    assert load_error(MemoryError()).code == "OUT_OF_MEMORY"
    assert len(reason(RuntimeError("x" * 1000))) < 320


def test_weights_are_counted_and_threads_told(files, opened):
    runtime = opened(files / "dense.tflite")
    assert runtime.weights_bytes == 4 * 4 * 3
    assert runtime.call_path("serving_default") == "LiteRT interpreter, 1 thread"
    assert runtime.refused_signatures == {}
    many = opened(files / "dense.tflite", LoadOptions(intra_op_threads=3))
    assert many.call_path("serving_default") == "LiteRT interpreter, 3 threads"
