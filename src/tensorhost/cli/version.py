"""``tensorhost version``: what is installed, read from package metadata without importing any of it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import typer

import tensorhost
from tensorhost.cli.outcome import reports_errors
from tensorhost.cli.output import JsonOption, print_json

_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "tokenizers": ("tokenizers",),
}
"""What is reported, and the distributions that may provide it."""


@reports_errors
def version(as_json: JsonOption = False) -> None:
    """Show the versions of tensorhost, Python and the model runtimes."""
    versions = {"tensorhost": tensorhost.__version__, "python": platform.python_version()} | {
        name: _first_installed(distributions) for name, distributions in _PACKAGES.items()
    }
    if as_json:
        print_json(versions)
        return
    for name, found in versions.items():
        typer.echo(f"{name:<12}{found or 'not installed'}")


def _first_installed(distributions: tuple[str, ...]) -> str | None:
    for distribution in distributions:
        try:
            return installed_version(distribution)
        except PackageNotFoundError:
            continue
    return None
