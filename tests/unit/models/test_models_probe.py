"""Trying models in children that crash, hang, swell and lie; the children are ``fake_probe_worker.py``."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from model_fakes import EMPTY_SAVED_MODEL

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    LoadTimeoutError,
    MisconfiguredModelError,
    ModelFailedError,
    OutOfMemoryError,
    RuntimeMissingError,
    ShuttingDownError,
    UnsupportedModelError,
    UntrustedModelError,
)
from tensorhost.models import probe as probing
from tensorhost.models import probe_trial
from tensorhost.models.probe import Prober
from tensorhost.models.probe_messages import Examined
from tensorhost.models.probe_process import WorkerProcess
from tensorhost.models.probe_trial import ModelTooLargeError
from tensorhost.runtimes import Finding, FindingKind, LoadOptions

FAKE = (sys.executable, "-S", str(Path(__file__).with_name("fake_probe_worker.py")))


@pytest.fixture
def started(monkeypatch):
    """Every child that is started."""
    processes = []

    class Noted(WorkerProcess):
        def __init__(self, command):
            super().__init__(command)
            processes.append(self)

    monkeypatch.setattr(probing, "WorkerProcess", Noted)
    return processes


@pytest.fixture
def prober(started):
    with Prober(20.0, command=FAKE) as prober:
        yield prober
    assert [process.pid for process in started if is_running(process.pid)] == []


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ended(pid, timeout_s=20.0):
    """Waits until a process that is not ours to wait for has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)


def attempt(prober, told, **options):
    return prober.probe(Path(told), LoadOptions(**options))


def saved_model(tmp_path, told):
    folder = tmp_path / told
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(EMPTY_SAVED_MODEL)
    return folder


def test_a_model_that_passes_is_described(prober):
    report = attempt(prober, "passes")
    spec = report.signatures["s"].inputs["x"]
    assert (spec.name, spec.dtype, spec.shape) == ("x", DType.FLOAT32, (None, 3))
    assert report.signatures["s"].method_name == "m"
    assert report.call_paths == {"s": "p"}
    assert report.refused_signatures == {"t": "why"}
    assert (report.weights_bytes, report.load_s, report.run_s) == (100, 0.25, 0.5)
    assert (report.contents.operations, report.contents.parameters) == ({"MatMul": 2}, 7)
    assert report.probe_s > 0
    assert report.crash == ""


def test_what_a_child_says_of_its_memory_is_believed_up_to_the_limit(started):
    with Prober(20.0, memory_bytes=10**9, command=FAKE) as prober:
        report = attempt(prober, "passes")
    assert report.memory_bytes == 10**9 <= report.peak_bytes


def test_a_short_peak_counts(started):
    with Prober(20.0, memory_bytes=2**30, command=FAKE) as prober:
        assert attempt(prober, "peaks").peak_bytes > 200 * 2**20
    with Prober(20.0, memory_bytes=100 * 2**20, command=FAKE) as prober, pytest.raises(OutOfMemoryError):
        attempt(prober, "peaks")


def test_one_child_tries_one_model_after_the_other(prober, started):
    runtimes = {attempt(prober, "passes").runtime for _ in range(3)}
    assert runtimes == {str(started[0].pid)}
    assert len(started) == 1


@pytest.mark.parametrize(
    ("told", "ending"),
    [
        ("aborts", "signal 6, aborted"),
        ("segfaults", "signal 11, segmentation fault"),
        ("exits", "exit code 3"),
        ("leaves", "exit code 0"),
    ],
)
def test_a_crash_is_a_failure_with_its_reason(prober, started, told, ending):
    with pytest.raises(ModelFailedError) as failed:
        attempt(prober, told)
    assert failed.value.message == (
        f"The model crashed its runtime ({ending}) in a child process, when signature 's' first ran with 'x' [1, 3]."
    )
    assert attempt(prober, "passes").runtime == str(started[1].pid)


def test_a_child_killed_from_outside_ran_out_of_memory(prober):
    with pytest.raises(OutOfMemoryError, match=r"killed the child process .* as it does when memory runs out"):
        attempt(prober, "is_killed")


def test_a_hang_is_a_failure_that_names_the_setting(started):
    with Prober(0.2, command=FAKE) as prober:
        with pytest.raises(
            LoadTimeoutError, match=r"longer than the 0\.2 seconds allowed \(probe_timeout_s\) in a child process, when"
        ):
            attempt(prober, "hangs")
        assert not is_running(started[0].pid)


