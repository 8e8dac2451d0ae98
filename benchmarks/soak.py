"""Whether memory, file descriptors and threads stay flat under everything that happens to a server in its life.

Run: ``python -m benchmarks.soak --minutes N [--save]``. While a steady load runs, models are loaded, unloaded and
replaced on disk, requests are refused, and clients leave in the middle of a request or before its answer. The server
is sampled all the time; what it settles to in the first fifth of the run is left out, and a line is fitted to the rest.
The exit code is 1 when anything grows by more than is allowed, or when a request of the steady load failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks import machine
from benchmarks.growth import wine_body
from benchmarks.process import ServerProcess
from tensorhost.bench import Generators, Load
from tensorhost.bench.bodies import http_target
from tensorhost.bench.tally import Tally
from tensorhost.demo import demo_models_path, samples

RESULT = Path(__file__).parent / "results" / "soak.json"
RATE = 200.0
SETTLING_SHARE = 0.2
SAMPLES = 300
ALLOWED = {"rss_mib": 24.0, "fds": 4.0, "threads": 4.0}
"""How much the fitted line may rise from its first to its last sample; a leak in any of the events exceeds it soon."""

_PAUSE_S = 0.02
_RELOAD_EVERY = 200
"""Turns of trouble between two loads; loading is a hundred times as expensive as the rest."""


class Trouble:
    """Everything but the steady load, from one thread until ``stop``; ``seen`` counts what was done."""

    def __init__(self, server: ServerProcess, repository: Path) -> None:
        self.seen: Counter[str] = Counter()
        self.fault: Exception | None = None
        self._server = server
        self._repository = repository
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trouble")
        self._client = httpx.Client(timeout=120)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; raises what ended it before."""
        self._stopped.set()
        self._thread.join()
        self._client.close()
        if self.fault is not None:
            raise self.fault

    def _run(self) -> None:
        quick: list[Callable[[], None]] = [self._refused, self._unknown, self._broken_json]
        quick += [self._leave_early, self._leave_in_the_middle, self._metrics]
        slow: list[Callable[[], None]] = [self._reload, self._replace]
        turn = 0
        try:
            while not self._stopped.wait(_PAUSE_S):
                turn += 1
                act = slow[turn // _RELOAD_EVERY % 2] if turn % _RELOAD_EVERY == 0 else quick[turn % len(quick)]
                act()
                self.seen[act.__name__.lstrip("_")] += 1
        except Exception as error:  # noqa: BLE001 - told by stop, in the thread that waits for it
            self.fault = error

    def _post(self, path: str, body: bytes, expected: int) -> None:
        answer = self._client.post(self._server.url + path, content=body, headers={"Content-Type": "application/json"})
        if answer.status_code != expected:
            raise RuntimeError(f"{path} answered {answer.status_code}, not {expected}: {answer.text[:200]}")

    def _refused(self) -> None:
        self._post("/predict", b'{"modelName": "wine", "inputs": [[1, 2, 3]]}', 400)

    def _unknown(self) -> None:
        self._post("/predict", f'{{"modelName": "nothing-{self.seen["unknown"]}", "inputs": [1]}}'.encode(), 404)

    def _broken_json(self) -> None:
        self._post("/predict", b'{"modelName": "wine", "inputs": [[1, 2,', 400)

    def _metrics(self) -> None:
        for accept in ("application/json", "text/plain"):
            self._client.get(f"{self._server.url}/metrics", headers={"Accept": accept}).raise_for_status()

    def _leave_early(self) -> None:
        self._send_and_leave(wine_body("wine"), share=1.0)

    def _leave_in_the_middle(self) -> None:
        self._send_and_leave(wine_body("wine"), share=0.5)

    def _send_and_leave(self, body: bytes, share: float) -> None:
        target = http_target(self._server.url, len(body))
        with socket.create_connection((target.host, target.port), timeout=30) as connection:
            connection.sendall(target.head.encode() + body[: int(len(body) * share)])

    def _reload(self) -> None:
        self._post("/models/digits/unload", b"{}", 200)
        self._post("/models/digits/load", b"{}", 200)
        row = samples()["digits"][0]["input"]
        self._post("/predict", json.dumps({"modelName": "digits", "inputs": [row]}).encode(), 200)

    def _replace(self) -> None:
        """The same files with a new time: to the server, new files, loaded beside the old and swapped in."""
        for file in (self._repository / "langid").rglob("*"):
            if file.is_file():
                os.utime(file)


def soak(minutes: float) -> dict[str, Any]:
    """Samples, fitted lines and what was done, over so many minutes."""
    duration_s = minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        shutil.copytree(demo_models_path(), repository)
        with ServerProcess(repository, "--poll-interval-s", 2, "--settle-s", 0.5) as server:
            trouble = Trouble(server, repository)
            taken: list[dict[str, float]] = []
            steady = threading.Thread(target=lambda: totals.append(_steady_load(server, duration_s)), name="load")
            totals: list[Tally] = []
            steady.start()
            trouble.start()
            started = time.monotonic()
            while (elapsed_s := time.monotonic() - started) < duration_s and steady.is_alive():
                taken.append(_sample(server, elapsed_s))
                time.sleep(duration_s / SAMPLES)
            steady.join()
            trouble.stop()
    if not totals:
        raise RuntimeError("the steady load ended early")
    lines = {name: _fit(taken, name) for name in ALLOWED}
    requests = {"answered": totals[0].answered, "failed": totals[0].failed, "errors": dict(totals[0].errors)}
    return {"requests": requests, "trouble": dict(trouble.seen), "lines": lines, "samples": taken}


def _steady_load(server: ServerProcess, duration_s: float) -> Tally:
    body = wine_body("wine")
    load = Load(32, rate=RATE, duration_s=duration_s, warmup_s=0.0)
    with Generators(http_target(server.url, len(body)), (load,), body) as generators:
        generators.ready()
        return generators.run(lambda _kind, _parts: None, lambda: None)


def _sample(server: ServerProcess, elapsed_s: float) -> dict[str, float]:
    fds, threads = server.handles()
    return {
        "elapsed_s": round(elapsed_s, 1),
        "rss_mib": round(server.rss_bytes() / 2**20, 1),
        "fds": fds,
        "threads": threads,
    }


def _fit(taken: list[dict[str, float]], name: str) -> dict[str, float]:
    """The least-squares line over what was sampled after settling: its first value, its rise, and that per hour."""
    kept = taken[int(len(taken) * SETTLING_SHARE) :]
    times = np.array([one["elapsed_s"] for one in kept])
    values = np.array([one[name] for one in kept], dtype=np.float64)
    slope, start = np.polyfit(times - times[0], values, 1)
    rise = slope * (times[-1] - times[0])
    return {
        "start": round(float(start), 1),
        "rise": round(float(rise), 2),
        "per_hour": round(float(slope * 3600), 2),
        "lowest": float(values.min()),
        "highest": float(values.max()),
    }


def main() -> int:
    """Run, print, save; 1 when something grew or failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    outcome = soak(options.minutes)
    print(json.dumps({name: value for name, value in outcome.items() if name != "samples"}, indent=1))
    if options.save:
        how = {"minutes": options.minutes, "rate": RATE, "settling_share": SETTLING_SHARE, "allowed": ALLOWED}
        RESULT.write_text(json.dumps({**machine.describe(), "how": how, **outcome}, indent=1) + "\n", encoding="utf-8")
    grown = [name for name, line in outcome["lines"].items() if line["rise"] > ALLOWED[name]]
    for name in grown:
        print(f"{name} rose by {outcome['lines'][name]['rise']}, more than {ALLOWED[name]}", file=sys.stderr)
    return 1 if grown or outcome["requests"]["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
