"""Interpreters lent to calls: in parallel, after failures, one thread or several, and memory given back."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tflite_models
from ai_edge_litert import schema_py_generated as schema

from tensorhost.core.errors import InternalError, ModelFailedError
from tensorhost.runtimes import LoadOptions, load
from tensorhost.runtimes.litert import loader
from tensorhost.runtimes.litert import runtime as litert_runtime
from tensorhost.runtimes.litert.interpreter import Lane, Pool

OP = schema.BuiltinOperator
X = np.array([[-1, 2]], np.float32)


@pytest.fixture
def absolute(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite_models.absolute(signature=[-1, 2]).build())
    return path


def lanes(limit, *, reusable=True):
    made = []

    def make():
        made.append(Lane(object()))
        return made[-1]

    return Pool(make, limit, reusable=reusable), made


def test_one_caller_needs_one_interpreter():
    pool, made = lanes(4)
    for _ in range(5):
        pool.give(pool.take())
    assert len(made) == pool.size == 1


def test_callers_at_once_get_different_ones_and_the_last_used_is_used_next():
    pool, made = lanes(3)
    first, second = pool.take(), pool.take()
    assert first is not second
    pool.give(first)
    pool.give(second)
    assert pool.take() is second
    assert pool.take() is first
    assert len(made) == 2


@pytest.mark.parametrize("end", ["give", "discard"])
def test_who_waits_goes_on_when_any_call_ends(end):
    pool, made = lanes(1)
    lane = pool.take()
    waiting = threading.Event()
    changed = pool._changed
    wait = changed.wait

    def wait_and_tell():
        waiting.set()
        wait()

    changed.wait = wait_and_tell
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(pool.take)
        assert waiting.wait(10)
        if end == "give":
            pool.give(lane)
        else:
            pool.discard()
        taken = waiter.result(10)
    assert (taken is lane) is (end == "give")
    assert len(made) == (1 if end == "give" else 2)
    assert pool.size == 1


def test_what_cannot_be_made_takes_no_place():
    attempts = []

    def make():
        attempts.append(1)
        if len(attempts) < 3:
            raise ModelFailedError("no")
        return Lane(object())

    pool = Pool(make, 1)
    for _ in range(2):
        with pytest.raises(ModelFailedError):
            pool.take()
    assert pool.size == 0
    assert isinstance(pool.take(), Lane)


def test_lanes_that_keep_state_are_used_once():
    pool, made = lanes(2, reusable=False)
    for _ in range(3):
        pool.give(pool.take())
    assert len(made) == 3
    assert pool.size == 0


def test_lanes_made_ahead_are_the_ones_taken():
    pool, made = lanes(4)
    pool.give(pool.take())
    pool.reserve(2)
    assert (pool.size, len(made)) == (2, 2)
    assert {id(pool.take()), id(pool.take())} == set(map(id, made))
    assert len(made) == 2


def test_no_lanes_are_made_ahead_that_would_serve_nobody():
    pool, made = lanes(4, reusable=False)
    pool.reserve(2)
    assert (pool.size, made) == (0, [])


def test_closing_lets_go_of_what_is_idle_and_makes_no_more():
    pool, _ = lanes(2)
    pool.give(pool.take())
    pool.close()
    assert pool.size == 0
    with pytest.raises(InternalError, match="closed"):
        pool.take()


def test_nothing_of_a_closed_model_is_kept(absolute):
    runtime = load(absolute, LoadOptions())
    runtime.tune("serving_default", samples(1))
    lane = weakref.ref(runtime._pool._idle[0].interpreter)
    runtime.close()
    gc.collect()
    assert lane() is None


def test_calls_are_in_the_model_at_the_same_time(absolute, monkeypatch):
    """Each call waits inside the model for the other: they only meet if neither holds up the other."""
    monkeypatch.setattr(loader, "usable_cores", lambda: 2)
    runtime = load(absolute, LoadOptions(intra_op_threads=1))
    meeting = threading.Barrier(2)
    run = litert_runtime.SignatureCall.run

    def run_together(self, lane, inputs):
        meeting.wait(10)
        return run(self, lane, inputs)

    monkeypatch.setattr(litert_runtime.SignatureCall, "run", run_together)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda factor: runtime.run("serving_default", {"x": X * factor})["y"], (1, 3)))
    assert [value.tolist() for value in found] == [[[1, 2]], [[3, 6]]]
    assert runtime._pool.size == 2
    runtime.close()


def test_eight_threads_get_their_own_answers(absolute, monkeypatch):
    monkeypatch.setattr(loader, "usable_cores", lambda: 3)
    runtime = load(absolute, LoadOptions(intra_op_threads=1))

    def ask(number):
        for rows in (1, 4, 1, 2) * 20:
            out = runtime.run("serving_default", {"x": np.full((rows, 2), -number, np.float32)})["y"]
            assert out.shape == (rows, 2)
            assert (out == number).all()
        return number

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == list(range(8))
    assert runtime._pool.size <= 3
    runtime.close()


def test_an_interpreter_that_failed_is_not_used_again(absolute, monkeypatch):
    runtime = load(absolute, LoadOptions(intra_op_threads=1))
    used = []
    run = litert_runtime.SignatureCall.run

    def note(self, lane, inputs):
        used.append(lane)
        if len(used) == 2:
            raise ModelFailedError("no")
        return run(self, lane, inputs)

    monkeypatch.setattr(litert_runtime.SignatureCall, "run", note)
    for number in range(4):
        if number == 1:
            with pytest.raises(ModelFailedError):
                runtime.run("serving_default", {"x": X})
        else:
            assert runtime.run("serving_default", {"x": X})["y"].tolist() == [[1, 2]]
    assert used[0] is used[1]
    assert used[2] is used[3]
    assert used[1] is not used[2]
    runtime.close()


@pytest.fixture
def raced(absolute, monkeypatch):
    """A model with one and with several threads, and what the race between them shall say, by rows."""
    monkeypatch.setattr(loader, "usable_cores", lambda: 2)
    runtime = load(absolute, LoadOptions())
    seconds = {}
    monkeypatch.setattr(litert_runtime, "_race", lambda call, pools, inputs: seconds[call.rows(inputs)])
    yield runtime, seconds
    runtime.close()


def samples(*rows):
    return [{"x": np.ones((count, 2), np.float32)} for count in rows]


def test_one_thread_serves_up_to_where_several_are_clearly_faster(raced):
    runtime, seconds = raced
    seconds |= {1: (1.0, 2.0), 2: (1.2, 1.0), 4: (3.0, 1.0), 8: (1.0, 3.0)}
    runtime.tune("serving_default", samples(1, 2, 4, 8))
    path = runtime.call_path("serving_default")
    assert path == "LiteRT interpreter, 2 threads, operations in one thread up to 2 rows"
    for rows in (1, 2, 3, 8):
        assert runtime.run("serving_default", {"x": np.full((rows, 2), -1, np.float32)})["y"].sum() == 2 * rows
    assert runtime._sequential.size == 1
    seconds[1] = (2.0, 1.0)
    runtime.tune("serving_default", samples(1, 2))
    assert runtime.call_path("serving_default") == "LiteRT interpreter, 2 threads"


def test_the_race_is_run(absolute, monkeypatch):
    monkeypatch.setattr(loader, "usable_cores", lambda: 2)
    runtime = load(absolute, LoadOptions())
    runtime.tune("serving_default", samples(1, 8))
    assert runtime.call_path("serving_default").startswith("LiteRT interpreter, 2 threads")
    assert runtime._sequential.size == 1
    runtime.close()


@pytest.mark.parametrize(("options", "cores"), [(LoadOptions(1), 2), (LoadOptions(2), 2), (LoadOptions(), 1)])
def test_there_is_no_race_where_the_operator_chose_or_one_core_is_all(absolute, monkeypatch, options, cores):
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    runtime = load(absolute, options)
    before = runtime.call_path("serving_default")
    runtime.tune("serving_default", samples(1, 8))
    assert runtime.call_path("serving_default") == before
    assert runtime._sequential is None
    runtime.close()


def test_large_models_are_not_held_twice(absolute, monkeypatch):
    monkeypatch.setattr(loader, "usable_cores", lambda: 2)
    monkeypatch.setattr(loader, "SEQUENTIAL_UP_TO_BYTES", -1)
    runtime = load(absolute, LoadOptions())
    assert runtime._sequential is None
    runtime.close()


def test_a_call_without_inputs_counts_as_one_row(tmp_path):
    flat = tflite_models.Flat()
    flat.tensor("c", (2,), constant=np.array([-1, 2], np.float32))
    flat.tensor("y", (2,))
    flat.operator(OP.ABS, [0], [1])
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.ports([], [1]).build())
    runtime = load(path, LoadOptions())
    assert runtime.signatures["serving_default"].inputs == {}
    for _ in range(2):
        assert runtime.run("serving_default", {})["y"].tolist() == [1, 2]
    runtime.close()


def test_interpreters_threads_have_ordinary_priority_whoever_loads(absolute):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(f"""
        import os, sys, threading
        from pathlib import Path
        import numpy as np
        from tensorhost.runtimes.base import LoadOptions
        from tensorhost.runtimes.litert.interpreter import prepare
        from tensorhost.runtimes.litert.loader import load_tflite

        prepare()
        LINUX = sys.platform == "linux"  # elsewhere threads have no priority of their own

        def load_at_low_priority():
            own = threading.get_native_id()
            if LINUX:
                os.setpriority(os.PRIO_PROCESS, own, 10)
            before = set(os.listdir("/proc/self/task")) if LINUX else set()
            runtime = load_tflite(Path({str(absolute)!r}), LoadOptions(intra_op_threads=3))
            runtime.run("serving_default", {{"x": np.ones((1, 2), np.float32)}})
            started = set(os.listdir("/proc/self/task")) - before if LINUX else set()
            priorities = [os.getpriority(os.PRIO_PROCESS, int(task)) for task in started]
            print(priorities == [0, 0] * LINUX)

        thread = threading.Thread(target=load_at_low_priority)
        thread.start()
        thread.join()
    """)], capture_output=True, text=True, timeout=100)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"


def test_memory_comes_back_after_close(tmp_path):
    flat = tflite_models.Flat()
    flat.tensor("x", (1, 2048), signature=[-1, 2048])
    flat.tensor("w", (2048, 2048), constant=np.random.default_rng(0).random((2048, 2048), np.float32))
    flat.tensor("b", (2048,), constant=np.zeros(2048, np.float32))
    flat.tensor("y", (1, 2048), signature=[-1, 2048])
    options = schema.FullyConnectedOptionsT()
    flat.operator(OP.FULLY_CONNECTED, [0, 1, 2], [3], options=options, kind=schema.BuiltinOptions.FullyConnectedOptions)
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.ports([0], [3]).build())
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(f"""
        from pathlib import Path
        import numpy as np
        from tensorhost.models.loading import release_memory
        from tensorhost.runtimes import LoadOptions, load
        from tensorhost.telemetry import process_memory

        def cycle():
            runtime = load(Path({str(path)!r}), LoadOptions(intra_op_threads=1))
            assert runtime.weights_bytes == 4 * (2048 * 2048 + 2048)
            runtime.run("serving_default", {{"x": np.ones((1, 2048), np.float32)}})
            runtime.close()
            runtime.close()
            del runtime
            release_memory()
            return process_memory().rss

        cycle()
        before = cycle()
        print(min(cycle() for _ in range(5)) - before)  # what is kept is there after every cycle
    """)], capture_output=True, text=True, timeout=100)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 12 * 2**20  # the weights are 16 MiB, and packed once more
