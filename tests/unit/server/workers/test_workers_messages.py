from pathlib import Path

import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InternalError, ModelFailedError, ModelNotFoundError, OutOfMemoryError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.probe import ProbeReport
from tensorhost.models.probe_messages import Failed
from tensorhost.models.probe_trial import ModelCrashedError, ModelTooLargeError
from tensorhost.models.wishes import Action, Wish
from tensorhost.runtimes import Contents, Finding, FindingKind
from tensorhost.server.workers.messages import (
    Accept,
    Ask,
    Begin,
    Done,
    Release,
    WishMessage,
    read_begin,
    read_by_supervisor,
    read_by_worker,
)
from tensorhost.server.workers.shared_reports import read_result, write_failure, write_report
from tensorhost.settings import Settings

WISH = Wish(Action.LOAD, "m", "1", Path("/a b"))


def test_what_is_written_is_read():
    ask = Ask(id=3, wish=WishMessage.of(WISH))
    line = ask.to_line()
    assert line.count(b"\n") == 1
    assert read_by_supervisor.read(line) == ask
    assert ask.wish.wish() == WISH
    done = Done(id=3, failure=Failed.of(ModelNotFoundError("no", details={"models": ["x"]})), added=("1",))
    again = read_by_supervisor.read(done.to_line())
    assert again == done
    error = again.failure.error()
    assert (type(error), error.message, error.details) == (ModelNotFoundError, "no", {"models": ["x"]})
    assert read_by_worker.read(Accept(sockets=(0, 2)).to_line()) == Accept(sockets=(0, 2))


def test_the_first_message_carries_every_setting_whatever_the_environment_says(monkeypatch):
    settings = Settings(admin_token="secret\n", port=0, memory_budget="1GiB", allowed_roots="/a:/b", tls_client_ca=None)
    begin = read_begin.read(Begin.of(1, 2, settings, (WISH,)).to_line())
    monkeypatch.setenv("TENSORHOST_LOADING", "lazy")
    monkeypatch.setenv("TENSORHOST_PROBE_MEMORY", "5")
    monkeypatch.setenv("PORT", "9")
    assert Settings.from_json(begin.settings) == settings
    assert begin.wishes[0].wish() == WISH


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b'{"type": "hello", "more": 1}\n',
        b'{"type": "accept", "sockets": []}\n',
        b'{"type": "done", "id": -1}\n',
        b'{"type": "claim", "id": 1, "key": "%s"}\n' % (b"x" * 9000),
        b'{"type": "ask", "id": 1, "wish": {"action": "destroy", "name": "m"}}\n',
        b"\xff\n",
    ],
)
def test_what_is_no_message_is_an_error(line):
    with pytest.raises(InternalError):
        read_by_supervisor.read(line)
    with pytest.raises(InternalError):
        read_by_supervisor.read(Release(id=1).to_line()[:-3])


def test_a_report_is_the_same_on_the_other_side_but_for_the_time_it_took():
    spec = TensorSpec("x", DType.FLOAT32, (None, 3))
    report = ProbeReport(
        contents=Contents({"MatMul": 2}, 12, (Finding(FindingKind.READS_FILES, "ReadFile", 1, "It reads."),)),
        runtime="tensorflow",
        weights_bytes=10,
        signatures={"serving_default": Signature("serving_default", {"x": spec}, {"y": spec}, "m")},
        call_paths={"serving_default": "frozen"},
        refused_signatures={"train": "no outputs"},
        memory_bytes=100,
        peak_bytes=200,
        load_s=0.5,
        run_s=0.25,
        probe_s=9.0,
        crash="it crashed",
    )
    again = read_result(write_report(report))
    assert again.probe_s == 0.0
    assert {name: getattr(again, name) for name in ProbeReport.__slots__ if name != "probe_s"} == {
        name: getattr(report, name) for name in ProbeReport.__slots__ if name != "probe_s"
    }


@pytest.mark.parametrize("kind", [ModelCrashedError, ModelTooLargeError, OutOfMemoryError, ModelFailedError])
def test_a_failure_is_of_the_same_kind_on_the_other_side(kind):
    with pytest.raises(kind, match="why") as raised:
        read_result(write_failure(kind("why", details={"a": 1}, log_detail="more")))
    assert type(raised.value) is kind
    assert (raised.value.details, raised.value.log_detail) == ({"a": 1}, "more")
