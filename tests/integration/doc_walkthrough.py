"""Walking through a page as its reader would: a folder, real shells, one step after another.

A block marked ``file=NAME`` is saved, one marked ``terminal=NAME`` is left running, any other ``bash`` block is run to
its end and must succeed. The block after it, ``text`` or ``json``, is what it printed: in text "…" stands for anything,
and numbers may differ a little. Ports are the only thing that is not run as written, since those may be taken.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Self

from doc_examples import Block, blocks, difference

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TOLERANCE = 0.05
_STEP_S = 120
_STOP_S = 30


class Walk:
    """A reader in ``folder``, with ``environment`` in every shell. Leaving ends what still runs."""

    def __init__(self, folder: Path, environment: dict[str, str], ports: dict[str, int]) -> None:
        self.folder = folder
        self.exit_codes: dict[str, int] = {}
        self._environment = environment
        self._ports = ports
        self._terminals: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._terminals.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def through(self, page: Path) -> int:
        """Do what the page says, to its last block; the number of commands that were run."""
        there = [block for block in blocks(page) if "no-run" not in block.marks]
        ran = 0
        for block, following in zip_longest(there, there[1:]):
            marks = dict(mark.split("=", 1) for mark in block.marks if "=" in mark)
            code = self._moved(block.code)
            if "file" in marks:
                (self.folder / marks["file"]).write_text(code, encoding="utf-8")
            elif block.language == "bash" and "terminal" in marks:
                self._terminals[marks["terminal"]] = self._open_terminal(marks["terminal"], code)
            elif block.language == "bash":
                ran += 1
                self._run(block, code, following)
        return ran

    def press_ctrl_c(self) -> None:
        """Interrupt every terminal, as a keyboard does, and wait for the ends."""
        for name, process in self._terminals.items():
            os.killpg(process.pid, signal.SIGINT)
            self.exit_codes[name] = process.wait(_STOP_S)

    def seen(self, terminal: str) -> str:
        """What a terminal has shown."""
        return self._log(terminal).read_text(encoding="utf-8", errors="replace")

    def _run(self, block: Block, code: str, following: Block | None) -> None:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_STEP_S,
        )
        shown = "".join(f"\n--- {name}\n{self.seen(name)}" for name in self._terminals)
        assert ended.returncode == 0, f"{block.place} failed:\n{ended.stdout}{ended.stderr}{shown}"
        if following is None or following.language not in ("text", "json"):
            return
        written = self._moved(following.code)
        if following.language == "text":
            fault = line_difference(written, ended.stdout)
        else:
            fault = difference(json.loads(written), json.loads(ended.stdout), excerpt="excerpt" in following.marks)
        assert fault is None, f"{following.place} is not what was answered: {fault}{shown}"

    def _open_terminal(self, name: str, code: str) -> subprocess.Popen[bytes]:
        with self._log(name).open("wb") as log:
            return subprocess.Popen(
                ["bash", "-c", f"exec {code}"],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log(self, terminal: str) -> Path:
        return self.folder / f"{terminal}.log"

    def _moved(self, text: str) -> str:
        for written, port in self._ports.items():
            text = text.replace(f"localhost:{written}", f"localhost:{port}")
        return text


def line_difference(written: str, printed: str) -> str | None:
    """The first line of ``written`` that does not follow in ``printed``; None where all do, in this order."""
    lines = iter(printed.splitlines())
    for expected in written.splitlines():
        if not any(_same_line(expected, line) for line in lines):
            return f"'{expected}' is not in what was printed:\n{printed}"
    return None


def _same_line(written: str, printed: str) -> bool:
    pattern = "".join(
        ".*" if piece == "…" else rf"({_NUMBER.pattern})" if _NUMBER.fullmatch(piece) else re.escape(piece)
        for piece in re.split(rf"(…|{_NUMBER.pattern})", written)
    )
    found = re.fullmatch(pattern, printed.rstrip())
    return found is not None and all(
        math.isclose(float(one), float(other), rel_tol=_TOLERANCE)
        for one, other in zip(_NUMBER.findall(written), found.groups(), strict=True)
    )
