"""The child process that tries models: what it does and announces, in this process; and its life, as a process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from model_fakes import FakeRuntime, signature
from tests.unit.codecs.tensor_messages import tensor_bytes

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tfrecords import frame
from tensorhost.core.errors import MisconfiguredModelError, ModelFailedError, UntrustedModelError
from tensorhost.models import probe_worker
from tensorhost.models.probe import Prober
from tensorhost.models.probe_messages import Examined, Failed, FirstRuns, Passed, ProbeRequest, Stage
from tensorhost.models.warmup_records import FILE
from tensorhost.runtimes import Contents, Finding, FindingKind, LoadOptions
from tensorhost.runtimes.base import Trust

ROWS = signature((None, 2))
READS = Finding(FindingKind.READS_FILES, "ReadFile", 1, "It reads.")


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Tries a runtime as the child would; the messages sent."""
    monkeypatch.setattr(probe_worker, "prepare_runtime", lambda _format, _options: None)
    monkeypatch.setattr(probe_worker, "release_memory", lambda: None)
    monkeypatch.setattr("tensorhost.models.loading.release_memory", lambda: None)
    monkeypatch.setattr(probe_worker, "_forget_peak", lambda: True)

    def serve(runtime, contents=None, *, rows=4, load_only=False, examples=None, records=False, **options):
        def load(_path, _options):
            if isinstance(runtime, Exception):
                raise runtime
            return runtime

        monkeypatch.setattr(probe_worker, "load", load)
        monkeypatch.setattr(probe_worker, "examine", lambda _path, _options: contents or Contents())
        runs = None if load_only else FirstRuns(tmp_path, examples, rows, records=records)
        sent = []
        probe_worker.serve_request(ProbeRequest(tmp_path / "1", LoadOptions(**options), runs).to_line(), sent.append)
        return sent

    return serve


def stages(sent):
    return [message.doing for message in sent if isinstance(message, Stage)]


def test_each_step_is_announced_before_it_is_taken(serve):
    runtime = FakeRuntime(lambda x: x, ROWS)
    *sent, answer = serve(runtime)
    steps = [message for message in sent if isinstance(message, Stage)]
    assert stages(sent) == ["preparing", "examining", "loading", "running", "running", "unloading"]
    assert steps[2].baseline_bytes > 0
    assert steps[2].peak_forgotten
    assert [step.inputs for step in steps[3:5]] == [{"x": (1, 2)}, {"x": (4, 2)}]
    assert isinstance(answer, Passed)
    assert [each.name for each in answer.signatures] == ["serving_default"]
    assert runtime.calls == [1, 4]
    assert runtime.closed


def test_loading_only_runs_nothing(serve):
    runtime = FakeRuntime(lambda x: x, ROWS)
    assert stages(serve(runtime, load_only=True)) == ["preparing", "examining", "loading", "unloading"]
    assert runtime.calls == []


def test_examples_of_the_model_are_run(serve, tmp_path):
    (tmp_path / "e.json").write_text('[{"inputs": [[7, 8]]}]')
    seen = []
    assert isinstance(serve(FakeRuntime(lambda x: seen.append(x.max()) or x, ROWS), examples="e.json")[-1], Passed)
    assert set(seen) == {8}


def test_recorded_requests_are_run_when_asked(serve, tmp_path):
    log: Any = message_class("tensorflow.serving.PredictionLog")()
    tensor = tensor_bytes(np.float32([[7, 8]]))
    log.predict_log.request.inputs["x"].ParseFromString(tensor)
    (tmp_path / "1" / FILE).parent.mkdir(parents=True)
    (tmp_path / "1" / FILE).write_bytes(frame(log.SerializeToString()))
    for records in (True, False):
        seen = []
        sent = serve(FakeRuntime(lambda x, seen=seen: seen.append(x.max()) or x, ROWS), records=records)
        assert isinstance(sent[-1], Passed)
        assert (8 in seen) is records


def test_what_is_not_batched_runs_with_one_row_only(serve):
    runtime = FakeRuntime(lambda x: x, signature((3,)))
    serve(runtime)
    assert runtime.calls == [3]


def test_a_model_that_refuses_rows_together_passes(serve):
    def alone(x):
        if len(x) > 1:
            raise ModelFailedError("One at a time.")
        return x

    assert isinstance(serve(FakeRuntime(alone, ROWS))[-1], Passed)


def fails_for(width):
    def run(x):
        if x.shape[-1] == width:
            raise ModelFailedError("It is broken.")
        return x

    return FakeRuntime(run, ROWS, signature((None, 3), name="three"))


