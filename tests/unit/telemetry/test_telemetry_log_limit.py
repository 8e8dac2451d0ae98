import logging

import pytest

from tensorhost.telemetry.log_limit import LogLimit


@pytest.fixture
def limited(caplog):
    """A logger with a limit of ten seconds, its clock, and the messages that passed."""
    now = [100.0]
    logger = logging.getLogger("test.limited")
    limit = LogLimit(10.0, lambda: now[0])
    logger.addFilter(limit)
    yield logger, now, caplog
    logger.removeFilter(limit)


def test_the_same_template_passes_once_in_a_while(limited):
    logger, now, caplog = limited
    for number in range(5):
        logger.warning("cannot reach %s", number)
    assert caplog.messages == ["cannot reach 0"]
    now[0] += 10
    logger.warning("cannot reach %s", 6)
    assert caplog.messages == ["cannot reach 0", "cannot reach 6"]
    assert caplog.records[-1].held_back == 4
    assert not hasattr(caplog.records[0], "held_back")


def test_other_messages_pass(limited):
    logger, _, caplog = limited
    logger.warning("one")
    logger.warning("two")
    assert caplog.messages == ["one", "two"]


def test_what_is_remembered_is_bounded(limited):
    logger, _, caplog = limited
    for number in range(1000):
        logger.warning(f"message {number}")  # noqa: G004 - a library that formats its messages itself
    assert len(caplog.messages) == 1000
    assert len(logger.filters[0]._passed) <= 100
