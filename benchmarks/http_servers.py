"""Requests a second and latencies of tensorhost, FastAPI and LitServe serving the same SavedModel over HTTP.

Run: ``python -m benchmarks.http_servers [--save] [--cache FOLDER] [--only MODEL] [--rounds N]``. About a quarter of an
hour for everything; the first run also builds the models and the other servers' environment under ``--cache``.

Every case is measured in rounds, and in every round each server takes its turn for a few seconds while the others are
paused; a ratio is taken inside a round, between neighbours in time, and the median of the rounds is what counts. The
load generator runs on the same machine and shares its cores with the server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.load import generator_version, run_load
from benchmarks.models import Model, ensure
from benchmarks.peers import environment
from benchmarks.servers import Contender, RunningServer, fastapi, litserve, request_body, run_servers, tensorhost

RESULT = Path(__file__).parent / "results" / "http_servers.json"
DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tensorhost-benchmarks"
OURS = "tensorhost"
SETTLE_S = 1


@dataclass(frozen=True, slots=True)
class Case:
    """One model under a number of connections, measured for ``seconds`` per server and round."""

    model: str
    connections: int
    seconds: int


CASES = (
    *(Case("mlp", connections, 4) for connections in (1, 32, 128)),
    *(Case("mobilenetv2", connections, 6) for connections in (1, 4, 8)),
    *(Case("tiny", connections, 3) for connections in (1, 32)),
)


def contenders(python: Path) -> tuple[Contender, ...]:
    """Who is compared; the first is tensorhost."""
    peers = (fastapi(python, "def"), fastapi(python, "async"), litserve(python), litserve(python, max_batch_size=1))
    return (tensorhost(), *peers)


def measure_turn(server: RunningServer, body: Path, case: Case) -> dict[str, float]:
    """One server's turn: a second to settle, then the load; what it did, and who used the processor."""
    server.resume()
    try:
        run_load(server.url, body, case.connections, SETTLE_S)
        before, started = machine.CpuSeconds.now(server.pid), time.perf_counter()
        figures = run_load(server.url, body, case.connections, case.seconds)
        elapsed_s = time.perf_counter() - started
        busy = machine.CpuSeconds.now(server.pid).cores_since(before, elapsed_s)
    finally:
        server.pause()
    return asdict(figures) | busy


def measure_case(servers: Sequence[RunningServer], body: Path, case: Case, rounds: int) -> dict[str, Any]:
    """All rounds of one case."""
    turns: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        # Every other round backwards, so that nobody always follows the same neighbour.
        for server in servers if number % 2 == 0 else reversed(servers):
            turns[server.name].append(measure_turn(server, body, case))
    return {
        "model": case.model,
        "connections": case.connections,
        "body_bytes": body.stat().st_size,
        "servers": {name: summarise(rounds_of) for name, rounds_of in turns.items()},
        "ratios": {name: ratio(turns[OURS], theirs) for name, theirs in turns.items() if name != OURS},
    }


def summarise(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians of the rounds, and the rounds themselves."""
    names = ("requests_s", "p50_ms", "p99_ms", "server_cores", "generator_cores", "other_cores")
    medians = {name: round(statistics.median(one[name] for one in rounds), 3) for name in names}
    return {**medians, "rounds": list(rounds)}


def ratio(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Requests a second, ours over theirs, round by round: median, lowest and highest."""
    each = [one["requests_s"] / other["requests_s"] for one, other in zip(ours, theirs, strict=True)]
    named = {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}
    return {name: round(value, 2) for name, value in named.items()}


def measure_model(model: Model, cases: Sequence[Case], python: Path, rounds: int) -> list[dict[str, Any]]:
    """Every case of one model, on one set of running servers."""
    results = []
    with tempfile.TemporaryDirectory() as scratch, run_servers(contenders(python), model) as servers:
        body = Path(scratch) / "body.json"
        body.write_bytes(request_body(model))
        for case in cases:
            results.append(measure_case(servers, body, case, rounds))
            print_case(results[-1])
    return results


def print_case(result: dict[str, Any]) -> None:
    """A table of one case."""
    print(f"\n{result['model']}, {result['connections']} connections, body of {result['body_bytes']:,} bytes")
    for name, figures in result["servers"].items():
        ratios = result["ratios"].get(name)
        times = f"{ratios['median']:6.2f}x ({ratios['lowest']:.2f}-{ratios['highest']:.2f})" if ratios else ""
        print(
            f"  {name:<20}{figures['requests_s']:>10,.1f}/s  p50 {figures['p50_ms']:>9.2f} ms"
            f"  p99 {figures['p99_ms']:>9.2f} ms  others' cores {figures['other_cores']:.2f}  {times}",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_servers", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models and environment are kept")
    parser.add_argument("--only", choices=sorted({case.model for case in CASES}), help="one model's cases")
    parser.add_argument("--rounds", type=int, default=5, help="how often everybody takes a turn")
    return parser.parse_args()


def main() -> None:
    """Measure, print, save."""
    options = arguments()
    generator = generator_version()
    python = environment.ensure(options.cache / "peers")
    names = tuple(dict.fromkeys(case.model for case in CASES if options.only in (None, case.model)))
    models = ensure(names, options.cache / "models")
    results: list[dict[str, Any]] = []
    for name in names:
        cases = [case for case in CASES if case.model == name]
        results += measure_model(models[name], cases, python, options.rounds)
    if options.save:
        how = {"generator": generator, "rounds": options.rounds, "settle_s": SETTLE_S}
        seconds = {name: next(case.seconds for case in CASES if case.model == name) for name in names}
        saved = machine.describe() | {"peers": environment.versions(python), "how": how | {"seconds": seconds}}
        RESULT.write_text(json.dumps(saved | {"cases": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
