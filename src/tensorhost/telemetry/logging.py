"""Log records of tensorhost and of the libraries it uses, all in one form: text for people, JSON lines for machines.

Nothing happens at import; ``configure_logging`` sets everything up. What must stay true: one record is one line in
JSON, and in text whatever a client sent can neither begin a line nor reach the terminal as a control code.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

_LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "tensorflow", "absl")
_FIRST_KEYS = ("timestamp", "level", "logger", "event", "request_id", "trace_id")
_MULTILINE_KEYS = ("exception", "stack")
_INDENT = "    "
_PLAIN_LINE = structlog.processors.LogfmtRenderer(key_order=["event"], drop_missing=True)


class _Handler(logging.StreamHandler[TextIO]):
    """The root handler of tensorhost, told from those of others by its type."""


def configure_logging(level: LogLevel = "info", log_format: LogFormat = "text", **fields: int) -> None:
    """Send every log record of the process to standard error; calling it again replaces the earlier choice.

    Args:
        level: least severe records shown.
        log_format: ``text`` (in colour only on a terminal) or ``json``, one object per line with ``timestamp`` (ISO
            8601, UTC), ``level``, ``logger``, ``event``, ``request_id`` where one is bound, and ``exception`` as text.
        fields: added to every record, such as which of several processes it is of.
    """
    handler = _Handler(sys.stderr)
    colours = log_format == "text" and sys.stderr.isatty()
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_shared_processors()],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                *([_adder(fields)] if fields else []),
                *(_text_processors(colours=colours) if log_format == "text" else [_render_json]),
            ],
        )
    )
    _replace_root_handler(handler)
    logging.getLogger().setLevel(level.upper())
    # TensorFlow's own library of records tells the operator nothing at INFO that he could act on.
    logging.getLogger("absl").setLevel("DEBUG" if level == "debug" else "WARNING")


def get_logger(name: str) -> BoundLogger:
    """A logger whose records carry ``name``; keyword arguments of its methods become fields of the record."""
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_shared_processors(),
            _hand_over,
        ],
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


def escape_control_characters(text: str) -> str:
    """``text`` with everything that is not printable, line breaks included, written as a backslash escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _replace_root_handler(handler: _Handler) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    # These install handlers of their own; without them their records reach the root's, once.
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _adder(fields: Mapping[str, int]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        event_dict.update(fields)
        return event_dict

    return add


def _hand_over(logger: WrappedLogger, method: str, event_dict: EventDict) -> Any:
    """Give the record to the standard library: to our formatter where it is set up, as one line of text elsewhere.

    A program that uses tensorhost as a library decides itself what becomes of records, as with any other library.
    """
    if any(isinstance(handler, _Handler) for handler in logging.getLogger().handlers):
        return ProcessorFormatter.wrap_for_formatter(logger, method, event_dict)
    for added in ("timestamp", "level", "logger"):
        event_dict.pop(added, None)
    return _PLAIN_LINE(logger, method, event_dict)


def _text_processors(*, colours: bool) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return [_make_text_safe, renderer]


def _make_text_safe(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Escape every field; indent the lines of exceptions and stacks, so that none can pass for a record."""
    safe: dict[str, Any] = {}
    for key, value in event_dict.items():
        text = value if isinstance(value, str) else repr(value)
        if key in _MULTILINE_KEYS:
            safe[key] = "\n".join(_INDENT + escape_control_characters(line) for line in text.splitlines())
        else:
            safe[escape_control_characters(key)] = escape_control_characters(text)
    return safe


def _render_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    ordered: dict[str, Any] = {key: event_dict[key] for key in _FIRST_KEYS if key in event_dict}
    ordered.update(event_dict)
    try:
        return orjson.dumps(ordered, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # integers over 64 bits, lone surrogates, nesting without end
        return json.dumps({key: value if isinstance(value, str) else repr(value) for key, value in ordered.items()})