def test_a_child_that_closes_its_output_is_not_waited_for(prober, started):
    with pytest.raises(OutOfMemoryError):  # it had to be killed, which looks the same from here
        attempt(prober, "closes_its_output")
    assert not is_running(started[0].pid)


def test_swelling_is_stopped_at_the_limit(started):
    with Prober(20.0, memory_bytes=100 * 2**20, command=FAKE) as prober:
        with pytest.raises(ModelTooLargeError, match=r"104857600 are allowed \(probe_memory\)") as failed:
            attempt(prober, "swells")
        assert 100 * 2**20 < failed.value.details["neededBytes"] < 600 * 2**20
        assert failed.value.details["limitBytes"] == 100 * 2**20
        assert not is_running(started[0].pid)


def test_without_a_limit_the_machine_sets_one(prober, monkeypatch):
    monkeypatch.setattr(probe_trial, "available_memory_bytes", lambda: 100 * 2**20)
    with pytest.raises(OutOfMemoryError, match="most of what the machine has free") as failed:
        attempt(prober, "swells")
    assert not isinstance(failed.value, ModelTooLargeError), "there may be more free another time"


@pytest.mark.parametrize("told", ["talks_nonsense", "never_ends_a_line"])
def test_what_is_no_message_is_a_failure(prober, started, told):
    with pytest.raises(ModelFailedError, match="no answer that can be read"):
        attempt(prober, told)
    assert not is_running(started[0].pid)
    attempt(prober, "passes")


def test_what_a_child_starts_ends_with_it(prober):
    with pytest.raises(ModelFailedError) as failed:
        attempt(prober, "leaves_a_child")
    assert ended(int(re.search(r"child (\d+)", failed.value.log_detail)[1]))


def test_names_of_modules_are_left_out_of_a_report(prober):
    with pytest.raises(ModelFailedError) as failed:
        attempt(prober, "reports_crash")
    assert failed.value.log_detail == "Fatal Python error: Aborted\nend"


def test_of_much_that_is_written_the_ends_are_kept(prober):
    with pytest.raises(ModelFailedError) as failed:
        attempt(prober, "writes_much")
    detail = failed.value.log_detail
    assert "line 0 " in detail
    assert "line 999 " in detail
    assert len(detail) < 13_000


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("UnsupportedModelError", UnsupportedModelError),
        ("MisconfiguredModelError", MisconfiguredModelError),
        ("UntrustedModelError", UntrustedModelError),
        ("RuntimeMissingError", RuntimeMissingError),
        ("OutOfMemoryError", OutOfMemoryError),
        ("ModelFailedError", ModelFailedError),
        ("TensorhostError", ModelFailedError),
        ("SystemExit", ModelFailedError),
        ("Mapping", ModelFailedError),
    ],
)
def test_an_error_of_the_models_own_is_the_same_here(prober, started, kind, expected):
    with pytest.raises(expected) as failed:
        attempt(prober, f"fails_{kind}")
    assert type(failed.value) is expected
    assert (failed.value.message, failed.value.details, failed.value.log_detail) == ("No.", {"a": [1]}, "secret")
    attempt(prober, "passes")
    assert len(started) == 1, "an orderly failure costs no child"


def test_a_crash_of_fused_operations_is_cured(prober, started, tmp_path):
    report = prober.probe(saved_model(tmp_path, "crashes_fused"), LoadOptions())
    assert report.crash.startswith(
        "The model crashed its runtime (signal 6, aborted) in a child process, when signature"
    )
    assert len(started) == 2


def test_a_model_that_crashes_either_way_fails_after_two_children(prober, started, tmp_path):
    with pytest.raises(ModelFailedError, match="signal 6, aborted"):
        prober.probe(saved_model(tmp_path, "aborts"), LoadOptions())
    assert len(started) == 2


def test_a_cure_that_fails_in_order_leaves_the_crash_as_the_reason(prober, tmp_path):
    with pytest.raises(ModelFailedError, match="signal 6, aborted"):
        prober.probe(saved_model(tmp_path, "crashes_fused_then_fails"), LoadOptions())


def test_what_was_not_fused_is_not_tried_twice(prober, started, tmp_path):
    with pytest.raises(ModelFailedError, match="signal 6, aborted"):
        prober.probe(saved_model(tmp_path, "aborts"), LoadOptions(remapping=False))
    assert len(started) == 1


