"""Shapes that signatures do not admit: TensorFlow's answer or its refusal, and never the end of the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from serving_models import write_repository, write_tflite

from tensorhost.core.errors import InvalidInputShapeError, InvalidRequestError, ModelFailedError
from tensorhost.runtimes import LoadOptions, load
from tensorhost.runtimes.race.routed import Route, RoutedRuntime
from tensorhost.runtimes.tensorflow import frozen_graph

SHAPES = [(), (1,), (3,), (0,), (1, 0), (2, 3), (2, 16), (1, 1, 1), (2, 4, 4), (0, 4, 4, 1), (1, 0, 4, 1), (2, 3, 3, 1)]
SHAPES += [(1, 4, 4, 2), (2, 4, 4, 1, 1), (1,) * 9, (2,) * 12]
AS_IMAGES = [(0, 4, 4, 1), (2, 3, 3, 1)]
RESHAPED = [(0,), (1, 0), (2, 16), (2, 4, 4), (0, 4, 4, 1), (1, 0, 4, 1), (1, 4, 4, 2), (2, 4, 4, 1, 1), (2,) * 12]
KERNEL = np.random.default_rng(0).normal(size=(2, 2, 1, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def serving(tf, tmp_path_factory):
    root = tmp_path_factory.mktemp("serving")
    write_repository(tf, root)
    return root


@pytest.fixture(scope="module")
def convolutions(tf, tmp_path_factory):
    """Convolutions behind a reshape that optimisation removes, in a function, and in a loop."""
    kernel = tf.constant(KERNEL)
    spec = [tf.TensorSpec([None, 4, 4, 1], tf.float32, name="x")]

    @tf.function(input_signature=spec)
    def plain(x):
        return {"y": tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID"))}

    @tf.function(input_signature=spec)
    def reshaped(x):
        return {"y": tf.nn.conv2d(tf.reshape(x, [-1, 4, 4, 1]), kernel, 1, "VALID")}

    @tf.function(input_signature=spec)
    def looped(x):
        _, y = tf.while_loop(
            lambda i, _: i < 2,
            lambda i, v: (i + 1, tf.nn.conv2d(v, kernel, 1, "SAME")[..., :1]),
            (0, x),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape(None)),
        )
        return {"y": y}

    folder = tmp_path_factory.mktemp("convolutions") / "1"
    signatures = {"serving_default": plain, "reshaped": reshaped, "looped": looped}
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return folder


@pytest.mark.parametrize("name", ["half_plus_two/00000123", "half_plus_two_tf2/1"])
def test_a_vector_for_a_matrix_is_answered(serving, loaded, name):
    runtime = loaded(serving / name)
    assert runtime.run_loosely("serving_default", {"x": np.float32([1.0, 2.0, 5.0])})["y"].tolist() == [2.5, 3.0, 4.5]
    assert runtime.run_loosely("serving_default", {"x": np.float32(8.0)})["y"].tolist() == 6.0


def test_an_answer_is_the_callers_and_shapes_are_tried_once(serving, loaded, monkeypatch):
    runtime = loaded(serving / "half_plus_two_tf2" / "1")
    x = np.float32([1.0])
    first = runtime.run_loosely("serving_default", {"x": x})["y"]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0
    monkeypatch.setattr("tensorhost.runtimes.tensorflow.graph_outline.import_in_pieces", None)
    assert runtime.run_loosely("serving_default", {"x": np.float32([3.0])})["y"].tolist() == [3.5]


def test_what_the_model_refuses_comes_back_in_its_own_words(serving, loaded):
    runtime = loaded(serving / "shapes" / "1")
    with pytest.raises(InvalidRequestError, match=r"Shape must be rank 2 but is rank 1 \(MatMul\)"):
        runtime.run_loosely("matrix", {"x": np.zeros(3, np.float32)})
    with pytest.raises(InvalidRequestError, match=r"Dimensions must be equal, but are 4 and 3 \(MatMul\)"):
        runtime.run_loosely("matrix", {"x": np.zeros((1, 4), np.float32)})
    assert runtime.run("matrix", {"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize("signature", ["serving_default", "reshaped"])
def test_every_shape_gets_tensorflows_answer_or_a_refusal(tf, convolutions, loaded, signature):
    runtime = loaded(convolutions)
    answered = []
    for shape in SHAPES:
        x = np.random.default_rng(1).random(shape).astype(np.float32)
        try:
            found = runtime.run_loosely(signature, {"x": x})["y"]
        except InvalidRequestError:
            continue
        answered.append(shape)
        if x.size:  # of none TensorFlow's own kernels make different things
            images = x if signature == "serving_default" else tf.reshape(x, [-1, 4, 4, 1])
            convolved = tf.nn.conv2d(images, KERNEL, 1, "VALID")
            wanted = tf.nn.relu(convolved) if signature == "serving_default" else convolved
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=str(shape))
    # Whatever has sixteen numbers a row passes the reshape; the optimised graph, without it, would end the process.
    assert answered == (AS_IMAGES if signature == "serving_default" else RESHAPED)


def test_loops_take_the_declared_number_of_dimensions_only(convolutions, loaded):
    runtime = loaded(convolutions)
    for shape in [(), (5,), (2, 16), (1,) * 6]:
        with pytest.raises(InvalidRequestError, match="loops or branches"):
            runtime.run_loosely("looped", {"x": np.zeros(shape, np.float32)})
    assert runtime.run_loosely("looped", {"x": np.ones((1, 2, 2, 1), np.float32)})["y"].shape == (1, 2, 2, 1)


def test_without_the_check_such_shapes_end_the_process(convolutions):
    """What the check is there for. When this fails, TensorFlow has learnt to refuse them itself."""
    program = f"""
        import numpy as np
        from pathlib import Path
        from tensorhost.runtimes import LoadOptions, load
        runtime = load(Path({str(convolutions)!r}), LoadOptions(1, 1))
        runtime.run("serving_default", {{"x": np.zeros((), np.float32)}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)
    assert done.returncode < 0
    assert b"Check failed" in done.stderr


def test_inputs_of_different_rows(serving, loaded):
    runtime = loaded(serving / "mixed" / "1")
    inputs = {
        "a": np.ones((3, 2), np.float32),
        "n": np.array([10], np.int64),
        "word": np.array([b"one", b"two"], object),
    }
    found = runtime.run_loosely("serving_default", inputs)
    assert found["sum"].tolist() == [12.0, 12.0, 12.0]
    assert found["word"].tolist() == [b"one", b"two"]


def test_small_inputs_cannot_be_broadcast_to_fill_the_memory(serving, loaded):
    runtime = loaded(serving / "mixed" / "1")
    inputs = {
        "a": np.ones((50_000, 2), np.float32),
        "n": np.ones((50_000, 1), np.int64),
        "word": np.array([b"one"], object),
    }
    with pytest.raises(InvalidRequestError, match=r"a tensor of shape \(50000, 50000\) would be made"):
        runtime.run_loosely("serving_default", inputs)
    inputs["n"] = inputs["n"][:3]
    assert runtime.run_loosely("serving_default", inputs)["sum"].shape == (3, 50_000)


def test_large_models_refuse(serving, loaded, monkeypatch):
    monkeypatch.setattr(frozen_graph, "UP_TO_BYTES", 4)
    runtime = loaded(serving / "half_plus_two_tf2" / "1")
    with pytest.raises(InvalidInputShapeError, match=r"shape \[1\], expected \[\?, 1\]"):
        runtime.run_loosely("serving_default", {"x": np.float32([1.0])})


def test_models_with_state_refuse(models, loaded):
    with pytest.raises(InvalidInputShapeError, match=r"shape \[2\], expected \[3\]"):
        loaded(models / "counter").run_loosely("serving_default", {"by": np.zeros(2, np.int32)})


def test_other_runtimes_refuse_and_say_what_differs(tmp_path, loaded):
    write_tflite(tmp_path)
    runtime = loaded(tmp_path / "model.tflite")
    with pytest.raises(InvalidInputShapeError, match=r"Input 'x' has shape \[1\], expected \[\?, 1\]"):
        runtime.run_loosely("serving_default", {"x": np.float32([1.0])})


def test_of_several_runtimes_the_formats_own_is_asked(serving, loaded, tmp_path):
    write_tflite(tmp_path)
    lite, native = loaded(tmp_path / "model.tflite"), loaded(serving / "half_plus_two_tf2" / "1")
    name, x = "serving_default", {"x": np.float32([1.0])}
    routes = {name: [Route(4, lite, name), Route(2**31, native, name)]}
    both = RoutedRuntime(native.signatures, routes, {}, 8, lambda: native)
    assert both.run_loosely(name, x)["y"].tolist() == [2.5]


def test_where_others_won_everything_it_is_loaded_for_the_first_undeclared_shape(serving, tmp_path):
    write_tflite(tmp_path)
    options = LoadOptions()
    lite, loads = load(tmp_path / "model.tflite", options), []

    def load_own():
        loads.append(load(serving / "half_plus_two_tf2" / "1", options))
        return loads[-1]

    name = "serving_default"
    routed = RoutedRuntime(lite.signatures, {name: [Route(2**31, lite, name)]}, {}, 8, load_own)
    assert routed.run(name, {"x": np.float32([[1.0]])})["y"].tolist() == [[2.5]]
    assert loads == []
    assert [routed.run_loosely(name, {"x": np.float32([x])})["y"].tolist() for x in (1, 2)] == [[2.5], [3.0]]
    assert len(loads) == 1
    routed.close()
    with pytest.raises(KeyError):  # it has let go of its calls
        loads[0].run(name, {"x": np.float32([[1.0]])})


def test_where_it_cannot_be_loaded_they_are_refused(loaded, tmp_path, caplog):
    write_tflite(tmp_path)
    lite, tries = loaded(tmp_path / "model.tflite"), []

    def load_own():
        tries.append(1)
        raise ModelFailedError("TensorFlow is not installed.")

    name = "serving_default"
    routed = RoutedRuntime(lite.signatures, {name: [Route(2**31, lite, name)]}, {}, 8, load_own)
    for _ in range(2):
        with pytest.raises(InvalidInputShapeError, match=r"shape \[1\], expected \[\?, 1\]"):
            routed.run_loosely(name, {"x": np.float32([1.0])})
    assert len(tries) == 1


def test_the_session_for_them_has_the_models_tables(models, loaded):
    runtime = loaded(models / "strings")
    found = runtime.run_loosely("serving_default", {"text": np.array([[b"a"], [b"c"]], object)})
    assert found["id"].tolist() == [[1], [-1]]
