"""What the commands that talk to a running server share: its address, the token, and how its errors end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tensorhost.cli.outcome import CommandError, ExitCode
from tensorhost.cli.output import spinner

if TYPE_CHECKING:
    from tensorhost.client import Client, Retry

_TIMEOUT_S = 600.0
"""Loading a large model takes minutes, and the user can always interrupt."""
_RETRIES = 2
_LONGEST_RETRY_AFTER_S = 5.0
"""Somebody is looking on: a server that wants to be left alone for longer is an answer for a person."""

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
    """A client of the server at ``url``; a spinner shows ``doing`` when it takes long, and why when that is a retry.

    Raises:
        CommandError: with the exit code that belongs to what went wrong.
    """
    from tensorhost.client import Client, Retries

    with spinner(doing) as say:
        retries = Retries(limit=_RETRIES, longest_retry_after_s=_LONGEST_RETRY_AFTER_S, on_retry=_tells(say, doing))
        address = url or f"http://localhost:{os.environ.get('PORT') or 3000}"
        try:
            # Nobody needs dtypes of what is printed.
            client = Client(address, token=token, timeout_s=_TIMEOUT_S, retries=retries, signature_dtypes=False)
        except ValueError as error:
            raise CommandError(str(error), ExitCode.USAGE) from error
        with client_errors(), client:
            yield client


@contextmanager
def client_errors() -> Iterator[None]:
    """Turn the errors of the client into the end of the command, with the exit code that belongs to each."""
    from tensorhost.client import ClientError, DeadlineExceededError, InvalidRequestError, ServerUnreachableError

    try:
        yield
    except ServerUnreachableError as error:
        raise CommandError(error.message, ExitCode.UNREACHABLE) from error
    except ClientError as error:
        if error.http_status is None:
            # Nothing was sent, or nothing came back: there is no code of the server's to show.
            exit_code = ExitCode.UNREACHABLE if isinstance(error, DeadlineExceededError) else ExitCode.FAILED
            exit_code = ExitCode.USAGE if isinstance(error, InvalidRequestError) else exit_code
            raise CommandError(error.message, exit_code) from error
        request = f", request {error.request_id}" if error.request_id else ""
        raise CommandError(f"{error.message} ({error.code}{request})") from error


def _tells(say: Callable[[str], None], doing: str) -> Callable[[Retry], None]:
    def tell(retry: Retry) -> None:
        say(f"{doing} {retry.error.message} Trying again in {retry.wait_s:.1f} s ({retry.number} of {retry.limit}).")

    return tell
