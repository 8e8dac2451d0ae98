"""Settings that clients read, and the few they may change."""

import logging
from types import SimpleNamespace

import pytest

from tensorhost.core.errors import InvalidRequestError
from tensorhost.frontends.oip.server_settings import ServerSettings
from tensorhost.inference import Alone
from tensorhost.inference.process_state import ProcessState
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings


@pytest.fixture(autouse=True)
def level():
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield lambda: root.level
    root.setLevel(before)


async def alone(**settings):
    chosen = Settings(**settings)
    return ServerSettings(chosen, Alone(ModelManager(chosen)))


DEFAULT = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


async def test_logging_is_as_the_server_was_started():
    assert (await alone()).logging() == DEFAULT


@pytest.mark.parametrize(
    ("wanted", "level_then", "said"),
    [
        ({"log_verbose_level": 3}, logging.DEBUG, {"log_verbose_level": 3}),
        ({"log_info": False}, logging.WARNING, {"log_info": False}),
        ({"log_info": False, "log_warning": False}, logging.ERROR, {"log_info": False, "log_warning": False}),
        (
            {"log_info": False, "log_warning": False, "log_error": False},
            logging.CRITICAL,
            {"log_info": False, "log_warning": False, "log_error": False},
        ),
        ({"log_file": "", "log_format": "default"}, logging.INFO, {}),
        ({"log_info": None, "log_file": None}, logging.INFO, {}),
    ],
)
async def test_what_is_written_may_change_and_change_back(level, wanted, level_then, said):
    settings = await alone()
    assert (await settings.update_logging(wanted)) == DEFAULT | said == settings.logging()
    assert level() == level_then
    assert await settings.update_logging(DEFAULT) == DEFAULT
    assert level() == logging.INFO


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"log_file": "/tmp/stolen"}, "'log_file' cannot be changed"),
        ({"log_format": "ISO8601"}, "'log_format' cannot be changed"),
        ({"log_warning": False}, "those more severe"),
        ({"log_info": False, "log_verbose_level": 1}, "those more severe"),
        ({"log_info": 1}, "'log_info' must be true or false"),
        ({"log_verbose_level": True}, "'log_verbose_level' must be a whole number"),
        ({"log_verbose_level": -1}, "'log_verbose_level' must be a whole number"),
        ({"nope": 1}, "there is no setting 'nope'"),
        ({"log_info": False, "nope": 1}, "there is no setting 'nope'"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(level, wanted, message):
    settings = await alone()
    with pytest.raises(InvalidRequestError, match=message):
        await settings.update_logging(wanted)
    assert settings.logging() == DEFAULT
    assert level() == logging.INFO


async def test_a_change_is_one_of_all_processes(level):
    told = []

    async def set_log_level(*change):
        told.append(change)

    group = SimpleNamespace(state=ProcessState.of(Settings()), set_log_level=set_log_level)
    settings = ServerSettings(Settings(workers=2), group)
    await settings.update_logging({"log_info": True})
    assert told == []
    await settings.update_logging({"log_info": False})
    await settings.update_logging({"log_verbose_level": 2**32 - 1})
    assert told == [(logging.WARNING, 0), (logging.DEBUG, 2**32 - 1)]
    assert level() == logging.INFO  # which the group would have changed


async def test_what_another_process_was_asked_for_is_said_here_too(level):
    group = Alone(ModelManager(Settings()))
    settings = ServerSettings(Settings(), group)
    group.state.log_level.set(logging.DEBUG, 3)
    assert settings.logging() == DEFAULT | {"log_verbose_level": 3}
    group.state.log_level.set(logging.ERROR, 3)
    assert settings.logging() == DEFAULT | {"log_info": False, "log_warning": False}


@pytest.mark.parametrize(("tracing", "level_said", "rate"), [(False, ["OFF"], "1000"), (True, ["TIMESTAMPS"], "1")])
async def test_trace_settings_are_texts_and_stay(tracing, level_said, rate):
    settings = await alone(tracing=tracing)
    said = settings.trace()
    assert (said["trace_level"], said["trace_rate"], said["trace_file"]) == (level_said, rate, "")
    assert settings.update_trace({"trace_rate": rate, "trace_level": level_said, "trace_file": None}) == said
    assert settings.update_trace({"trace_level": level_said[0]}) == said
    for wanted in ({"trace_rate": "7"}, {"trace_file": "/etc/passwd"}, {"trace_level": ["TENSORS"]}, {"nope": None}):
        with pytest.raises(InvalidRequestError, match=next(iter(wanted))):
            settings.update_trace(wanted)
