"""A model written for other runtimes, loaded there, and compared with TensorFlow's own answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tensorhost.core.errors import ModelFailedError, TensorhostError, UnsupportedModelError
from tensorhost.runtimes import ModelFormat, load
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.engine_files import engine_signature
from tensorhost.runtimes.race.entrants import Entrant, entrants, open_engine, write_engine
from tensorhost.runtimes.race.routed import Route, RoutedRuntime
from tensorhost.runtimes.race.twins import twins

FLOAT32 = [
    Entrant(name, Precision.FLOAT32) for name in (RuntimeName.OPENVINO, RuntimeName.LITERT, RuntimeName.ONNXRUNTIME)
]
NAMES = [entrant.label for entrant in FLOAT32]


def write_model(tf, folder, call, *specs, **more):
    """A SavedModel whose signatures are functions of weights and named tensors."""
    module = tf.Module()
    module.weights = tf.Variable(np.random.default_rng(0).normal(size=(6, 4)).astype("float32"))

    def served(function):
        if len(specs) == 1:
            return tf.function(lambda x: function(module.weights, x), input_signature=specs)
        return tf.function(lambda x, y: function(module.weights, x, y), input_signature=specs)

    module.kept = {name: served(function) for name, function in {"serving_default": call, **more}.items()}
    tf.saved_model.save(module, str(folder), signatures=module.kept)
    return folder


@pytest.fixture(scope="session")
def raced_models(tf, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raced")
    rows = tf.TensorSpec((None, 6), tf.float32, name="x")

    def network(weights, x):
        hidden = tf.nn.relu(tf.matmul(x, weights))
        return {"scores": tf.nn.softmax(hidden), "hidden": hidden, "again": hidden}

    write_model(tf, root / "network", network, rows)
    write_model(tf, root / "twins", network, rows, serve=network, other=lambda w, x: {"scores": tf.matmul(x, w) + 1.0})
    write_model(
        tf,
        root / "whole_numbers",
        lambda w, ids, weight: {
            "chosen": tf.gather(w, ids),
            "count": tf.cast(ids, tf.int64) * weight,
            "odd": ids % 2 == 1,
        },
        tf.TensorSpec((None, 3), tf.int32, name="ids"),
        tf.TensorSpec((None, 1), tf.int64, name="weight"),
    )
    write_model(
        tf,
        root / "two_inputs",
        lambda w, x, y: {"sum": tf.matmul(x, w) + tf.matmul(y * 2.0, w)},
        rows,
        tf.TensorSpec((None, 6), tf.float32, name="y"),
    )
    write_model(
        tf,
        root / "wide_inside",
        lambda w, x: {"y": tf.cast(tf.cast(x, tf.int64) * 2**33, tf.float32)},
        rows,
    )
    write_model(
        tf, root / "text", lambda w, text: {"length": tf.strings.length(text)}, tf.TensorSpec((None,), tf.string)
    )
    write_model(
        tf,
        root / "loops",
        lambda w, x: {"y": tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, tf.tanh(v) * 1.1), (0, x))[1]},
        rows,
    )
    return root


@pytest.fixture
def native(raced_models, loaded):
    return lambda name: loaded(raced_models / name)


@pytest.fixture
def opened(options, raced_models, tmp_path):
    """Writes and loads a signature for an entrant; closes it after the test."""
    runtimes = []

    def open_one(entrant, runtime, signature="serving_default", model=None, chosen=options):
        engine = write_engine(entrant, runtime, model or raced_models, signature, tmp_path, chosen)
        located = engine_signature(tmp_path, engine, runtime.signatures[signature])
        made = open_engine(entrant, located, runtime.weights_bytes, chosen)
        runtimes.append(made)
        return made

    yield open_one
    for runtime in runtimes:
        runtime.close()


def named_onnx(options, entrant):
    """Options under which ONNX Runtime is tried whatever the graph is."""
    return replace(options, runtime=entrant.runtime)


@pytest.mark.parametrize("entrant", FLOAT32, ids=NAMES)
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_answers_are_tensorflows(entrant, rows, native, opened, options):
    runtime = native("network")
    other = opened(entrant, runtime, chosen=named_onnx(options, entrant))
    x = np.random.default_rng(rows).normal(size=(rows, 6)).astype("float32")
    expected = runtime.run("serving_default", {"x": x})
    actual = other.run("serving_default", {"x": x})
    assert list(actual) == list(expected) == ["again", "hidden", "scores"]
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_allclose(actual[name], array, rtol=1e-5, atol=1e-6)


def test_openvino_is_not_given_whole_numbers_that_it_would_cut(native, tmp_path, options):
    with pytest.raises(UnsupportedModelError, match="32 of the bits of int64 input 'weight'"):
        write_engine(FLOAT32[0], native("whole_numbers"), tmp_path, "serving_default", tmp_path, options)
    with pytest.raises(UnsupportedModelError, match="Cast computes with 64-bit integers"):
        write_engine(FLOAT32[0], native("wide_inside"), tmp_path, "serving_default", tmp_path, options)


@pytest.mark.parametrize("entrant", FLOAT32[1:], ids=NAMES[1:])
def test_whole_numbers_and_truth_values_are_exact(entrant, native, opened, options):
    runtime = native("whole_numbers")
    other = opened(entrant, runtime, chosen=named_onnx(options, entrant))
    inputs = {"ids": np.array([[0, 1, 5], [3, 3, 2]], np.int32), "weight": np.array([[2**40], [-7]], np.int64)}
    expected = runtime.run("serving_default", inputs)
    actual = other.run("serving_default", inputs)
    assert {name: array.dtype for name, array in actual.items()} == {
        name: array.dtype for name, array in expected.items()
    }
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)


@pytest.mark.parametrize("entrant", FLOAT32, ids=NAMES)
def test_outputs_are_the_callers_and_read_only(entrant, native, opened, options):
    other = opened(entrant, native("network"), chosen=named_onnx(options, entrant))
    x = np.ones((2, 6), np.float32)
    first = other.run("serving_default", {"x": x})
    kept = {name: array.copy() for name, array in first.items()}
    x[:] = -3
    other.run("serving_default", {"x": x})
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        assert not array.flags.writeable
        assert not np.may_share_memory(array, x)


@pytest.mark.parametrize("entrant", FLOAT32, ids=NAMES)
@pytest.mark.parametrize("rows", [3, 2000])
def test_arrays_are_read_however_they_lie_and_whoever_may_write_to_them(entrant, rows, native, opened, options):
    runtime = native("two_inputs")
    other = opened(entrant, runtime, chosen=named_onnx(options, entrant))
    rng = np.random.default_rng(rows)
    plain = {name: rng.normal(size=(rows, 6)).astype("float32") for name in ("x", "y")}
    raw = np.empty(rows * 24 + 4, np.uint8)
    odd = raw[4:].view(np.float32).reshape(rows, 6)
    odd[:] = plain["y"]
    fixed = plain["y"].copy()
    fixed.flags.writeable = False
    expected = runtime.run("serving_default", plain)["sum"]
    for x in (plain["x"], np.asfortranarray(plain["x"]), np.repeat(plain["x"], 2, axis=1)[:, ::2]):
        for y in (plain["y"], fixed, odd, np.broadcast_to(fixed, fixed.shape)):
            actual = other.run("serving_default", {"x": x, "y": y})["sum"]
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("entrant", FLOAT32, ids=NAMES)
def test_a_call_without_rows_is_answered_without_rows(entrant, native, opened, options):
    runtime = native("network")
    other = opened(entrant, runtime, chosen=named_onnx(options, entrant))
    answer = other.run("serving_default", {"x": np.empty((0, 6), np.float32)})
    assert {name: array.shape for name, array in answer.items()} == {
        "again": (0, 4),
        "hidden": (0, 4),
        "scores": (0, 4),
    }


@pytest.mark.parametrize("entrant", FLOAT32, ids=NAMES)
def test_arrays_that_do_not_lie_in_order_are_read_as_they_are(entrant, native, opened, options):
    runtime = native("network")
    other = opened(entrant, runtime, chosen=named_onnx(options, entrant))
    x = np.random.default_rng(1).normal(size=(6, 3)).astype("float32").T
    np.testing.assert_allclose(
        other.run("serving_default", {"x": x})["hidden"],
        runtime.run("serving_default", {"x": np.ascontiguousarray(x)})["hidden"],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("entrant", FLOAT32, ids=NAMES)
def test_text_is_left_to_tensorflow(entrant, native, tmp_path, options):
    with pytest.raises(UnsupportedModelError, match="text"):
        write_engine(entrant, native("text"), tmp_path, "serving_default", tmp_path, options)


def test_onnx_runtime_is_tried_by_itself_for_loops_only(native, opened, options, tmp_path):
    onnx = Entrant(RuntimeName.ONNXRUNTIME, Precision.FLOAT32)
    auto = replace(options, runtime=RuntimeName.AUTO)
    with pytest.raises(UnsupportedModelError, match="recurrent"):
        write_engine(onnx, native("network"), tmp_path, "serving_default", tmp_path, auto)
    runtime = native("loops")
    other = opened(onnx, runtime, chosen=auto)
    x = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    expected = runtime.run("serving_default", {"x": x})["y"]
    np.testing.assert_allclose(other.run("serving_default", {"x": x})["y"], expected, rtol=1e-5)


def test_signatures_that_are_one_graph_are_told(native):
    assert twins(native("twins")) == {"serve": "serving_default"}
    assert twins(native("network")) == {}


def test_a_model_with_eight_bit_weights_is_close_and_not_equal(native, opened, options):
    runtime = native("network")
    other = opened(Entrant(RuntimeName.LITERT, Precision.INT8), runtime)
    x = np.random.default_rng(3).normal(size=(4, 6)).astype("float32")
    expected = runtime.run("serving_default", {"x": x})["hidden"]
    np.testing.assert_allclose(other.run("serving_default", {"x": x})["hidden"], expected, atol=0.5)


def test_a_damaged_file_is_an_error_of_the_models(native, tmp_path, options):
    runtime = native("network")
    for entrant in FLOAT32:
        engine = write_engine(entrant, runtime, tmp_path, "serving_default", tmp_path, named_onnx(options, entrant))
        (tmp_path / engine.file).write_bytes(b"\x00nonsense" * 20)
        located = engine_signature(tmp_path, engine, runtime.signatures["serving_default"])
        with pytest.raises(TensorhostError):
            open_engine(entrant, located, 1, options)


def test_a_file_outside_the_folder_is_not_opened(native, tmp_path, options):
    runtime = native("network")
    engine = write_engine(FLOAT32[0], runtime, tmp_path, "serving_default", tmp_path, options)
    (tmp_path / "inner").mkdir()
    with pytest.raises(ModelFailedError, match="missing"):
        engine_signature(
            tmp_path / "inner", replace(engine, file=f"../{engine.file}"), runtime.signatures["serving_default"]
        )


@pytest.mark.parametrize(
    ("model_format", "runtime", "precision", "labels"),
    [
        (ModelFormat.SAVED_MODEL, "auto", "float32", ["openvino", "litert", "onnxruntime"]),
        (ModelFormat.SAVED_MODEL, "auto", "bf16", ["openvino", "litert", "onnxruntime", "openvino bf16"]),
        (ModelFormat.SAVED_MODEL, "auto", "int8", ["openvino", "litert", "onnxruntime", "litert int8"]),
        (ModelFormat.SAVED_MODEL, "litert", "float32", ["litert"]),
        (ModelFormat.TFLITE, "auto", "float32", ["openvino"]),
        (ModelFormat.TFLITE, "litert", "float32", []),
    ],
)
def test_who_may_try(options, model_format, runtime, precision, labels):
    chosen = replace(options, runtime=RuntimeName(runtime), precision=Precision(precision))
    assert [entrant.label for entrant in entrants(model_format, chosen)] == labels


class Noted:
    """A runtime that notes what it is called with."""

    def __init__(self, name):
        self.name = name
        self.calls = []
        self.closed = 0

    def call_path(self, signature):
        return f"{self.name} {signature}"

    def tune(self, signature, samples):
        self.calls.append(("tune", signature, len(samples)))

    def run(self, signature, inputs):
        self.calls.append((signature, len(inputs["x"])))
        return {"y": inputs["x"]}

    def close(self):
        self.closed += 1


def test_calls_go_to_whoever_serves_their_size(native):
    small, large = Noted("small"), Noted("large")
    signatures = native("network").signatures
    routes = [Route(4, small, "serving_default"), Route(2**31, large, "serve")]
    routed = RoutedRuntime(signatures, {"serving_default": routes}, {}, 10)
    for rows in (0, 1, 4, 5, 32):
        routed.run("serving_default", {"x": np.zeros((rows, 6), np.float32)})
    assert small.calls == [("serving_default", 0), ("serving_default", 1), ("serving_default", 4)]
    assert large.calls == [("serve", 5), ("serve", 32)]
    assert routed.name == "small+large"
    assert routed.call_path("serving_default") == "up to 4 rows: small serving_default; beyond: large serve"
    routed.tune("serving_default", [{}, {}])
    assert small.calls[-1] == ("tune", "serving_default", 2)
    routed.close()
    assert (small.closed, large.closed) == (1, 1)


def test_a_tensorflow_lite_file_is_given_to_openvino(converted_multiply, loaded, opened):
    runtime = loaded(converted_multiply)
    other = opened(FLOAT32[0], runtime, model=converted_multiply)
    x = np.random.default_rng(5).normal(size=(3, 6)).astype("float32")
    np.testing.assert_allclose(
        other.run("serving_default", {"x": x})["scores"],
        runtime.run("serving_default", {"x": x})["scores"],
        rtol=1e-5,
    )


@pytest.fixture(scope="session")
def converted_multiply(raced_models, options, tmp_path_factory):
    from tensorhost.runtimes.conversion import write_tflite

    file = tmp_path_factory.mktemp("lite") / "model.tflite"
    write_tflite(raced_models / "network", file, options)
    return file


def test_what_is_loaded_for_the_race_is_loaded_by_its_own_runtime(raced_models, options):
    runtime = load(raced_models / "network", replace(options, runtime=RuntimeName.AUTO))
    assert runtime.name == "tensorflow"
    runtime.close()
