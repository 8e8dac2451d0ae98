"""What a latency goal does: requests that come whether or not the server keeps up, with a goal and without, in turns.

Run: ``python -m benchmarks.latency_goal [--save] [--cache FOLDER] [--model NAME ...]``. About six minutes. Each model
is loaded and warmed up as a server does; requests of one row come at random times at a share of the most that callers
who wait for their answer got out of the queue. No HTTP: what is timed is what the goal is about, the wait for a call
and the call. ``made up`` is no model but a wait whose rows get dearer beyond eight.

A row of the result: rows that came and that were answered per second, those answered within the goal per second, and
percentiles of the latency of all. ``--save`` writes ``benchmarks/results/latency_goal.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks.machine import describe
from benchmarks.models import ensure
from tensorhost.batching import BatchQueue, QueueOptions
from tensorhost.core.errors import OverloadedError
from tensorhost.core.requests import Timings
from tensorhost.core.tensors import Array, Tensors
from tensorhost.models.warmup import SignaturePlan, WarmupOptions, warm_up
from tensorhost.runtimes import LoadOptions, load

RESULT = Path(__file__).parent / "results" / "latency_goal.json"
MAX_BATCH_ROWS = 32
LOADS = (0.5, 0.8, 1.2)
GOALS_IN_CALLS = (3.0, 6.0, 20.0)
"""Goals as multiples of a call of the size that serves most, the first hard and the last easy to keep."""

TURNS = 3
CALLERS = 4 * MAX_BATCH_ROWS
LEAST_S, LEAST_REQUESTS = 2.0, 500
LONGEST_S = 8.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked: a call, its inputs for one row, and what warm-up found."""

    name: str
    run: Callable[[Tensors], dict[str, Array]]
    row: Tensors
    plan: SignaturePlan


@dataclass(frozen=True, slots=True)
class Figures:
    """One run."""

    offered_s: float
    answered_s: float
    in_time_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int


def made_up() -> Subject:
    """A wait of 4 ms, 1 ms for each row, and 3 ms more for each beyond eight."""

    def seconds(rows: int) -> float:
        return 0.004 + 0.001 * rows + 0.003 * max(rows - 8, 0)

    def run(inputs: Tensors) -> dict[str, Array]:
        time.sleep(seconds(len(inputs["x"])))
        return {"y": inputs["x"].copy()}

    sizes = (1, 2, 4, 8, 16, 32)
    plan = SignaturePlan(batched=True, call_s={rows: seconds(rows) for rows in sizes}, warmed=True)
    return Subject("made up", run, {"x": np.ones((1, 4), np.float32)}, plan)


def real(name: str, folder: Path) -> Subject:
    """A model as a server would have it."""
    model = ensure((name,), folder)[name]
    runtime = load(model.saved_model, LoadOptions())
    signature = next(iter(runtime.signatures.values()))
    options = WarmupOptions(iterations=5, max_batch_rows=MAX_BATCH_ROWS, batching=True, threshold_s=0.001)
    plan = warm_up(runtime, signature, options)
    (input_name,) = signature.inputs
    row = {input_name: np.asarray(model.rows, np.float32)}
    return Subject(name, lambda inputs: runtime.run(signature.name, inputs), row, plan)


def make_queue(subject: Subject, goal_s: float, executor: ThreadPoolExecutor) -> BatchQueue:
    """A queue as the server makes it."""
    plan = subject.plan
    options = QueueOptions(
        batched=True,
        max_batch_rows=MAX_BATCH_ROWS,
        batch_timeout_s=0.0,
        max_queue_rows=4096,
        inline_rows=plan.inline_rows,
        target_latency_s=goal_s,
        call_s=plan.call_s,
        padding=plan.padding,
    )
    return BatchQueue(subject.run, options, executor, lambda _rows, _reason, _seconds: None)


async def capacity(subject: Subject, goal_s: float, executor: ThreadPoolExecutor) -> float:
    """Rows a second that callers get who ask again when they have their answer."""
    queue = make_queue(subject, goal_s, executor)
    until = time.monotonic() + LEAST_S
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while time.monotonic() < until:
            await queue.call(subject.row, rows=1, deadline=math.inf, timings=Timings())
            answered += 1

    started = time.monotonic()
    await asyncio.gather(*[caller() for _ in range(CALLERS)])
    return answered / (time.monotonic() - started)


