"""SavedModels read by OpenVINO as they are, without TensorFlow: what is read off the bytes, and what is left alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tensorhost
from tensorhost.core.errors import InvalidRequestError, TensorhostError, UnsupportedModelError
from tensorhost.runtimes import load
from tensorhost.runtimes.base import Precision
from tensorhost.runtimes.openvino.loader import load_saved_model
from tensorhost.runtimes.openvino.saved_model_file import examine_without_tensorflow, read_signatures

DEMO = Path(tensorhost.__file__).parent / "demo" / "models"


def save(tf, folder, function, *specs, names=("serving_default",), **state):
    module = tf.Module()
    for name, value in state.items():
        setattr(module, name, value)
    module.kept = {name: tf.function(lambda x: function(x), input_signature=specs) for name in names}
    tf.saved_model.save(module, str(folder), signatures=module.kept)
    return folder


@pytest.fixture(scope="session")
def floats(tf):
    return tf.TensorSpec((None, 3), tf.float32, name="x")


@pytest.mark.parametrize("model", ["digits/1", "digits/2", "langid/1"])
def test_signatures_are_those_that_tensorflow_reads(model, loaded):
    assert read_signatures(DEMO / model) == list(loaded(DEMO / model).signatures.values())


def test_every_signature_of_every_kind_is_read_as_tensorflow_reads_it(models, loaded):
    compared = 0
    for folder in sorted(models.iterdir()):
        try:
            known = loaded(folder)
        except TensorhostError:
            continue
        read = {each.name: each for each in read_signatures(folder)}
        for name, signature in known.signatures.items():
            assert read[name] == signature, folder.name
            compared += 1
    assert compared > 5


def test_operations_are_counted(tf, tmp_path, floats):
    folder = save(tf, tmp_path / "m", lambda x: {"y": tf.nn.relu(x) * 2.0}, floats)
    contents = examine_without_tensorflow(folder, None)
    assert contents.operations["Relu"] == 1
    assert contents.findings == ()


def test_it_answers_as_tensorflow_does(tf, tmp_path, floats, options, loaded):
    folder = save(tf, tmp_path / "m", lambda x: {"y": tf.nn.relu(x) * 2.0, "z": x - 1.0}, floats)
    runtime = load_saved_model(folder, options)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    expected = loaded(folder).run("serving_default", {"x": x})
    for name, array in runtime.run("serving_default", {"x": x}).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6)
    assert "not compared" in runtime.call_path("serving_default")
    runtime.close()


def test_of_several_signatures_only_the_default_one_is_served(tf, tmp_path, floats, options):
    names = ("serving_default", "other")
    runtime = load_saved_model(save(tf, tmp_path / "m", lambda x: {"y": x + 1.0}, floats, names=names), options)
    assert list(runtime.signatures) == ["serving_default"]
    assert list(runtime.refused_signatures) == ["other"]
    runtime.close()
    with pytest.raises(UnsupportedModelError, match="needs 'serving_default'"):
        load_saved_model(save(tf, tmp_path / "n", lambda x: {"y": x + 1.0}, floats, names=("sig9", "sig10")), options)


def test_state_that_a_call_changes_needs_tensorflow(tf, tmp_path, floats, options):
    counter = tf.Variable(0.0)

    def count(x):
        return {"y": x + counter.assign_add(1.0)}

    with pytest.raises(UnsupportedModelError, match="variables that a call changes"):
        load_saved_model(save(tf, tmp_path / "m", count, floats, counter=counter), options)


def test_weights_are_no_state(tf, tmp_path, floats, options):
    weights = tf.Variable(np.ones((3, 2), np.float32))
    folder = save(tf, tmp_path / "m", lambda x: {"y": tf.matmul(x, weights)}, floats, weights=weights)
    runtime = load_saved_model(folder, options)
    np.testing.assert_allclose(runtime.run("serving_default", {"x": np.ones((1, 3), np.float32)})["y"], [[3.0, 3.0]])
    runtime.close()


def test_more_than_32_bits_need_tensorflow(tf, tmp_path, options):
    double = tf.TensorSpec((None,), tf.float64, name="x")
    with pytest.raises(UnsupportedModelError, match="float64"):
        load_saved_model(save(tf, tmp_path / "a", lambda x: {"y": x * 2.0}, double), options)
    whole = tf.TensorSpec((None,), tf.int64, name="x")
    with pytest.raises(UnsupportedModelError, match="Mul computes with 64 bits"):
        load_saved_model(save(tf, tmp_path / "b", lambda x: {"y": x * x}, whole), options)


def test_64_bit_positions_are_taken_as_far_as_they_fit(tf, tmp_path, options):
    table = tf.constant(np.arange(10, dtype=np.float32))
    ids = tf.TensorSpec((None,), tf.int64, name="x")
    runtime = load_saved_model(save(tf, tmp_path / "m", lambda x: {"y": tf.gather(table, x)}, ids), options)
    np.testing.assert_array_equal(runtime.run("serving_default", {"x": np.array([3, 9])})["y"], [3.0, 9.0])
    with pytest.raises(InvalidRequestError, match="beyond 32 bits"):
        runtime.run("serving_default", {"x": np.array([2**31])})
    runtime.close()


@pytest.mark.parametrize("precision", list(Precision))
def test_the_call_path_says_what_is_computed_in(tf, tmp_path, floats, options, precision):
    folder = save(tf, tmp_path / "m", lambda x: {"y": x * 2.0}, floats)
    runtime = load_saved_model(folder, replace(options, precision=precision))
    told = runtime.call_path("serving_default")
    assert ("bf16" in told) if precision is Precision.BF16 and "float32" not in told else "float32" in told
    runtime.close()


def test_a_damaged_file_is_an_error_of_the_models(tmp_path, options):
    whole = (DEMO / "digits" / "1" / "saved_model.pb").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if number % 2 else whole)
        for position in rng.integers(0, len(damaged), 5):
            damaged[position] ^= int(rng.integers(1, 256))
        (tmp_path / "saved_model.pb").write_bytes(damaged)
        for read in (read_signatures, lambda folder: examine_without_tensorflow(folder, options)):
            try:
                read(tmp_path)
            except TensorhostError:
                continue


def test_tensorflow_is_preferred_where_it_is_installed(options):
    runtime = load(DEMO / "digits" / "1", options)
    assert runtime.name == "tensorflow"
    runtime.close()


def test_openvino_tells_nobody_of_its_use(tmp_path):
    program = (
        "import sys; from tensorhost.runtimes.openvino.process import core, openvino; "
        f"openvino().save_model(core().read_model({str(DEMO / 'digits' / '1')!r}), {str(tmp_path / 'm.xml')!r}); "
        "print(sys.modules['openvino_telemetry'], 'openvino.tools.ovc.telemetry_stub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["None", "True"], done.stderr
