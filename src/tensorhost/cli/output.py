"""Writing results: tables and JSON on standard output, a spinner on standard error.

Text that came from a server or a model file is hostile: control characters never reach the terminal and brackets
are not read as markup.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensorhost.cli.outcome import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SPINNER_DELAY_S = 1.0
"""Work shorter than this shows no spinner."""

_PIPED_WIDTH = 240

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.", show_default=False)]


def plain(value: object, style: str = "") -> Text:
    """Foreign text, fit for a terminal: unprintable characters become ``?``, nothing is read as markup."""
    from rich.text import Text

    return Text(printable(str(value)), style=style)


def specs_text(specs: Any) -> str:
    """``image float32 [?, 28, 28]`` for each of ``[{"name", "dtype", "shape"}]``; ``-`` where there are none."""
    if not isinstance(specs, list):
        return "-"
    return ", ".join(_spec_text(spec) for spec in specs if isinstance(spec, dict)) or "-"


def size_text(size_bytes: Any) -> str:
    """``1.5 MiB``; ``-`` for anything but a number."""
    if not isinstance(size_bytes, int | float):
        return "-"
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _spec_text(spec: dict[str, Any]) -> str:
    shape = spec.get("shape")
    known = (
        "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]" if isinstance(shape, list) else ""
    )
    return f"{spec.get('name', '?')} {spec.get('dtype', '?')} {known}".rstrip()


def console(*, stderr: bool = False) -> Console:
    """A console on the standard stream of this moment; wide when piped, so that a row stays one line."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PIPED_WIDTH)


def table(*columns: str) -> Table:
    """An empty table in the style of all tables."""
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


@contextmanager
def spinner(doing: str, delay_s: float = SPINNER_DELAY_S) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being done, once it takes longer than ``delay_s``; only on a terminal.

    What the block is given says something else from then on.
    """
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    status = console(stderr=True).status(plain(doing))
    timer = threading.Timer(delay_s, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda text: status.update(plain(text))
    finally:
        timer.cancel()
        timer.join()
        status.stop()
