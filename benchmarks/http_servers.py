"""Requests a second and latencies of tensorhost, FastAPI and LitServe serving the same SavedModel over HTTP.

Run: ``python -m benchmarks.http_servers [--save] [--cache FOLDER] [--only MODEL] [--rounds N]``. About twelve
minutes for everything; the first run also builds the models and the other servers' environment under ``--cache``.

Every case is measured in rounds, and in every round each server takes its turn for a few seconds while the others are
paused; a ratio is taken inside a round, between neighbours in time, and the median of the rounds is what counts. The
load generator runs on the same machine and shares its cores with the server. Processor time per request is counted too:
it hardly changes when other programs are busy.
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
    *(Case("mlp", connections, 3) for connections in (1, 32, 128)),
    *(Case("mobilenetv2", connections, 8) for connections in (1, 4, 8)),
    Case("tiny", 32, 3),
)


def contenders(python: Path) -> tuple[Contender, ...]:
    """Who is compared; the first is tensorhost."""
    peers = (fastapi(python, "def"), fastapi(python, "async"), litserve(python), litserve(python, max_batch_size=1))
    return (tensorhost(), *peers)


def measure_turn(server: RunningServer, body: Path, case: Case) -> dict[str, float]:
    """One server's turn: a second to settle, then the load; what it did, and who used the processor."""
    server.resume()
    try:
        server.settle(SETTLE_S)
        before, started = machine.CpuSeconds.now(server.pid), time.perf_counter()
        figures = run_load(server.url, body, case.connections, case.seconds)
        elapsed_s = time.perf_counter() - started
        busy = machine.CpuSeconds.now(server.pid).cores_since(before, elapsed_s)
    finally:
        server.pause()
    cpu_us = busy["server_cores"] / figures.requests_s * 1e6
    return asdict(figures) | busy | {"cpu_us_per_request": round(cpu_us, 1)}


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
        "ratios": {name: compare(turns[OURS], theirs) for name, theirs in turns.items() if name != OURS},
    }


def summarise(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians of the rounds, and the rounds themselves."""
    medians = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}
    return {**medians, "rounds": list(rounds)}


def compare(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """How many times better tensorhost did, round by round: median, lowest and highest.

    ``requests_s`` is its rate over theirs, ``cpu`` their processor time per request over its own.
    """
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "requests_s": spread([mine["requests_s"] / other["requests_s"] for mine, other in pairs]),
        "cpu": spread([other["cpu_us_per_request"] / mine["cpu_us_per_request"] for mine, other in pairs]),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    named = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
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
        times = ""
        if ratios:
            rate, cpu = ratios["requests_s"], ratios["cpu"]
            times = f"{rate['median']:6.2f}x ({rate['lowest']:.2f}-{rate['highest']:.2f}), cpu {cpu['median']:.2f}x"
        print(
            f"  {name:<20}{figures['requests_s']:>10,.1f}/s  p50 {figures['p50_ms']:>9.2f} ms"
            f"  p99 {figures['p99_ms']:>9.2f} ms  cpu {figures['cpu_us_per_request']:>8.0f} us"
            f"  others' cores {figures['other_cores']:.2f}  {times}",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_servers", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models and environment are kept")
    parser.add_argument("--only", choices=sorted({case.model for case in CASES}), help="one model's cases")
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody takes a turn")
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
