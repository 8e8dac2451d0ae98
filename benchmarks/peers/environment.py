"""Makes the virtual environments of the other servers, one each: several need versions that others cannot have."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_READ_VERSIONS = (
    "import json, sys, importlib.metadata as m; print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
)


class PeerMissingError(RuntimeError):
    """A server could not be installed here; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What to install, beside TensorFlow, and which packages' versions a result should name."""

    requirements: tuple[str, ...]
    packages: tuple[str, ...]


PEERS = {
    "fastapi": Peer(("fastapi", "uvicorn[standard]"), ("fastapi", "pydantic", "uvicorn", "uvloop", "httptools")),
    "litserve": Peer(("litserve",), ("litserve", "fastapi", "uvicorn", "uvloop", "httptools")),
    "mosec": Peer(("mosec",), ("mosec",)),
    "bentoml": Peer(("bentoml",), ("bentoml", "uvicorn")),
    # MLServer 1.7 asks uvloop for an event loop that uvloop 0.22 no longer makes.
    "mlserver": Peer(("mlserver", "uvloop<0.22"), ("mlserver", "fastapi", "uvicorn", "uvloop")),
    # Ray Serve has gRPC, but no service of its own: Triton's client brings the Open Inference Protocol's.
    "ray": Peer(("ray[serve]", "grpcio", "tritonclient"), ("ray", "uvicorn", "uvloop")),
    "kserve": Peer(("kserve",), ("kserve", "fastapi", "uvicorn", "uvloop")),
    # The wheel's Python backend was built for NumPy 1 and takes the sizes of NumPy 2's arrays wrongly.
    "triton": Peer(("nvidia-pytriton", "numpy<2"), ("nvidia-pytriton",)),
}


def ensure(name: str, root: Path) -> Path:
    """The Python of a peer's environment under ``root``, installed first (about half a minute) where it is missing.

    One that was made of other requirements than today's is made anew.

    Raises PeerMissingError when the package manager fails.
    """
    folder = root / name
    python = folder / "bin" / "python"
    installed = folder / ".installed"
    requirements = (*PEERS[name].requirements, f"tensorflow-cpu=={version('tensorflow-cpu')}")
    if installed.is_file() and installed.read_text(encoding="utf-8").splitlines() == list(requirements):
        return python
    print(f"installing {name} into {folder}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    command = [*pip, "install", "--quiet", *requirements]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        print(finished.stderr, file=sys.stderr, flush=True)
        causes = [line for line in finished.stderr.splitlines() if line.startswith("ERROR:")]
        raise PeerMissingError(f"could not be installed. {causes[0] if causes else ''}".strip())
    installed.write_text("\n".join(requirements), encoding="utf-8")
    return python


def versions(name: str, python: Path) -> dict[str, str]:
    """The versions of what a peer's environment runs."""
    packages = (*PEERS[name].packages, "tensorflow-cpu", "numpy")
    answer = subprocess.run([python, "-c", _READ_VERSIONS, *packages], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found
