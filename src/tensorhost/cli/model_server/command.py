"""``tensorhost model-server`` and ``tensorflow_model_server``: the server, started with TensorFlow Serving's flags.

There is no second server behind it: flags and files become settings, and ``serve`` would do the same with these.
Exit codes are TensorFlow Serving's: 255 for what keeps it from starting, which is said on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tensorhost.cli.model_server.parsing import HELP_FLAGS, FlagError, FlagValues, parse, usage
from tensorhost.cli.outcome import ends_in_a_sentence, printable

if TYPE_CHECKING:
    from tensorhost.cli.model_server.translation import Translation
    from tensorhost.settings import Settings

PROGRAM = "tensorflow_model_server"
CANNOT_START = 255


def main() -> None:
    """The console script: run, and end the process with the exit code."""
    ends_in_a_sentence(lambda: sys.exit(run(sys.argv[1:], PROGRAM)))


def model_server(
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="--NAME=VALUE", help="TensorFlow Serving's; --help lists them.", show_default=False),
    ] = None,
) -> None:
    """Serve with the flags, files and environment of TensorFlow Serving's tensorflow_model_server.

    What each flag means here: [migrating](migrating-from-tensorflow-serving.md).
    """
    raise typer.Exit(run(flags or [], "tensorhost model-server"))


def run(arguments: Sequence[str], program: str) -> int:
    """Serve as ``arguments`` say until a signal ends it.

    Args:
        arguments: the command line without the program's name.
        program: that name, for the usage text.

    Returns:
        The exit code: 0 after a clean stop or when something was only asked for, 1 when requests had to be cut off,
        255 when the server could not start.
    """
    if not HELP_FLAGS.isdisjoint(arguments):
        sys.stdout.write(usage(program))
        return 0
    try:
        values = parse(arguments)
    except FlagError as error:
        sys.stderr.write(f"{printable(str(error))}\n{program} --help lists the flags.\n")
        return CANNOT_START
    if values.flag("version"):
        sys.stdout.write(_versions())
        return 0
    return _serve(values)


def _serve(values: FlagValues) -> int:
    from tensorhost.cli.model_server.start import settings_and_notes
    from tensorhost.core.errors import TensorhostError
    from tensorhost.telemetry import configure_logging

    try:
        settings, translation = settings_and_notes(values, os.environ)
        configure_logging(settings.log_level, settings.log_format)
        _tell(settings, translation)
        from tensorhost.server import run as run_server  # takes longer than reading flags and files

        return run_server(settings, banner=None if settings.log_format == "json" else partial(_announce, settings))
    except TensorhostError as error:
        # Not made printable as a whole: what a file's parser says may have several lines.
        message = "\n".join(printable(line) for line in error.message.splitlines())
        sys.stderr.write(f"Failed to start server. Error: {error.canonical}: {message}\n")
        return CANNOT_START


def _tell(settings: Settings, translation: Translation) -> None:
    """What an operator should know of this command line, in the log."""
    from tensorhost.telemetry import get_logger

    log = get_logger(__name__)
    for name, here in translation.notes.items():
        log.warning("flag without effect", flag=f"--{name}", here=here)
    if translation.problem:
        log.error("flags contradict each other", reason=translation.problem)
    if settings.open_control and settings.admin_token is None and not settings.bound_to_loopback:
        log.warning("the gRPC port is open for control", closed_by="TENSORHOST_ADMIN_TOKEN")


def _announce(settings: Settings, _places: str) -> None:
    """The lines that programs which start TensorFlow Serving wait for."""
    if settings.grpc_port > 0:
        sys.stderr.write(f"Running gRPC ModelServer at {settings.host}:{settings.grpc_port} ...\n")
    if settings.http:
        sys.stderr.write(f"Exporting HTTP/REST API at:localhost:{settings.port} ...\n")


def _versions() -> str:
    """In the form of TensorFlow Serving's, of what is installed. TensorFlow is not imported for it."""
    from importlib.metadata import PackageNotFoundError, version

    from tensorhost.core.version import __version__

    found = "not installed"
    for distribution in ("tensorflow", "tensorflow-cpu"):
        try:
            found = version(distribution)
            break
        except PackageNotFoundError:
            continue
    return f"TensorFlow ModelServer: tensorhost {__version__}\nTensorFlow Library: {found}\n"
