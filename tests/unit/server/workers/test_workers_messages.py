import os
from pathlib import Path

import pytest

from tensorhost.core.errors import InternalError, ModelNotFoundError
from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import Region, Regions
from tensorhost.models.listed import ListedModel, RequestLogOptions
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.probe_messages import Failed
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.workers.change_messages import LogLevelMessage, Registration, Unregistration
from tensorhost.server.workers.messages import (
    Accept,
    Ask,
    AskChange,
    Begin,
    Done,
    MakeChange,
    Release,
    WishMessage,
    read_begin,
    read_by_supervisor,
    read_by_worker,
)
from tensorhost.settings import Settings
from tensorhost.telemetry.log_level import LogLevel

REGION = Region("r", "/tensorhost_a", 8, 8)
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
    accept = Accept(sockets=(0, 2), serving=True)
    assert read_by_worker.read(accept.to_line()) == accept


@pytest.mark.parametrize(
    "change",
    [
        Registration.of(REGION),
        Registration.of(Region("ä" * 256, "/" + "k" * 255, 2**62, 2**62)),
        Unregistration(name=""),
        LogLevelMessage(level=10, verbosity=2**32 - 1),
    ],
)
def test_changes_are_read_as_they_were_written(change):
    ask, make = AskChange(id=1, change=change), MakeChange(id=2, change=change)
    assert read_by_supervisor.read(ask.to_line()) == ask
    assert read_by_worker.read(make.to_line()) == make


def test_a_worker_begins_with_what_was_changed_so_far():
    state = ProcessState(Regions(""), LogLevel(3))
    file = os.open(os.devnull, os.O_RDONLY)
    state.regions.adopt(REGION, file)
    begin = read_begin.read(Begin.of(0, 1, Settings(), (), state=state).to_line())
    state.regions.close()
    assert [each.region() for each in begin.state.regions] == [REGION]
    assert begin.state.log_level == LogLevelMessage.of(state.log_level)
    assert read_begin.read(Begin.of(0, 1, Settings(), ()).to_line()).state is None


def test_the_first_message_carries_every_setting_whatever_the_environment_says(monkeypatch):
    settings = Settings(admin_token="secret\n", port=0, memory_budget="1GiB", allowed_roots="/a:/b", tls_client_ca=None)
    begin = read_begin.read(Begin.of(1, 2, settings, (WISH,)).to_line())
    monkeypatch.setenv("TENSORHOST_LOADING", "lazy")
    monkeypatch.setenv("TENSORHOST_PROBE_MEMORY", "5")
    monkeypatch.setenv("PORT", "9")
    assert Settings.from_json(begin.settings) == settings
    assert begin.wishes[0].wish() == WISH


def test_a_list_of_models_is_read_as_it_was_written():
    models = (
        ListedModel("plain", Path("/models/plain")),
        ListedModel("all", Path("/a"), VersionPolicy(), {"stable": "1"}),
        ListedModel("latest", Path("/b c"), VersionPolicy(latest=2), {}, RequestLogOptions(0.5, Path("/logs/b"))),
        ListedModel("specific", Path("/d"), VersionPolicy(specific=frozenset({"1", "9223372036854775807"}))),
        ListedModel("none", Path("/e"), VersionPolicy(specific=frozenset())),
    )
    wish = Wish(Action.REPLACE, "", models=models, labels_may_wait=True)
    assert read_by_supervisor.read(Ask(id=1, wish=WishMessage.of(wish)).to_line()).wish.wish() == wish
    begin = read_begin.read(Begin.of(0, 1, Settings(), (), models).to_line())
    assert tuple(each.model() for each in begin.models) == models
    assert read_begin.read(Begin.of(0, 1, Settings(), (), ()).to_line()).models == ()
    assert read_begin.read(Begin.of(0, 1, Settings(), ()).to_line()).models is None


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
        b'{"type": "claim", "id": 1, "kind": "anything"}\n',
        b'{"type": "ask", "id": 1, "wish": {"action": "destroy", "name": "m"}}\n',
        b'{"type": "ask_change", "id": 1, "change": {"kind": "destroy", "name": "m"}}\n',
        b'{"type": "ask_change", "id": 1, "change": {"kind": "log_level", "level": 1000, "verbosity": 0}}\n',
        b"\xff\n",
    ],
)
def test_what_is_no_message_is_an_error(line):
    with pytest.raises(InternalError):
        read_by_supervisor.read(line)
    with pytest.raises(InternalError):
        read_by_supervisor.read(Release(id=1).to_line()[:-3])
