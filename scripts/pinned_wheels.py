"""Wheels that a requirement file names with their checksums, fetched once, for what tests run and nobody installs."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_STAMP = "requirements.txt"


def fetch(requirements: Path, folder: Path, unpack: Callable[[Path], None]) -> None:
    """Download the wheels and call ``unpack`` with each, unless ``folder`` has what came of just these.

    Args:
        requirements: a file of pip's, every line with its checksums. What the wheels depend on is not looked at.
        folder: for what is unpacked; emptied first.
        unpack: puts what is wanted of one wheel into it.
    """
    stamp = folder / _STAMP
    wanted = requirements.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as wheels:
        options = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        subprocess.run(
            [sys.executable, "-m", "pip", *options, "--dest", wheels, "--requirement", str(requirements)], check=True
        )
        for wheel in Path(wheels).glob("*.whl"):
            unpack(wheel)
    stamp.write_text(wanted, encoding="utf-8")


def programs_run_here() -> bool:
    """Whether this machine can execute programs for Linux on x86-64."""
    return sys.platform == "linux" and platform.machine() == "x86_64"
