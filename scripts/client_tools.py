"""Fetch perf_analyzer and KServe's clients for tests/clients, next to the Python that runs this.

Both come from packages named with their checksums in tests/clients, which are not installed: KServe wants another
protobuf than the one that is, and perf_analyzer is a program inside a wheel of Triton's Python client. What is fetched
is for Linux on x86-64.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from pinned_wheels import fetch, programs_run_here

_CLIENTS = Path(__file__).resolve().parents[1] / "tests" / "clients"
TOOLS = Path(sys.prefix) / "client-tools"
PERF_ANALYZER = TOOLS / "perf_analyzer"
"""A folder: the program of that name, and the library it needs that Debian does not have."""
KSERVE = TOOLS / "kserve"
"""A folder to import from, before those of the Python that runs this."""


def main() -> None:
    if not programs_run_here():
        print("perf_analyzer and KServe's clients are fetched for Linux on x86-64 only")
        return
    fetch(_CLIENTS / "perf_analyzer.txt", PERF_ANALYZER, unpack_programs)
    fetch(_CLIENTS / "kserve.txt", KSERVE, unpack_packages)


def unpack_programs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = Path(name)
            if path.name in ("perf_analyzer", "libcudart.so.12"):
                program = PERF_ANALYZER / path.name
                program.write_bytes(archive.read(name))
                program.chmod(0o755)


def unpack_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(KSERVE)


if __name__ == "__main__":
    main()
