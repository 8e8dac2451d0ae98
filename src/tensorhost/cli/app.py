"""Assembles the subcommands into the ``tensorhost`` command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from tensorhost.cli.model_server import model_server
from tensorhost.cli.models import models_app
from tensorhost.cli.outcome import EXIT_CODES_HELP, ends_in_a_sentence
from tensorhost.cli.predict import predict
from tensorhost.cli.version import version


def _serve() -> Callable[..., None]:
    from tensorhost.cli.serve import serve

    return serve


def _demo() -> Callable[..., None]:
    from tensorhost.cli.demo import demo

    return demo


def _convert() -> Callable[..., None]:
    from tensorhost.cli.convert import convert

    return convert


def _inspect() -> Callable[..., None]:
    from tensorhost.cli.inspect import inspect

    return inspect


def _bench() -> Callable[..., None]:
    from tensorhost.cli.bench import bench

    return bench


_NEED_SETTINGS = {
    "serve": (_serve, "Serve models over HTTP and gRPC until SIGTERM or Ctrl-C."),
    "demo": (_demo, "Serve the demo models that come with tensorhost, and print requests to try."),
    "inspect": (_inspect, "Show what lies at a path: versions, signatures, operations, findings and problems."),
    "convert": (
        _convert,
        "Write a model as a SavedModel or a TensorFlow Lite file, and compare both.",
    ),
    "bench": (_bench, "Load a running server or a model on disk, and show rate, latencies and errors."),
}
"""Commands with a flag per setting. Reading the settings takes as long as all the rest of showing help."""


class SettingsOnDemand(TyperGroup):
    """Puts the real command in the place of its stand-in once it is called, completed or asked for help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The name, the command and the arguments left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in _NEED_SETTINGS:
            find, _ = _NEED_SETTINGS[name]
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
            alone.command(name, epilog=EXIT_CODES_HELP)(find())
            command = get_command(alone)
        return name, command, rest


def _stand_in() -> None:
    """Listed in help, never run."""


app = typer.Typer(
    name="tensorhost",
    cls=SettingsOnDemand,
    help="Serve trained TensorFlow-family models over HTTP and gRPC.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, (_, _summary) in _NEED_SETTINGS.items():
    app.command(_name, help=_summary)(_stand_in)
app.add_typer(models_app, epilog=EXIT_CODES_HELP)
app.command(epilog=EXIT_CODES_HELP)(predict)
app.command("model-server", add_help_option=False, context_settings={"ignore_unknown_options": True})(model_server)
app.command()(version)


def main() -> None:
    """Run the command line and exit the process with its exit code."""
    ends_in_a_sentence(app)
