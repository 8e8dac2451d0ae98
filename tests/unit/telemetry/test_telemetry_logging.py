import io
import json
import logging
import re
import sys
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.telemetry.logging import configure_logging, escape_control_characters, get_logger

FORGED = "bad\n2030-01-01T00:00:00Z [error    ] forged\r\x1b[31m\x85\u2028\u202eend"


class Forger:
    def __repr__(self):
        return FORGED


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def restored_logging():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    libraries = [
        logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "tensorflow", "absl")
    ]
    before = [(list(logger.handlers), logger.propagate) for logger in libraries]
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, (old, propagate) in zip(libraries, before, strict=True):
        logger.handlers[:], logger.propagate = old, propagate
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Captured:
    def __init__(self, capsys):
        self._capsys = capsys
        self._text = ""

    def getvalue(self):
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stream(capsys):
    return Captured(capsys)


def records(stream):
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def raise_and_log(logger, message):
    try:
        raise ValueError(message)
    except ValueError:
        logger.exception("failed")


def test_json_record_has_the_promised_fields(stream):
    configure_logging("info", "json")
    structlog.contextvars.bind_contextvars(request_id="r1")
    get_logger("tensorhost.engine").warning("slow model", model="m", rows=3)
    (record,) = records(stream)
    assert list(record)[:5] == ["timestamp", "level", "logger", "event", "request_id"]
    moment = datetime.fromisoformat(record.pop("timestamp"))
    assert moment.tzinfo is not None
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert record == {
        "level": "warning",
        "logger": "tensorhost.engine",
        "event": "slow model",
        "request_id": "r1",
        "model": "m",
        "rows": 3,
    }


@pytest.mark.parametrize("name", ["uvicorn.error", "tensorflow", "anything"])
def test_library_records_come_out_once_in_the_same_form(stream, name):
    if name != "anything":
        logging.getLogger(name).addHandler(logging.StreamHandler(sys.stderr))
    configure_logging("info", "json")
    logging.getLogger(name).error("listening on %s", "here")
    (record,) = records(stream)
    assert (record["event"], record["logger"], record["level"]) == ("listening on here", name, "error")
    assert "timestamp" in record


@pytest.mark.parametrize("source", [get_logger, logging.getLogger])
def test_an_exception_is_text_in_one_json_line(stream, source):
    configure_logging("info", "json")
    raise_and_log(source("tensorhost"), "the reason")
    (record,) = records(stream)
    assert record["exception"].endswith("ValueError: the reason")
    assert "exc_info" not in record


def test_configuring_twice_logs_once_with_the_newer_choice(stream):
    configure_logging("info", "text")
    logger = get_logger("tensorhost")
    logger.info("first")
    configure_logging("error", "json")
    logger.info("hidden")
    logger.error("shown")
    first, second = stream.getvalue().splitlines()
    assert "first" in first
    assert json.loads(second)["event"] == "shown"


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level(stream, level, shown):
    configure_logging(level, "json")
    for name in ("debug", "info", "warning", "error"):
        getattr(get_logger("tensorhost"), name)("x")
    assert len(records(stream)) == shown


def test_text_is_plain_off_a_terminal_and_coloured_on_one(stream, monkeypatch):
    configure_logging("info", "text")
    get_logger("tensorhost").info("hello", model="m")
    assert "\x1b" not in stream.getvalue()
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[info", stream.getvalue())
    assert "model=m" in stream.getvalue()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging("info", "text")
    get_logger("tensorhost").info("hello")
    assert "\x1b[" in terminal.getvalue()


@pytest.mark.parametrize("source", [get_logger, logging.getLogger])
def test_event_cannot_forge_a_line(stream, source):
    configure_logging("info", "text")
    source("tensorhost").info(FORGED)
    assert len(stream.getvalue().splitlines()) == 1
    assert not re.search("[\x1b\u202e]", stream.getvalue())


@pytest.mark.parametrize("value", [FORGED, [FORGED], {FORGED: FORGED}, FORGED.encode(), Forger()])
def test_fields_cannot_forge_a_line(stream, value):
    configure_logging("info", "text")
    get_logger("tensorhost").info("refused", name=value)
    assert len(stream.getvalue().splitlines()) == 1
    assert not re.search("[\x1b\u202e]", stream.getvalue())


def test_an_exception_message_cannot_forge_a_line(stream):
    configure_logging("info", "text")
    raise_and_log(get_logger("tensorhost"), FORGED)
    first, *rest = stream.getvalue().splitlines()
    assert "failed" in first
    assert len(rest) > 2
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    "value",
    [2**70, "\ud800", float("nan"), {1: b"x"}, object(), FORGED, [[1, {"a": {"b"}}]]],
    ids=lambda value: ascii(value)[:20],
)
def test_every_value_becomes_one_json_line(stream, value):
    configure_logging("info", "json")
    get_logger("tensorhost").info("x", value=value)
    (record,) = records(stream)
    assert "value" in record
    assert record["event"] == "x"


@given(st.text())
def test_escaped_text_is_printable_and_plain_text_is_kept(text):
    escaped = escape_control_characters(text)
    assert escaped.isprintable()
    assert (escaped == text) == text.isprintable()
