"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str | None, items: object) -> Iterator[Callable[[], None]]:
    """A bar while the block runs; call what it gives for each item that is done.

    Args:
        title: stands before the bar; None for no bar.
        items: what is worked through; where it has a length, the bar has an end and a time left.
    """
    if title is None or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=Console(stderr=True)) as bar:
        total = len(items) if hasattr(items, "__len__") else None
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
