"""``tensorhost convert``: a model in another format, compared with the original before it is put in place."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensorhost.cli.flags import takes_settings
from tensorhost.cli.outcome import CommandError, ExitCode, reports_errors
from tensorhost.cli.output import JsonOption, console, plain, print_json, size_text, table
from tensorhost.settings import Settings, load_settings

if TYPE_CHECKING:
    from tensorhost.models.comparison import OutputDifference
    from tensorhost.models.conversion import ConversionReport, ConversionRequest

_FLAGS = ("import_modules", "custom_op_libraries", "allow_lambda", "trust", "probe", "probe_timeout_s", "probe_memory")


@reports_errors
@takes_settings(_FLAGS)
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", help="A model's folder, a version's folder, or a model file.", show_default=False
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DST", help="A folder for a SavedModel, or a .tflite file; must not exist.", show_default=False
        ),
    ],
    version: Annotated[
        str | None, typer.Option("--version", help="Version of the model in SRC; the newest when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the model at DST.", show_default=False)] = False,
    as_json: JsonOption = False,
    **flags: Any,
) -> None:
    """Write a model as a SavedModel or a TensorFlow Lite file.

    Both models answer the same inputs, at several batch sizes, before the result is put in place: differences over
    1e-5 (SavedModel) or 1e-3 (TensorFlow Lite) of an output's scale fail the conversion, and nothing is left behind.
    """
    from tensorhost.models.conversion import STEPS
    from tensorhost.models.conversion import convert as convert_model
    from tensorhost.models.probe import Prober

    settings = load_settings(**flags)
    request = _request(source, target, version, force, settings)
    started = time.perf_counter()
    with _steps(len(STEPS)) as progress, Prober.of(settings) as prober:
        report = convert_model(request, progress, prober)
    took_s = time.perf_counter() - started
    if as_json:
        print_json(_as_json(report, request, took_s))
    else:
        _show(report, request, took_s)


def _request(source: Path, target: Path, version: str | None, force: bool, settings: Settings) -> ConversionRequest:
    from tensorhost.core.ids import version_key
    from tensorhost.models.conversion import ConversionRequest
    from tensorhost.models.overrides import load_options
    from tensorhost.models.repository import describe_path

    if not source.exists():
        raise CommandError(f"{source} does not exist.", ExitCode.USAGE)
    model = describe_path(source, now=time.time(), settle_s=0.0)
    if model.problem:
        raise CommandError(f"{source}: {model.problem}")
    chosen = version or max(model.versions, key=version_key)
    if chosen not in model.versions:
        there = ", ".join(sorted(model.versions, key=version_key))
        raise CommandError(f"The model has no version '{chosen}'; there is {there}.", ExitCode.USAGE)
    found = model.versions[chosen]
    if found.problem:
        raise CommandError(f"{found.path}: {found.problem}")
    return ConversionRequest(
        source=found.path,
        target=target,
        options=load_options(settings, model.config),
        replace=force,
        folder=model.folder,
        examples=model.config.warmup.examples,
    )


@contextmanager
def _steps(count: int) -> Iterator[Callable[[str], None]]:
    """Shows each step with a bar on standard error; only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # A terminal of its own: standard error itself is held back while native code prints to it.
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") as terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        shown = Console(file=terminal, highlight=False)
        with Progress(*columns, TimeElapsedColumn(), console=shown, transient=True) as bars:
            task = bars.add_task("", total=count)

            def begin(step: str) -> None:
                done = 0 if bars.tasks[0].description == "" else bars.tasks[0].completed + 1
                bars.update(task, description=step, completed=done)

            yield begin


def _as_json(report: ConversionReport, request: ConversionRequest, took_s: float) -> dict[str, Any]:
    return {
        "source": str(request.source),
        "target": str(request.target),
        "sourceFormat": report.source_format.value,
        "targetFormat": report.target_format.value,
        "sizeBytes": report.size_bytes,
        "callPath": report.call_path,
        "tolerance": report.tolerance,
        "tookS": round(took_s, 3),
        "signatures": [
            {
                "name": comparison.signature,
                "comparedCalls": comparison.calls,
                "note": comparison.note,
                "outputs": [
                    {"name": name, "largestDifference": difference.largest, "scale": difference.scale}
                    for name, difference in comparison.outputs.items()
                ],
            }
            for comparison in report.comparisons
        ],
        "leftOut": dict(report.left_out),
    }


def _show(report: ConversionReport, request: ConversionRequest, took_s: float) -> None:
    screen = console()
    rows = table("Signature", "Output", "Largest difference", "Largest value", "Compared")
    for comparison in report.comparisons:
        compared = comparison.note or f"{comparison.calls} calls"
        for name, difference in comparison.outputs.items() or [("", None)]:
            rows.add_row(plain(comparison.signature), plain(name), *_difference_text(difference), plain(compared))
    screen.print(rows)
    for name, reason in report.left_out.items():
        screen.print(plain(f"Left out: signature '{name}': {reason}.", "yellow"))
    facts = f"{report.target_format}, {size_text(report.size_bytes)}, {report.call_path}"
    screen.print(plain(f"{request.target}: {facts}; written and compared in {took_s:.1f} s", "bold"))


def _difference_text(difference: OutputDifference | None) -> tuple[str, str]:
    if difference is None:
        return "-", "-"
    return f"{difference.largest:.3g}" if difference.largest else "none", f"{difference.scale:.3g}"
