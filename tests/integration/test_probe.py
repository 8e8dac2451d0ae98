"""A server and models that kill TensorFlow, really: it stays up, says why, and leaves no process behind."""

from __future__ import annotations

import os
import select
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from native_models import write_constant
from native_server import RunningServer

CHANNELS, FILTERS = 24, 28


@pytest.fixture(scope="module")
def models(tf, tmp_path_factory):
    """A repository of a good model, one that crashes TensorFlow when it fuses operations, and one that always does."""
    root = tmp_path_factory.mktemp("probe") / "models"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_constant(tf, root / "good" / "1", 1.0)
        write_crash_of_fused_operations(tf, root / "fused" / "1")
        write_crash(tf, root / "killer" / "1")
    return root


def write_crash_of_fused_operations(tf, folder):
    """A 1x1 convolution, its kernel computed in a function, added to a Pad: TensorFlow 2.21 on x86 takes that Pad for
    the convolution's own."""
    random = np.random.default_rng(0)
    module = tf.Module()
    module.kernel = tf.Variable(random.normal(size=(1, 1, CHANNELS, FILTERS)).astype(np.float32))
    module.bias = tf.Variable(random.normal(size=FILTERS).astype(np.float32))

    @tf.function(experimental_attributes={"_noinline": True})
    def convolve(x, kernel, bias):
        convolved = tf.nn.bias_add(tf.nn.conv2d(x, kernel * 1.5, 1, "VALID"), bias)
        return convolved + tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, FILTERS - CHANNELS]])

    @tf.function(input_signature=[tf.TensorSpec([1, 64, 64, CHANNELS], tf.float32, name="x")])
    def answer(x):
        return {"y": convolve(x, module.kernel, module.bias)}

    # A call of a function is saved with the options of the moment, and tensorhost has switched this one off here.
    tf.config.optimizer.set_experimental_options({"remapping": True})
    try:
        tf.saved_model.save(module, str(folder), signatures=answer)
    finally:
        tf.config.optimizer.set_experimental_options({"remapping": False})


def write_crash(tf, folder):
    """A convolution of an input of any rank: TensorFlow checks the rank where it can only abort."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def answer(x):
        return {"y": tf.nn.conv2d(x, tf.ones([1, 1, 3, 4]), 1, "VALID")}

    tf.saved_model.save(module, str(folder), signatures=answer)


def write_endless(tf, folder):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def answer(x):
        return {"y": tf.while_loop(lambda value: tf.reduce_sum(value) >= 0, lambda value: [value * 1.0], [x])[0]}

    tf.saved_model.save(module, str(folder), signatures=answer)


@pytest.fixture(scope="module")
def probed(models):
    with RunningServer(models, "--load-attempts", 1, "--settle-s", 0, "--drain-window-s", 0) as server:
        server.wait_for("ready")
        yield server
        assert server.process.poll() is None, "the server died"
        assert server.stop() == 0


def described(server, name):
    return server.get(f"/models/{name}").json


def test_the_server_and_its_other_models_stay_up(probed):
    assert probed.predict("good", [0.0])["predictions"] == [1.0]
    facts = described(probed, "good")
    assert 0 < facts["probeTimeMs"] < facts["loadTimeMs"]
    assert facts["peakMemoryBytes"] > 0
    assert facts["findings"] == facts["disabledOptimizations"] == []
    record = probed.wait_for("available", model="good/1")
    assert 0 < record["probe_s"] < record["load_s"]


def test_a_model_that_kills_tensorflow_is_a_failed_load_with_its_reason(probed):
    [entry] = probed.get("/models").json["unavailable"]
    assert (entry["name"], entry["state"], entry["error"]["code"]) == ("killer", "END", "MODEL_FAILED")
    assert entry["error"]["message"].startswith("The model crashed its runtime (signal 6, abort")
    assert "when signature 'serving_default' first ran with 'x' [1]" in entry["error"]["message"]
    assert probed.refuse("killer", [0.0])["code"] == "MODEL_NOT_READY"
    assert "Check failed" in probed.wait_for("load failed", model="killer/1")["detail"]


def test_a_model_that_crashes_with_fused_operations_is_served_without(probed, models):
    import tensorflow as tf

    [note] = described(probed, "fused")["disabledOptimizations"]
    assert note["name"] == "remapping"
    assert "signal 11, segmentation fault" in note["reason"]
    probed.wait_for("served without an optimisation", model="fused/1")
    x = np.ones((1, 64, 64, CHANNELS), np.float32)
    answer = np.array(probed.predict("fused", x.tolist())["predictions"])
    module = tf.saved_model.load(str(models / "fused" / "1"))
    kernel, bias = (variable.numpy() for variable in (module.kernel, module.bias))
    expected = kernel.sum(axis=(0, 1, 2)) * 1.5 + bias + np.pad(np.ones(CHANNELS), (0, FILTERS - CHANNELS))
    np.testing.assert_allclose(answer, np.broadcast_to(expected, answer.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("killed", [True, False])
def test_no_child_outlives_its_server(tf, tmp_path, killed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_endless(tf, tmp_path / "models" / "endless" / "1")
    flags = ("--settle-s", 0, "--drain-window-s", 0)
    with RunningServer(tmp_path / "models", *flags, TMPDIR=str(tmp_path)) as server:
        server.wait_for("loading", model="endless/1")
        children = wait_for_children(server.process.pid)
        if killed:
            server.process.kill()
            server.process.wait(30)
        else:
            assert server.stop() == 0
        for child in children:
            assert has_ended(child)


def wait_for_children(pid):
    """Handles of the processes that ``pid`` has started, as soon as there is one."""
    server = psutil.Process(pid)
    while not (children := server.children(recursive=True)):
        assert server.is_running()
    return [os.pidfd_open(child.pid) for child in children]


def has_ended(handle):
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


def test_with_the_probe_off_a_model_is_loaded_at_once(models, tmp_path):
    (tmp_path / "good").symlink_to(Path(models) / "good")
    with RunningServer(tmp_path, "--no-probe", "--settle-s", 0, "--drain-window-s", 0) as server:
        assert server.wait_for("available", model="good/1")["probe_s"] == 0
        assert psutil.Process(server.process.pid).children() == []
        facts = described(server, "good")
        assert (facts["probeTimeMs"], facts["peakMemoryBytes"], facts["findings"]) == (0.0, None, [])
        assert server.stop() == 0
