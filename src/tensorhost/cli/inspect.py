"""``tensorhost inspect``: what lies at a path, read the way the server reads it, without a server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensorhost.cli.outcome import CommandError, ExitCode, reports_errors
from tensorhost.cli.output import JsonOption, console, plain, print_json, size_text, specs_text, spinner, table

if TYPE_CHECKING:
    from tensorhost.core.tensors import TensorSpec
    from tensorhost.models.repository import ModelOnDisk, VersionOnDisk


@reports_errors
def inspect(
    path: Annotated[
        Path, typer.Argument(help="A repository root, a model's folder, a version or a file.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Show the format, versions, signatures, shapes and problems of what lies at PATH.

    Every version is loaded once. The exit code is 1 when anything there could not be served.
    """
    if not path.exists():
        raise CommandError(f"{path} does not exist.", ExitCode.USAGE)
    report = examine(path)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report["servable"]:
        raise typer.Exit(ExitCode.FAILED)


def examine(path: Path) -> dict[str, Any]:
    """What lies at ``path``, JSON-ready: ``servable`` (nothing is wrong), ``models`` and ``problems`` by name.

    Loads every version that is whole, one after the other.
    """
    from tensorhost.models.repository import scan

    found = scan(path, now=time.time(), settle_s=0.0)
    models = [_examine_model(model) for model in found.models.values()]
    problems = dict(found.problems)
    if not models and not problems:
        problems[path.name] = "There is no model here."
    sound = not problems and not any(part["problem"] for model in models for part in (model, *model["versions"]))
    return {"servable": sound, "models": models, "problems": problems}


def _examine_model(model: ModelOnDisk) -> dict[str, Any]:
    from tensorhost.core.ids import version_key

    versions = [model.versions[version] for version in sorted(model.versions, key=version_key)]
    return {
        "name": model.name,
        "problem": model.problem,
        "versions": [_examine_version(model.name, version) for version in versions],
    }


def _examine_version(name: str, version: VersionOnDisk) -> dict[str, Any]:
    report: dict[str, Any] = {
        "version": version.version,
        "format": version.format,
        "sizeBytes": version.size_bytes,
        "problem": version.problem,
        "runtime": None,
        "weightsBytes": None,
        "signatures": [],
    }
    if not version.problem:
        with spinner(f"Loading {name}, version {version.version}…"):
            report |= _load(version.path)
    return report


def _load(path: Path) -> dict[str, Any]:
    from tensorhost.core.errors import TensorhostError
    from tensorhost.runtimes.base import LoadOptions
    from tensorhost.runtimes.formats import load

    try:
        runtime = load(path, LoadOptions())
    except TensorhostError as error:
        return {"problem": error.message}
    try:
        return {
            "runtime": runtime.name,
            "weightsBytes": runtime.weights_bytes,
            "signatures": [
                {
                    "name": name,
                    "inputs": _specs(signature.inputs),
                    "outputs": _specs(signature.outputs),
                    "callPath": runtime.call_path(name),
                }
                for name, signature in runtime.signatures.items()
            ],
        }
    finally:
        runtime.close()


def _specs(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "dtype": spec.dtype.value,
            "shape": None if spec.shape is None else list(spec.shape),
        }
        for name, spec in specs.items()
    ]


def _show(report: dict[str, Any]) -> None:
    screen = console()
    for model in report["models"]:
        screen.print(plain(model["name"], "bold cyan"))
        if model["problem"]:
            screen.print(plain(f"  {model['problem']}", "red"))
        for version in model["versions"]:
            _show_version(version)
    for name, problem in report["problems"].items():
        screen.print(plain(name, "bold cyan"))
        screen.print(plain(f"  {problem}", "red"))


def _show_version(version: dict[str, Any]) -> None:
    screen = console()
    facts = [f"version {version['version']}", str(version["format"] or "no model"), size_text(version["sizeBytes"])]
    if version["runtime"]:
        facts.append(f"runs on {version['runtime']}")
    screen.print(plain("  " + ", ".join(facts)))
    if version["problem"]:
        screen.print(plain(f"  {version['problem']}", "red"))
        return
    signatures = table("Signature", "Inputs", "Outputs", "Called through")
    for signature in version["signatures"]:
        signatures.add_row(
            plain(signature["name"]),
            plain(specs_text(signature["inputs"])),
            plain(specs_text(signature["outputs"])),
            plain(signature["callPath"]),
        )
    screen.print(signatures)
