"""One ``tensorhost bench``: finding out what to send, running the generators, keeping what was measured."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorhost.bench import GeneratorError, Generators, HttpTarget, Load, ModelTarget
from tensorhost.cli.bench_screen import progress_bar
from tensorhost.cli.inputs import read_inputs
from tensorhost.cli.outcome import CommandError, ExitCode
from tensorhost.cli.output import spinner
from tensorhost.cli.remote import client_errors, connected

if TYPE_CHECKING:
    from tensorhost.bench.tally import Tally


@dataclass
class Aim:
    """Whom to load with what. ``facts`` is JSON-ready and grows once the generators know more."""

    target: HttpTarget | ModelTarget
    body: bytes
    facts: dict[str, Any]
    url: str | None = None


_METRICS_TIMEOUT_S = 1.0


def aim_at_server(
    model: str, url: str | None, inputs: Sequence[str], version: str | None, signature: str | None, rows: int
) -> Aim:
    """A request of a server's model that the server has answered. Raises CommandError."""
    from tensorhost.bench.bodies import http_target, request_of

    given = read_inputs(inputs, []) if inputs else None
    with connected(url, None, f"Asking {model}…") as client:
        body, answered = request_of(client, model, given, version=version, signature=signature, rows=rows)
        address = client.url
    facts = {"kind": "server", "url": address, "model": model, **answered, "signature": signature}
    facts |= {"rows": rows if given is None else _rows(given), "bodyBytes": len(body)}
    return Aim(http_target(address, len(body)), body, facts, address)


def aim_at_model(
    path: str,
    inputs: Sequence[str],
    version: str | None,
    signature: str | None,
    rows: int,
    *,
    bare: bool,
    settings: dict[str, Any],
) -> Aim:
    """A model on disk. Raises CommandError where the inputs cannot be read."""
    from tensorhost.client.encoding import to_json

    with client_errors():
        body = to_json({"inputs": read_inputs(inputs, [])}) if inputs else b""
    target = ModelTarget(
        path, version, signature, rows, bare, {name: _plain(value) for name, value in settings.items()}
    )
    return Aim(target, body, {"kind": "runtime" if bare else "engine", "path": path})


def measure(
    aim: Aim, loads: tuple[Load, ...], processes: int
) -> tuple[list[dict[str, Any]], CommandError | KeyboardInterrupt | None]:
    """A report for each load that was begun, and what ended the command early, if anything did.

    The first Ctrl-C ends the run, the second the command; the reports of runs that were finished outlive both.
    """
    runs: list[dict[str, Any]] = []
    try:
        with Generators(aim.target, loads, aim.body, count=processes) as generators:
            with spinner(f"Loading {aim.facts.get('model') or aim.facts.get('path')}…"):
                aim.facts |= generators.ready()
            with _interrupts(generators) as interrupted:
                for load in loads:
                    tally = _measure_one(aim, load, generators, interrupted, runs)
                    if tally.gone:
                        return runs, _gone(aim, tally)
                    if interrupted:
                        break
    except GeneratorError as error:
        exit_code = ExitCode.UNREACHABLE if error.code == "UNREACHABLE" else ExitCode.FAILED
        where = f"{aim.url}: " if aim.url else ""
        return runs, CommandError(f"{where}{error.message}", exit_code)
    except KeyboardInterrupt as again:
        return runs, again
    return runs, None


def _measure_one(
    aim: Aim, load: Load, generators: Generators, interrupted: list[bool], runs: list[dict[str, Any]]
) -> Tally:
    """Carry ``load`` out and append its report to ``runs``."""
    from tensorhost.bench.report import report

    batches = _ServerBatches(aim)
    with progress_bar(load) as bar:
        tally = generators.run(bar, batches.begin)
    cut_short = bool(interrupted)
    # The run is over: whoever presses Ctrl-C now waits for its figures, and need not wait for those of the server.
    with contextlib.suppress(KeyboardInterrupt):
        batches.end(tally)
    runs.append(report(load, tally, rows=aim.facts["rows"], interrupted=cut_short))
    return tally


class _ServerBatches:
    """Model calls of the server while a load is on, from its metrics; nothing where they cannot be read."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._before: dict[str, Any] | None = None

    def begin(self) -> None:
        """Note the counters before."""
        self._before = self._read()

    def end(self, tally: Tally) -> None:
        """Note in ``tally`` what they have grown by."""
        from tensorhost.bench.report import batches_between

        if self._aim.url is not None:
            counts, rows = batches_between(self._before, self._read())
            tally.batch_rows.update(counts)
            tally.rows = rows

    def _read(self) -> dict[str, Any] | None:
        from tensorhost.client import Client, ClientError

        if self._aim.url is None:
            return None
        try:
            with Client(self._aim.url, timeout_s=_METRICS_TIMEOUT_S, retries=0) as client:
                models = client.metrics()["models"]
            found: dict[str, Any] = models[self._aim.facts["model"]][self._aim.facts["version"]]["batches"]
        except (ClientError, KeyError, TypeError):
            return None
        return found


@contextmanager
def _interrupts(generators: Generators) -> Iterator[list[bool]]:
    """The list has an element once Ctrl-C was pressed; the second time is Python's own business."""
    pressed: list[bool] = []
    before = signal.getsignal(signal.SIGINT)

    def stop(_number: int, _frame: object) -> None:
        pressed.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        generators.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _gone(aim: Aim, tally: Tally) -> CommandError:
    return CommandError(f"The server at {aim.url} went away {tally.window_s:.1f} s into the run.", ExitCode.UNREACHABLE)


def _rows(inputs: Any) -> int:
    first = next(iter(inputs.values()), None) if isinstance(inputs, dict) else inputs
    return len(first) if isinstance(first, Sized) and not isinstance(first, str | bytes) else 1


def _plain(value: Any) -> Any:
    """A flag's value as JSON carries it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