def test_a_crash_before_anything_was_executed_is_no_matter_of_fusing(prober, started, tmp_path):
    with pytest.raises(ModelFailedError, match="while its files were examined"):
        prober.probe(saved_model(tmp_path, "aborts_examined"), LoadOptions())
    assert len(started) == 1


def test_memory_is_no_matter_of_fusing(started, tmp_path):
    with Prober(20.0, memory_bytes=100 * 2**20, command=FAKE) as prober, pytest.raises(OutOfMemoryError):
        prober.probe(saved_model(tmp_path, "swells"), LoadOptions())
    assert len(started) == 1


def test_a_child_that_left_while_idle_is_replaced(prober, started):
    attempt(prober, "passes")
    kill(started[0].pid)
    assert attempt(prober, "passes").runtime == str(started[1].pid)


def test_children_that_left_are_cleared_away(prober, started):
    attempt(prober, "passes")
    kill(started[0].pid)
    assert is_running(started[0].pid), "its exit code has not been read"
    prober.end_idle()
    assert not is_running(started[0].pid)
    attempt(prober, "passes")
    prober.end_idle()
    assert is_running(started[1].pid)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)


def test_a_program_that_never_speaks_is_no_endless_loop(prober):
    with pytest.raises(ModelFailedError, match="does not start"):
        attempt(prober, "never_speaks")


def test_a_program_that_is_not_there_is_a_failure():
    with Prober(20.0, command=("/no/such/program",)) as prober, pytest.raises(ModelFailedError, match="does not start"):
        attempt(prober, "passes")


def test_a_child_that_has_imported_a_models_own_modules_is_not_used_again(prober, started):
    attempt(prober, "passes", modules=("registered",))
    attempt(prober, "passes", modules=("registered",), model_modules=("own_layers",))
    assert len(started) == 1
    assert not is_running(started[0].pid)
    attempt(prober, "passes")
    assert len(started) == 2


def test_findings_are_told_before_the_model_is_executed(prober, tmp_path):
    told = []
    with pytest.raises(ModelFailedError, match="signal 6"):
        prober.probe(saved_model(tmp_path, "aborts_with_findings"), LoadOptions(), None, told.append)
    [examined] = told
    assert examined.count == 30
    assert examined.worst == Examined.of([Finding(FindingKind.READS_FILES, "ReadFile", 2, "It reads.")]).worst


def test_a_child_that_keeps_memory_is_not_used_again(prober, started, monkeypatch):
    monkeypatch.setattr(probing, "_KEPT_GROWTH_BYTES", -(2**40))
    attempt(prober, "passes")
    assert not is_running(started[0].pid)


def test_closing_ends_a_trial_at_once(prober, started, monkeypatch):
    running = threading.Event()
    receive = WorkerProcess.receive

    def noticed(self, timeout_s):
        line = receive(self, timeout_s)
        if line is not None and b"running" in line:
            running.set()
        return line

    monkeypatch.setattr(WorkerProcess, "receive", noticed)
    with ThreadPoolExecutor(1) as pool:
        trial = pool.submit(attempt, prober, "hangs")
        assert running.wait(20)
        prober.close()
        with pytest.raises(ShuttingDownError):
            trial.result(20)
    assert not is_running(started[0].pid)
    with pytest.raises(ShuttingDownError):
        attempt(prober, "passes")
    assert len(started) == 1


def test_temporary_files_of_a_child_go_with_it(prober, started):
    attempt(prober, "passes")
    scratch = Path(started[0]._scratch.name)
    assert scratch.is_dir()
    prober.close()
    assert not scratch.exists()


def test_a_child_has_the_servers_environment_but_not_its_token(prober, started, monkeypatch):
    monkeypatch.setenv("TENSORHOST_ADMIN_TOKEN", "secret")
    monkeypatch.setenv("TENSORHOST_PORT", "3001")
    monkeypatch.setattr(sys, "path", ["", "/somewhere/else"])
    with pytest.raises(ModelFailedError) as failed:
        attempt(prober, "tells_environment")
    assert json.loads(failed.value.log_detail) == {
        "TENSORHOST_ADMIN_TOKEN": None,
        "TENSORHOST_PORT": "3001",
        "TMPDIR": started[0]._scratch.name,
        "PYTHONPATH": f"{Path.cwd()}:/somewhere/else",
    }
