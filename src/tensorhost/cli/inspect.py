"""``tensorhost inspect``: what lies at a path, read the way the server reads it, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tensorhost.cli.flags import takes_settings
from tensorhost.cli.inspection import inspect_path
from tensorhost.cli.outcome import CommandError, ExitCode, reports_errors
from tensorhost.cli.output import JsonOption, console, plain, print_json, size_text, specs_text, table
from tensorhost.settings import load_settings

_FLAGS = (
    "import_modules",
    "custom_op_libraries",
    "allow_lambda",
    "trust",
    "probe",
    "probe_timeout_s",
    "probe_memory",
)
_MOST_OPERATIONS = 10

_COULD = {
    "runs_python": ("run Python", "bold red"),
    "unknown_code": ("run unknown code", "bold red"),
    "writes_files": ("write files", "red"),
    "uses_network": ("use the network", "red"),
    "reads_files": ("read files", "yellow"),
    "ends_process": ("end the process", "yellow"),
}
"""What a finding's kind means, in words, and its colour."""


@reports_errors
@takes_settings(_FLAGS)
def inspect(
    path: Annotated[
        Path, typer.Argument(help="A repository root, a model's folder, a version or a file.", show_default=False)
    ],
    as_json: JsonOption = False,
    **flags: Any,
) -> None:
    """Show the format, versions, signatures, operations, findings and problems of what lies at PATH.

    Every version is loaded and run once, in a child process. The exit code is 1 when anything there could not be
    served with these settings.
    """
    from tensorhost.telemetry import configure_logging

    settings = load_settings(None, **flags)
    if not path.exists():
        raise CommandError(f"{path} does not exist.", ExitCode.USAGE)
    configure_logging("error")  # what is worth saying is in the report
    report = inspect_path(path, settings)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report["servable"]:
        raise typer.Exit(ExitCode.FAILED)


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
    if version["parameters"] is not None:
        facts.append(f"{version['parameters']:,} parameters")
    if version["runtime"]:
        facts += [f"{size_text(version['weightsBytes'])} of weights", f"runs on {version['runtime']}"]
    screen.print(plain("  " + ", ".join(facts)))
    if version["problem"]:
        screen.print(plain(f"  {version['problem']}", "red"))
    for disabled in version["disabledOptimizations"]:
        screen.print(plain(f"  Served without {disabled['name']}: {disabled['reason']}", "yellow"))
    _show_signatures(version)
    _show_operations(version["operations"])
    _show_findings(version)


def _show_signatures(version: dict[str, Any]) -> None:
    screen = console()
    if version["signatures"]:
        signatures = table("Signature", "Inputs", "Outputs", "Called through")
        for signature in version["signatures"]:
            signatures.add_row(
                plain(signature["name"]),
                plain(specs_text(signature["inputs"])),
                plain(specs_text(signature["outputs"])),
                plain(signature["callPath"]),
            )
        screen.print(signatures)
    for name, reason in version["refusedSignatures"].items():
        screen.print(plain(f"  Signature '{name}' cannot be served: {reason}.", "yellow"))


def _show_operations(operations: dict[str, int]) -> None:
    if not operations:
        return
    counts = table("Operation or layer", "Count")
    counts.columns[-1].justify = "right"
    for name, count in list(operations.items())[:_MOST_OPERATIONS]:
        counts.add_row(plain(name), str(count))
    others = list(operations.values())[_MOST_OPERATIONS:]
    if others:
        counts.add_row(plain(f"{len(others)} other kinds", "dim"), str(sum(others)))
    counts.add_row(plain("all", "bold"), plain(sum(operations.values()), "bold"))
    console().print(counts)


def _show_findings(version: dict[str, Any]) -> None:
    screen = console()
    if version["findings"]:
        findings = table("It could", "With", "Times", "Why")
        findings.columns[2].justify = "right"
        for finding in version["findings"]:
            could, style = _COULD.get(finding["kind"], (finding["kind"], "red"))
            findings.add_row(
                plain(could, style), plain(finding["subject"]), str(finding["count"]), plain(finding["explanation"])
            )
        screen.print(findings)
    elif version["operations"]:
        screen.print(plain("  Nothing was found that does more than compute.", "green"))
