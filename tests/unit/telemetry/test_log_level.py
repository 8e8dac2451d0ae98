"""Which records are written, as it may be changed."""

import logging

import pytest

from tensorhost.inference.process_state import ProcessState
from tensorhost.settings import Settings
from tensorhost.telemetry.log_level import LogLevel


@pytest.fixture(autouse=True)
def root():
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield root
    root.setLevel(before)


def test_the_level_is_that_of_all_records(root):
    level = LogLevel()
    assert (level.level, level.verbosity) == (logging.INFO, 0)
    level.set(logging.DEBUG, 4)
    assert (root.level, level.level, level.verbosity) == (logging.DEBUG, logging.DEBUG, 4)
    level.set(logging.WARNING, 4)
    assert (root.level, level.verbosity) == (logging.WARNING, 0)


@pytest.mark.parametrize(("said", "verbosity"), [("debug", 1), ("info", 0)])
def test_a_process_begins_as_its_settings_say(root, said, verbosity):
    root.setLevel(said.upper())
    assert ProcessState.of(Settings(log_level=said)).log_level.verbosity == verbosity
