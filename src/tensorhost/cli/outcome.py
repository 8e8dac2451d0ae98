"""How a command ends: its exit code, and one sentence on standard error when it did not work."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import ParamSpec, TypeVar

import typer

from tensorhost.core.errors import InvalidRequestError, TensorhostError

P = ParamSpec("P")
R = TypeVar("R")

EXIT_CODES_HELP = "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 no server answers."


class ExitCode(IntEnum):
    """What the process returns to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3


class CommandError(Exception):
    """Ends the command with ``exit_code`` and ``message`` on standard error."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def printable(text: str) -> str:
    """``text`` without what could steer a terminal: unprintable characters become ``?``."""
    return "".join(char if char.isprintable() else "?" for char in text)


def ends_in_a_sentence(command: Callable[[], None]) -> None:
    """Run ``command``, which exits the process. A fault of ours ends as one sentence and exit code 1;
    ``LOG_LEVEL=debug`` shows the stack trace instead.
    """
    try:
        command()
    except Exception as error:
        if os.environ.get("LOG_LEVEL") == "debug":
            raise
        sys.stderr.write(f"Internal fault: {error!r}. LOG_LEVEL=debug shows where.\n")
        sys.exit(ExitCode.FAILED)


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors raised on purpose into an exit code; an invalid request of the user's is wrong usage."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except CommandError as error:
            message, exit_code = error.message, error.exit_code
        except TensorhostError as error:
            message = error.message
            exit_code = ExitCode.USAGE if isinstance(error, InvalidRequestError) else ExitCode.FAILED
        typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
        typer.echo(printable(message), err=True)
        raise typer.Exit(exit_code)

    return run
