"""The models that the settings name, and a config file that changes while a server runs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tensorhost.core.errors import InvalidRequestError, LabelNotReadyError, ModelFailedError
from tensorhost.models import configured
from tensorhost.models.configured import ConfiguredModels
from tensorhost.models.listed import ListedModel
from tensorhost.models.session_config import read_session_config
from tensorhost.settings import Settings

POLL_S = 0.005


def text(*names):
    entries = (f"config {{ name: '{name}' base_path: '/{name}' model_platform: 'tensorflow' }}" for name in names)
    return f"model_config_list {{ {' '.join(entries)} }}"


def models(*names):
    return tuple(ListedModel(name, Path(f"/{name}")) for name in names)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(text("a"))
    return file


def write(file, content):
    """Put a new file in place at once, as a careful upload does."""
    new = file.with_suffix(".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(file)


class Server:
    """Takes note of the lists it is to serve, or refuses them; and of how often the file is read."""

    def __init__(self, loop, read):
        self.lists = []
        self.refusals = []
        self._loop, self._read = loop, read
        self._reads = 0
        self._news = asyncio.Event()

    def read(self, file):
        self._loop.call_soon_threadsafe(self._note_read)
        return self._read(file)

    def _note_read(self):
        self._reads += 1
        self._news.set()

    async def replace(self, listed):
        self.lists.append(listed)
        if self.refusals:
            raise self.refusals.pop(0)

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def pass_polls(self):
        """Let the file be read some more times."""
        enough = self._reads + 5
        await self.until(lambda: self._reads >= enough)


@pytest.fixture
async def followed(file, monkeypatch):
    """A server that follows the file."""
    server = Server(asyncio.get_running_loop(), configured._read)
    followed = ConfiguredModels(Settings(model_config_file=file, model_config_poll_s=POLL_S))
    monkeypatch.setattr(configured, "_read", server.read)
    task = asyncio.create_task(followed.follow(server.replace))
    yield server
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def times_said(caplog, words):
    return sum(words in record.getMessage() for record in caplog.records)


# -- at the start --------------------------------------------------------------------------------------------------


def test_nothing_is_named():
    assert ConfiguredModels(Settings()).models is None


def test_one_model_is_named_and_its_path_made_absolute():
    listed = ConfiguredModels(Settings(model_name="m", model_path="some/folder")).models
    assert listed == (ListedModel("m", Path("some/folder").absolute()),)


def test_a_file_has_the_word(file):
    assert ConfiguredModels(Settings(model_name="m", model_config_file=file)).models == models("a")


def test_an_empty_file_serves_nothing_yet(file):
    file.write_text("")
    assert ConfiguredModels(Settings(model_config_file=file)).models == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model_config_list {\n  config { nam: 'a' } }", "ModelServerConfig: 2:12: "),
        (b"model_config_list { config { name: 'a' } }", "absolute path"),
        (b"\xff\xfe", "not UTF-8"),
        (b" " * (16 * 2**20 + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_used(file, content, message):
    file.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=message):
        ConfiguredModels(Settings(model_config_file=file))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"Cannot read the model config file .*: No such file"):
        ConfiguredModels(Settings(model_config_file=tmp_path / "none"))
    with pytest.raises(InvalidRequestError, match="Is a directory"):
        ConfiguredModels(Settings(model_config_file=tmp_path))


def test_the_session_config_is_read_too(tmp_path):
    file = tmp_path / "session.config"
    with pytest.raises(InvalidRequestError, match="Cannot read the session config file"):
        ConfiguredModels(Settings(session_config_file=file))
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidRequestError, match="not UTF-8"):
        ConfiguredModels(Settings(session_config_file=file))
    file.write_text("intra_op_parallelism_threads: many")
    with pytest.raises(InvalidRequestError, match=r"Error parsing text-format tensorflow\.ConfigProto: 1:31: "):
        ConfiguredModels(Settings(session_config_file=file))
    file.write_text("gpu_options { allow_growth: true }")
    ConfiguredModels(Settings(session_config_file=file))


def test_a_session_config_without_end_is_not_read_to_it(tmp_path):
    file = tmp_path / "session.pbtxt"
    file.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(InvalidRequestError, match="is larger than 1048576 bytes"):
        read_session_config(Settings(session_config_file=file))


# -- while the server runs -----------------------------------------------------------------------------------------


async def test_each_change_is_carried_out_once(file, followed):
    write(file, text("a", "b"))
    await followed.until(lambda: followed.lists == [models("a", "b")])
    await followed.pass_polls()
    write(file, text("a", "b"))
    write(file, text())
    await followed.until(lambda: followed.lists == [models("a", "b"), ()])
    await followed.pass_polls()
    assert len(followed.lists) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("model_config_list {\n  config { nam: 'a' } }", "2:12: "),
        ("model_config_list {\n  config {", "2:10: "),
        ("", "It is empty"),
        (b"\xff", "not UTF-8"),
        (None, "Cannot read"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_said_once(file, followed, caplog, content, reason):
    if content is None:
        file.unlink()
    else:
        write(file, content)
    await followed.until(lambda: times_said(caplog, "is not followed") == 1)
    await followed.pass_polls()
    assert times_said(caplog, reason) == 1
    assert followed.lists == []
    write(file, text("b"))
    await followed.until(lambda: followed.lists == [models("b")])


async def test_a_list_that_waits_for_a_version_is_asked_for_again_and_said_once(file, followed, caplog):
    followed.refusals = [LabelNotReadyError("Version 3 is not available.")] * 3
    write(file, text("b"))
    await followed.until(lambda: followed.lists == [models("b")] * 4)
    await followed.pass_polls()
    assert len(followed.lists) == 4
    assert times_said(caplog, "Version 3 is not available") == 1


async def test_a_list_of_which_not_all_serves_is_not_asked_for_again(file, followed, caplog):
    followed.refusals = [ModelFailedError("1 servable(s) did not become available")]
    write(file, text("b"))
    await followed.until(lambda: times_said(caplog, "1 servable(s) did not become available") == 1)
    await followed.pass_polls()
    assert followed.lists == [models("b")]


async def unasked(_models):
    raise AssertionError("nothing has changed")


async def test_without_a_pause_nothing_is_followed(file):
    await ConfiguredModels(Settings(model_config_file=file)).follow(unasked)
    await ConfiguredModels(Settings(model_config_poll_s=1.0)).follow(unasked)
