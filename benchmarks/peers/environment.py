"""Makes the virtual environment the other servers run in."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "pydantic", "litserve", "tensorflow-cpu", "numpy")
_READ_VERSIONS = (
    "import json, sys, importlib.metadata as m; print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
)


def ensure(folder: Path) -> Path:
    """The Python of the environment in ``folder``, installed first where it is missing (about a minute)."""
    python = folder / "bin" / "python"
    installed = folder / ".installed"
    if installed.is_file():
        return python
    print(f"installing the other servers into {folder}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
    tensorflow = f"tensorflow-cpu=={version('tensorflow-cpu')}"
    requirements = ["fastapi", "uvicorn[standard]", "litserve", tensorflow]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
    installed.touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """The versions of what the environment runs."""
    answer = subprocess.run([python, "-c", _READ_VERSIONS, *_PACKAGES], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found
