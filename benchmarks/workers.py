"""One process against one worker per core, over HTTP: rates, latencies, processor time and memory.

Run: ``python -m benchmarks.workers [--save] [--cache FOLDER] [--only MODEL] [--rounds N]``. About ten minutes on two
cores. What it is for: saying when several workers pay, what they cost, and what ``workers = "auto"`` should be.

The contenders take turns as in the comparison with other servers; ratios are taken inside a round against the single
process. The load generator shares the machine's cores: with a worker for each it competes with them, as a proxy would.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import machine
from benchmarks.contenders import Contender, tensorhost
from benchmarks.figures import spread, summarise
from benchmarks.load import generator_version, run_load
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.servers import SETTLE_S, RunningServer, run_servers

RESULT = Path(__file__).parent / "results" / "workers.json"
ONE = "one"
_READY_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Case:
    """One model under a number of connections, measured for ``seconds`` per contender and round."""

    model: str
    connections: int
    seconds: int


CASES = (
    *(Case("tiny", connections, 3) for connections in (1, 8, 32, 128)),
    *(Case("mlp", connections, 3) for connections in (1, 8, 32, 128)),
    *(Case("mobilenetv2", connections, 8) for connections in (1, 4, 8)),
)


def contenders(cores: int) -> tuple[Contender, ...]:
    """One process; a worker per core; the same with one TensorFlow thread each. The first is what others are over."""
    flags = {
        ONE: (),
        "per_core": ("--workers", str(cores)),
        "per_core_one_thread": ("--workers", str(cores), "--intra-op-threads", "1"),
    }
    return tuple(tensorhost(*each, name=name) for name, each in flags.items())


def wait_until_ready(server: RunningServer) -> None:
    """Return when every worker serves. Raises TimeoutError."""
    give_up_at = time.monotonic() + _READY_TIMEOUT_S
    server.resume()
    try:
        while time.monotonic() < give_up_at:
            if httpx.get(f"http://127.0.0.1:{server.port}/health/ready", timeout=30).is_success:
                return
            time.sleep(0.1)
    finally:
        server.pause()
    raise TimeoutError(f"{server.name} is not ready")


def memory_mib(server: RunningServer) -> dict[str, float]:
    """Memory of all processes that serve: resident, and with shared pages counted once (``pss``)."""
    parent = psutil.Process(server.pid)
    used = [process.memory_full_info() for process in (parent, *filter(_is_worker, parent.children()))]
    return {name: round(sum(getattr(one, name) for one in used) / 2**20, 1) for name in ("rss", "pss")}


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "tensorhost.server.workers.worker" in process.cmdline()
    except psutil.ZombieProcess:  # a child in which models were tried has ended, and its parent is paused
        return False


def measure_turn(server: RunningServer, body: Path, case: Case) -> dict[str, float]:
    """One contender's turn: a second to settle, then the load; what it did, and who used the processor."""
    server.resume()
    try:
        server.settle(SETTLE_S)
        before, started = machine.CpuSeconds.now(server.pid), time.perf_counter()
        figures = run_load(server.url, body, case.connections, case.seconds)
        busy = machine.CpuSeconds.now(server.pid).cores_since(before, time.perf_counter() - started)
    finally:
        server.pause()
    cpu_us = busy["server_cores"] / figures.requests_s * 1e6
    return asdict(figures) | busy | {"cpu_us_per_request": round(cpu_us, 1)}


def measure_case(servers: Sequence[RunningServer], body: Path, case: Case, rounds: int) -> dict[str, Any]:
    """All rounds of one case."""
    turns: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            turns[server.name].append(measure_turn(server, body, case))
    return {
        "model": case.model,
        "connections": case.connections,
        "servers": {name: summarise(taken) for name, taken in turns.items()},
        "ratios": {name: compare(taken, turns[ONE]) for name, taken in turns.items() if name != ONE},
    }


def compare(several: Sequence[dict[str, float]], one: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Rate, and processor time per request, over those of the single process, round by round."""
    pairs = list(zip(several, one, strict=True))
    return {
        "requests_s": spread([mine["requests_s"] / single["requests_s"] for mine, single in pairs]),
        "cpu": spread([mine["cpu_us_per_request"] / single["cpu_us_per_request"] for mine, single in pairs]),
    }


def measure_model(model: Model, cases: Sequence[Case], cores: int, rounds: int) -> dict[str, Any]:
    """Every case of one model, and the memory afterwards."""
    with tempfile.TemporaryDirectory() as scratch, run_servers(contenders(cores), model) as servers:
        for server in servers:
            wait_until_ready(server)
        body = Path(scratch) / "body.json"
        body.write_bytes(servers[0].body())
        results = []
        for case in cases:
            results.append(measure_case(servers, body, case, rounds))
            print_case(results[-1])
        memory = {server.name: memory_mib(server) for server in servers}
    print(f"  memory, MiB: {memory}", flush=True)
    return {"model": model.name, "cases": results, "memory_mib": memory}


def print_case(result: dict[str, Any]) -> None:
    """A table of one case."""
    print(f"\n{result['model']}, {result['connections']} connections")
    for name, figures in result["servers"].items():
        ratios = result["ratios"].get(name)
        times = f"  {ratios['requests_s']['median']:.2f}x, cpu {ratios['cpu']['median']:.2f}x" if ratios else ""
        print(
            f"  {name:<20}{figures['requests_s']:>10,.1f}/s  p50 {figures['p50_ms']:>8.2f} ms"
            f"  p99 {figures['p99_ms']:>8.2f} ms  cpu {figures['cpu_us_per_request']:>8.0f} us"
            f"  others' cores {figures['other_cores']:.2f}{times}",
            flush=True,
        )


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models are kept")
    parser.add_argument("--only", choices=sorted({case.model for case in CASES}), help="one model's cases")
    parser.add_argument("--rounds", type=int, default=4, help="how often everybody takes a turn")
    options = parser.parse_args()
    generator = generator_version()
    cores = len(os.sched_getaffinity(0))
    names = tuple(dict.fromkeys(case.model for case in CASES if options.only in (None, case.model)))
    models = ensure(names, options.cache / "models")
    results = [
        measure_model(models[name], [case for case in CASES if case.model == name], cores, options.rounds)
        for name in names
    ]
    if options.save:
        how = {"generator": generator, "rounds": options.rounds, "settle_s": SETTLE_S, "workers": cores}
        RESULT.write_text(json.dumps(machine.describe() | {"how": how, "models": results}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
