"""Writes the table of flags in docs/migrating-from-tensorflow-serving.md from the flags themselves; ``--check`` only
says whether it is up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from generated_page import DOCS, row, with_part, write_or_check

from tensorhost.cli.model_server.flags import OURS, THEIRS, Flag
from tensorhost.cli.model_server.translation import settings_of

PAGE = DOCS / "migrating-from-tensorflow-serving.md"


def render(page: str) -> str:
    """``page`` with the tables as the code has them."""
    table = [row("Flag", "Default", "Here", "Settings"), "|---|---|---|---|", *_rows((*THEIRS, *OURS))]
    return with_part(page, "scripts/model_server_reference.py", "\n".join(table))


def _rows(flags: Iterable[Flag]) -> Iterable[str]:
    for flag in flags:
        default = flag.default_text or (f"`{flag.shown_default}`" if flag.shown_default else "empty")
        meaning = flag.meaning if flag.takes_effect else f"{flag.meaning} *No effect:* {flag.instead}."
        settings = ", ".join(f"`{setting}`" for setting in settings_of(flag.name))
        yield row(f"`--{flag.name}`", default, meaning, settings)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render(PAGE.read_text("utf-8"))))
