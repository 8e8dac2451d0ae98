"""What holds for every call: memory, threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import aligned_empty
from tensorhost.runtimes import LoadOptions, load
from tensorhost.runtimes.noise import without_noise
from tensorhost.runtimes.tensorflow.session import settle


@pytest.fixture(scope="module")
def edges(tf, models, options):
    runtime = load(models / "edges", options)
    yield runtime
    runtime.close()


def aligned(values):
    array = aligned_empty(values.shape, values.dtype)
    array[...] = values
    return array


def test_outputs_share_no_memory_with_the_fed_buffer_and_leave_it_alone(edges):
    fed = aligned(np.full((300, 4), -1.0, np.float32))
    out = edges.run("serving_default", {"x": fed})
    assert (fed == -1.0).all()
    assert not any(np.shares_memory(value, fed) for value in out.values())
    fed[:] = 7.0
    assert (out["same"] == -1.0).all()
    assert (out["first"] == -1.0).all()
    assert (out["relu"] == 0.0).all()


def test_outputs_cannot_be_written_so_constants_stay_constant(edges):
    out = edges.run("serving_default", {"x": np.zeros((1, 4), np.float32)})
    for value in out.values():
        assert isinstance(value, np.ndarray)
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 9
    again = edges.run("serving_default", {"x": np.zeros((1, 4), np.float32)})
    assert again["constant"].tolist() == list(range(1000))
    assert again["variable"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert again["scalar"].shape == ()


def test_outputs_outlive_the_runtime_and_the_fed_buffer(models, options):
    runtime = load(models / "edges", options)
    out = runtime.run("serving_default", {"x": aligned(np.arange(4000, dtype=np.float32).reshape(-1, 4))})
    runtime.close()
    del runtime
    gc.collect()
    filler = [np.zeros(4000, np.float32) for _ in range(50)]
    assert out["same"].ravel().tolist() == list(range(4000))
    assert out["constant"].tolist() == list(range(1000))
    assert len(filler) == 50


def test_close_may_be_called_twice(models, options):
    runtime = load(models / "half_plus_two", options)
    runtime.close()
    runtime.close()


def test_eight_threads_get_their_own_answers(edges):
    def ask(number):
        x = aligned(np.full((50, 4), number, np.float32))
        for _ in range(50):
            out = edges.run("serving_default", {"x": x})
            assert (out["same"] == number).all()
            assert out["scalar"] == number * 200
        return number

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == list(range(8))


def test_settle_copies_a_view_of_a_fed_array():
    fed = np.arange(10.0)
    kept = settle(fed[2:4], [fed])
    fed[:] = 0
    assert kept.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("value", [b"text", np.float32(2), np.bool_(True)])
def test_settle_makes_arrays_of_scalars(value):
    array = settle(value, [])
    assert array.shape == ()
    assert array.item() == value
    assert array.dtype == (object if isinstance(value, bytes) else value.dtype)


@given(
    st.lists(st.integers(0, 9), max_size=4), st.sampled_from([dtype for dtype in DType if dtype is not DType.STRING])
)
def test_aligned_empty_is_aligned_and_writable(shape, dtype):
    array = aligned_empty(shape, dtype.numpy)
    assert array.shape == tuple(shape)
    assert array.dtype == dtype.numpy
    assert array.ctypes.data % 64 == 0 or array.size == 0
    assert array.flags.c_contiguous
    array[...] = np.zeros((), dtype.numpy)


def test_aligned_empty_of_strings_holds_objects():
    assert aligned_empty((2, 2), DType.STRING.numpy).tolist() == [[None, None], [None, None]]


def test_memory_comes_back_after_close(tf, tmp_path, options):
    module = tf.Module()
    module.weight = tf.Variable(np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32))
    call = tf.function(
        lambda x: {"y": x @ module.weight}, input_signature=[tf.TensorSpec([None, 2048], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": call})
    x = np.ones((1, 2048), np.float32)

    def cycle():
        runtime = load(tmp_path / "m", options)
        runtime.run("serving_default", {"x": x})
        runtime.close()
        del runtime
        gc.collect()
        _trim()
        return psutil.Process().memory_info().rss

    cycle()
    before = cycle()
    assert max(cycle() for _ in range(5)) < before + 12 * 2**20  # the weights are 16 MiB


def _trim():
    import ctypes

    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
    )


def test_a_pointwise_convolution_beside_a_pad_does_not_crash(models):
    """In a process of its own: as a function, TensorFlow 2.21 dies here unless its remapping pass is off."""
    done = _python(f"""
        from pathlib import Path
        import numpy as np
        from tensorhost.runtimes import LoadOptions, load
        from tensorhost.runtimes.tensorflow import saved_model

        def refuse(*arguments, **options):
            raise RuntimeError("no session")

        x = np.ones((2, 8, 8, 24), np.float32)
        runtimes = [load(Path({str(models / "pointwise")!r}), LoadOptions())]
        saved_model._load = refuse
        runtimes.append(load(Path({str(models / "pointwise")!r}), LoadOptions()))
        session, function = (runtime.run("serving_default", {{"x": x}})["y"] for runtime in runtimes)
        print(runtimes[0].call_path("serving_default"), runtimes[1].call_path("serving_default"), sep="; ")
        print(session.shape, np.allclose(session, function, rtol=1e-5, atol=1e-5))
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "frozen graph, single-threaded session, prepared callable; function call",
        "(2, 8, 8, 28) True",
    ]


def test_prepare_is_quiet_leaves_keras_alone_and_gives_pools_ordinary_priority(models):
    done = _python(f"""
        import os, sys, threading
        from pathlib import Path
        from tensorhost.runtimes import LoadOptions, load, prepare

        options = LoadOptions(2, 2)
        prepare(options)
        prepare(options)
        print("keras" in sys.modules, "TF_USE_LEGACY_KERAS" in os.environ)
        LINUX = sys.platform == "linux"  # elsewhere threads have no priority of their own

        def load_at_low_priority():
            own = threading.get_native_id()
            if LINUX:
                os.setpriority(os.PRIO_PROCESS, own, 10)
            runtimes = [load(Path({str(models)!r}) / name, options) for name in ("strings", "counter", "loop")]
            tasks = {{int(task) for task in os.listdir("/proc/self/task")}} - {{own}} if LINUX else set()
            print(len(runtimes), [task for task in tasks if os.getpriority(os.PRIO_PROCESS, task) != 0])

        thread = threading.Thread(target=load_at_low_priority)
        thread.start()
        thread.join()
        import tensorflow as tf
        print(tf.keras.__name__)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["False False", "3 []", "keras._tf_keras.keras"]
    assert "oneDNN custom operations" not in done.stderr


def test_loading_the_demo_models_prints_no_error():
    done = _python("""
        from tensorhost.demo import demo_models_path
        from tensorhost.runtimes import LoadOptions, load

        for folder in sorted(demo_models_path().glob("*/[0-9]*")):
            runtime = load(folder, LoadOptions())
            print(folder.parent.name, *(runtime.call_path(name) for name in runtime.signatures))
    """)
    assert done.returncode == 0, done.stderr
    assert "E0000" not in done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["digits", "digits", "langid", "wine"]
    assert all("frozen graph, single-threaded session" in line for line in lines)


def test_what_else_is_printed_while_importing_is_passed_on(capfd):
    with without_noise():
        os.write(2, b"I0 port.cc:153] oneDNN custom operations are on.\nsomething of interest\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "something of interest\n"


def test_options_have_defaults():
    assert LoadOptions() == LoadOptions(0, 0)