async def measure(
    subject: Subject, goal_s: float, limit_s: float, rate: float, executor: ThreadPoolExecutor
) -> Figures:
    """One run at ``rate`` with the goal ``goal_s`` (0 for none), judged by ``limit_s``.

    Requests not answered when the time is up are waited for and count, too.
    """
    queue = make_queue(subject, goal_s, executor)
    duration_s = min(max(LEAST_S, LEAST_REQUESTS / rate), LONGEST_S)
    latencies: list[float] = []
    refused = 0

    async def ask(due_at: float) -> None:
        nonlocal refused
        try:
            await queue.call(subject.row, rows=1, deadline=math.inf, timings=Timings())
        except OverloadedError:
            refused += 1
            return
        # From when it should have been sent, or a late generator would hide what it delays.
        latencies.append(time.monotonic() - due_at)

    rng = random.Random(1)
    asked: set[asyncio.Task[None]] = set()
    started = due_at = time.monotonic()
    while (due_at := due_at + rng.expovariate(rate)) < started + duration_s:
        if (wait_s := due_at - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        elif len(asked) % 16 == 0:
            await asyncio.sleep(0)
        task = asyncio.create_task(ask(due_at))
        asked.add(task)
        task.add_done_callback(asked.discard)
    count = len(latencies) + len(asked) + refused
    in_time = sum(latency <= limit_s for latency in latencies)
    answered = len(latencies)
    await asyncio.gather(*asked)
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2], latencies[int(0.99 * len(latencies))]
    return Figures(
        round(count / duration_s, 1),
        round(answered / duration_s, 1),
        round(in_time / duration_s, 1),
        *(round(seconds * 1000, 3) for seconds in (p50, p99, latencies[-1])),
        refused,
    )


async def compare(subject: Subject) -> dict[str, Any]:
    """All loads and goals of one subject, with and without the goal in turns; medians."""
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(1) as executor:
        most = max([await capacity(subject, goal_s, executor) for goal_s in (0.0, 60.0)])
        best_rows, best_s = max(subject.plan.call_s.items(), key=lambda item: item[0] / item[1])
        print(f"{subject.name}: {most:.0f} rows/s at most, {best_s * 1000:.2f} ms a call of {best_rows}")
        for calls in GOALS_IN_CALLS:
            goal_s = calls * best_s
            for load_share in LOADS:
                runs: dict[bool, list[Figures]] = {False: [], True: []}
                for _ in range(TURNS):
                    for with_goal in (False, True):
                        asked = goal_s if with_goal else 0.0
                        runs[with_goal].append(await measure(subject, asked, goal_s, load_share * most, executor))
                for with_goal, figures in runs.items():
                    rows.append(row := summary(goal_s, load_share, figures, with_goal=with_goal))
                    print("  ", row, flush=True)
    return {
        "name": subject.name,
        "most_rows_s": round(most, 1),
        "call_ms": {str(size): round(seconds * 1000, 4) for size, seconds in subject.plan.call_s.items()},
        "padding": [list(span) for span in subject.plan.padding],
        "rows": rows,
    }


def summary(goal_s: float, load_share: float, figures: list[Figures], *, with_goal: bool) -> dict[str, Any]:
    """Medians over the turns."""
    found = [asdict(one) for one in figures]
    medians = {key: statistics.median(one[key] for one in found) for key in found[0]}
    return {"goal_ms": round(goal_s * 1000, 3), "load": load_share, "with_goal": with_goal, **medians}


def main() -> None:
    """Measure and print; save where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--model", action="append", choices=["made up", "mlp", "mobilenetv2"])
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.model or ["made up", "mlp", "mobilenetv2"]:
            subject = made_up() if name == "made up" else real(name, arguments.cache or Path(temporary))
            results.append(uvloop.run(compare(subject)))
    if arguments.save:
        saved = {**describe(), "max_batch_rows": MAX_BATCH_ROWS, "turns": TURNS, "results": results}
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
