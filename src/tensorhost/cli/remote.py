"""What the commands that talk to a running server share: its address, the token, and how its errors end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tensorhost.cli.outcome import CommandError, ExitCode
from tensorhost.cli.output import spinner

if TYPE_CHECKING:
    from tensorhost.client import Client

_TIMEOUT_S = 600.0
"""Loading a large model takes minutes, and the user can always interrupt."""

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="<url>", help="The server. [dim](default http://localhost:$PORT)[/dim]", show_default=False
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="<token>",
        envvar="TENSORHOST_ADMIN_TOKEN",
        show_envvar=False,
        help="Bearer token of the control routes; better given as [dim]TENSORHOST_ADMIN_TOKEN[/dim].",
    ),
]


@contextmanager
def connected(url: str | None, token: str | None, doing: str) -> Iterator[Client]:
    """A client of the server at ``url``; a spinner shows ``doing`` when it takes long.

    Raises:
        CommandError: with the exit code that belongs to what went wrong.
    """
    from tensorhost.client import Client, ClientError, ServerUnreachableError

    try:
        client = Client(url or f"http://localhost:{os.environ.get('PORT') or 3000}", token=token, timeout_s=_TIMEOUT_S)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    try:
        with client, spinner(doing):
            yield client
    except ServerUnreachableError as error:
        raise CommandError(error.message, ExitCode.UNREACHABLE) from error
    except ClientError as error:
        request = f", request {error.request_id}" if error.request_id else ""
        raise CommandError(f"{error.message} ({error.code}{request})") from error
