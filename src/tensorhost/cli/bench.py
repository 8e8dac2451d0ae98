"""``tensorhost bench``: how many requests a server, or a model on its own, carries, and how fast it answers them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from tensorhost.bench import Load
from tensorhost.cli.bench_run import Aim, aim_at_model, aim_at_server, measure
from tensorhost.cli.bench_screen import show
from tensorhost.cli.flags import takes_settings
from tensorhost.cli.outcome import CommandError, ExitCode, reports_errors
from tensorhost.cli.output import JsonOption, print_json
from tensorhost.cli.remote import UrlOption

_FLAGS = (
    "max_batch_size",
    "warmup_iterations",
    "import_modules",
    "custom_op_libraries",
    "allow_lambda",
    "trust",
    "probe",
    "runtime",
    "precision",
    "race_timeout_s",
    "cache_dir",
    "batch_timeout_ms",
    "target_latency_ms",
    "max_queue_rows",
    "inline_threshold_ms",
    "intra_op_threads",
    "inter_op_threads",
    "xla",
    "max_in_flight",
)
_MOST_CONNECTIONS = 20_000


@reports_errors
@takes_settings(_FLAGS)
def bench(
    model: Annotated[
        str,
        typer.Argument(help="A model of a running server, or the path of a model to load here.", show_default=False),
    ],
    url: UrlOption = None,
    concurrency: Annotated[
        str,
        typer.Option(
            "--concurrency",
            "--connections",
            "-c",
            metavar="<n,n,…>",
            help="Requests in flight; several numbers are measured one after the other.",
        ),
    ] = "8",
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            min=0.001,
            help="Open loop: so many requests a second are due, whether or not earlier ones are answered; latency"
            " counts from when a request was due, and --concurrency is the most connections.",
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            "-d",
            min=0.1,
            help="Seconds. [dim](default 10, none with --requests)[/dim]",
            show_default=False,
        ),
    ] = None,
    requests: Annotated[int | None, typer.Option("--requests", "-n", min=1, help="Stop after so many.")] = None,
    warmup: Annotated[float, typer.Option("--warmup", min=0, help="Seconds of the same load before measuring.")] = 1.0,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="Rows of a request that is made up. [dim](default 1)[/dim]")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="<value>",
            help="What to send, as for [bold]predict[/bold]; made up from the signature when not given.",
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Version or label; the newest when not given.")
    ] = None,
    signature: Annotated[
        str | None, typer.Option("--signature", help="Signature; the default one when not given.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds after which a request has failed.")
    ] = 30.0,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=64, help="Load generators that share the load of a server.")
    ] = 1,
    bare: Annotated[
        bool,
        typer.Option(
            "--bare",
            help="A model on disk: call its runtime from threads, without engine and queue.",
            show_default=False,
        ),
    ] = False,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the JSON to this file, too.", show_default=False)
    ] = None,
    **flags: Any,
) -> None:
    """Load a model of a running server, or a model on disk, and show rate, latencies and errors.

    A MODEL that exists as a path is loaded in a process of its own, through the engine but without HTTP; with --url
    it is always the name of a server's model. The settings of a server apply to a model on disk. Ctrl-C ends the run
    and shows what was measured. The exit code is 1 when no request was answered, 3 when the server went away.
    """
    base = Load(
        1,
        rate=rate,
        duration_s=10.0 if duration is None and requests is None else duration,
        requests=requests,
        warmup_s=warmup,
        timeout_s=timeout,
    )
    loads = tuple(_with_concurrency(base, number) for number in _numbers(concurrency))
    if inputs and rows is not None:
        raise _usage("--rows is for inputs that are made up; with --input the rows are those given.")
    if output is not None and not output.absolute().parent.is_dir():
        raise _usage(f"The folder of {output} does not exist.")
    given = {name: value for name, value in flags.items() if value is not None}
    if url is None and Path(model).exists():
        if processes > 1:
            raise _usage("--processes share the load of a server; a model is loaded in one process.")
        if bare and rate is not None:
            raise _usage("--bare calls back to back; there is no --rate.")
        aim = aim_at_model(model, inputs or [], version, signature, rows or 1, bare=bare, settings=given)
    else:
        aim = _server(model, url, inputs or [], version, signature, rows or 1, bare=bare, given=given)
    _finish(aim, measure(aim, loads, min(processes, min(load.concurrency for load in loads))), as_json, output)


def _server(
    model: str,
    url: str | None,
    inputs: list[str],
    version: str | None,
    signature: str | None,
    rows: int,
    *,
    bare: bool,
    given: dict[str, Any],
) -> Aim:
    if "/" in model or "\\" in model:
        raise _usage(f"{model} does not exist, and is no name of a model.")
    if bare or given:
        what = "--bare is" if bare else "Settings of a server are"
        raise _usage(f"{what} for a model on disk; {model} is asked of a running server.")
    return aim_at_server(model, url, inputs, version, signature, rows)


def _finish(
    aim: Aim,
    outcome: tuple[list[dict[str, Any]], CommandError | KeyboardInterrupt | None],
    as_json: bool,
    output: Path | None,
) -> None:
    runs, failure = outcome
    if runs or failure is None:
        document = {"target": aim.facts, "runs": runs}
        if output is not None:
            _write(document, output)
        if as_json:
            print_json(document)
        else:
            show(document)
    if failure is not None:
        raise failure
    if not any(run["requests"] for run in runs):
        counts = [f"{count} {code}" for run in runs for code, count in run["errors"].items()]
        raise CommandError(f"No request was answered ({', '.join(counts) or 'none was finished'}).")


def _write(document: dict[str, Any], output: Path) -> None:
    import orjson

    try:
        output.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}.") from error


def _with_concurrency(load: Load, concurrency: int) -> Load:
    return dataclasses.replace(load, concurrency=concurrency)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= _MOST_CONNECTIONS for number in numbers):
        raise _usage(f"--concurrency must be numbers from 1 to {_MOST_CONNECTIONS}, such as 8 or 1,8,32; not '{text}'.")
    return numbers


def _usage(message: str) -> CommandError:
    return CommandError(message, ExitCode.USAGE)
