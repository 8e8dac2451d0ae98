"""``tensorhost serve``: run the server in this process until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tensorhost.cli.flags import takes_settings
from tensorhost.cli.outcome import CommandError, ExitCode, reports_errors
from tensorhost.settings import Settings, load_settings


@reports_errors
@takes_settings()
def serve(
    model_path: Annotated[
        Path | None,
        typer.Argument(
            help="A repository root, one model's folder, or one model file."
            " [dim](env MODEL_PATH, default ./models)[/dim]",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file (TOML); its keys are the flags' names with underscores."),
    ] = None,
    **flags: Any,
) -> None:
    """Serve models over HTTP and gRPC until SIGTERM or Ctrl-C.

    Flags beat environment variables, which beat the settings file.
    The token of the control routes has no flag: set TENSORHOST_ADMIN_TOKEN.
    """
    settings = load_settings(config, model_path=model_path, **flags)
    if settings.model_config_file is None and not settings.model_path.exists():
        raise CommandError(
            f"There is nothing to serve: {settings.model_path} does not exist; name a model or a folder of models.",
            ExitCode.USAGE,
        )
    banner = (
        None if settings.log_format == "json" else lambda url: typer.echo(f"Serving {settings.served_from} at {url}")
    )
    run_server(settings, banner)


def run_server(settings: Settings, banner: Callable[[str], None] | None) -> None:
    """Run until a signal ends the server, then leave with its exit code."""
    from tensorhost.server import run

    raise typer.Exit(run(settings, banner=banner))