def test_only_the_default_signature_must_run(serve):
    assert isinstance(serve(fails_for(3))[-1], Passed)
    broken = fails_for(2)
    answer = serve(broken)[-1]
    assert isinstance(answer, Failed)
    assert (answer.kind, answer.message) == ("ModelFailedError", "It is broken.")
    assert broken.closed


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MisconfiguredModelError("No."), "MisconfiguredModelError", "No."),
        (MemoryError(), "OutOfMemoryError", "There was not enough memory to load the model."),
        (ZeroDivisionError("secret"), "ModelFailedError", "The model could not be loaded."),
    ],
)
def test_what_goes_wrong_is_sent(serve, error, kind, message):
    answer = serve(error)[-1]
    assert (answer.kind, answer.message) == (kind, message)


def test_strict_trust_refuses_before_anything_is_loaded(serve):
    runtime = FakeRuntime(lambda x: x, ROWS)
    contents = Contents(findings=(READS,))
    sent = serve(runtime, contents)
    assert sent[-1].contents.contents() == contents
    assert [type(message) for message in sent[:4]] == [Stage, Stage, Examined, Stage]
    assert sent[2] == Examined.of([READS])
    answer = serve(runtime, contents, trust=Trust.STRICT)
    assert stages(answer) == ["preparing", "examining"]
    assert isinstance(answer[-1].error(), UntrustedModelError)


def test_modules_of_the_model_wait_until_it_has_been_examined(serve, monkeypatch):
    prepared = []
    monkeypatch.setattr(probe_worker, "prepare_runtime", lambda _format, options: prepared.append(options))
    serve(FakeRuntime(lambda x: x, ROWS), modules=("ours",), model_modules=("its_own",))
    assert [(options.modules, options.model_modules) for options in prepared] == [(("ours",), ())]


def test_the_announcing_runtime_is_the_runtime():
    runtime = FakeRuntime(lambda x: x + 1, ROWS, weights_bytes=77)
    announced = probe_worker.AnnouncedRuntime(runtime, lambda _message: None)
    assert (announced.name, announced.weights_bytes) == ("fake", 77)
    assert announced.signatures == runtime.signatures
    assert announced.refused_signatures == runtime.refused_signatures
    assert announced.call_path("serving_default") == "fake"
    announced.tune("serving_default", [{"x": np.zeros((3, 2))}])
    assert runtime.tuned == [3]
    assert announced.run("serving_default", {"x": np.zeros((1, 2))})["y"].tolist() == [[1, 1]]


# -- as a process --------------------------------------------------------------------------------------------------


def start(idle_s):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tensorhost.models.probe_worker", str(idle_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_it_ends_when_it_has_been_idle():
    with start(0.01) as process:
        assert process.wait(30) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


def test_it_ends_with_its_input_and_not_with_signals_for_the_server(tmp_path):
    with start(60) as process:
        # Answered, so that it has started: there is no model there.
        process.stdin.write(ProbeRequest(tmp_path, LoadOptions(), None).to_line())
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(3)]
        assert b"No model was found" in lines[-1]
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.stdin.write(ProbeRequest(tmp_path, LoadOptions(), None).to_line())
        process.stdin.flush()
        assert b"preparing" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(30) == 0


_SERVER = """
import os, signal, sys
from pathlib import Path
from tensorhost.core.errors import ModelFailedError
from tensorhost.models.probe import Prober
from tensorhost.runtimes import LoadOptions

prober = Prober(60.0)
try:
    prober.probe(Path(sys.argv[1]), LoadOptions())
except ModelFailedError:
    pass
print(prober._idle[0].pid, flush=True)
sys.stdin.read()
"""


def test_it_does_not_outlive_a_server_that_is_killed(tmp_path):
    command = [sys.executable, "-c", _SERVER, str(tmp_path)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # a killed server leaves a folder there
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as server:
        handle = os.pidfd_open(int(server.stdout.readline()))
        try:
            assert not select.select([handle], [], [], 0)[0]
            server.kill()
            server.wait(30)
            assert select.select([handle], [], [], 30)[0]
        finally:
            os.close(handle)


def test_the_real_child_answers_a_real_prober(tmp_path):
    with Prober(60.0) as prober:
        for _ in range(2):
            with pytest.raises(ModelFailedError, match="No model was found") as failed:
                prober.probe(Path(tmp_path), LoadOptions())
            assert str(tmp_path) in failed.value.log_detail
        [child] = prober._idle
        assert psutil.Process(child.pid).nice() == min(psutil.Process().nice() + 10, 19)
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
