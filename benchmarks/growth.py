"""What more of something costs: registered models, open connections, bytes in a body.

Run: ``python -m benchmarks.growth [--save] [--only models|connections|bodies]``. About five minutes. One server with
default settings apart from the limits that are being tried. The processor time of the server is given beside every
rate, since it does not change when other programs are busy.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import machine
from benchmarks.process import ServerProcess
from tensorhost.bench import Load
from tensorhost.demo import demo_models_path, samples

RESULT = Path(__file__).parent / "results" / "growth.json"
MODELS = (1, 10, 100, 1000)
CONNECTIONS = (1, 10, 100, 1000, 10_000)
BODY_BYTES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)
LOAD = Load(8, duration_s=3.0, warmup_s=1.0)
IDLE_S = 5.0
_OWN_FILES = 256
_FREE_DIMENSIONS = """
import sys, tensorflow as tf
module = tf.Module()
spec = tf.TensorSpec((None, None), tf.float32, name="x")
module.serve = tf.function(lambda x: {"sum": tf.reduce_sum(x, 1)}, input_signature=[spec])
tf.saved_model.save(module, sys.argv[1], signatures={"serving_default": module.serve})
"""


def wine_body(name: str) -> bytes:
    """A request of one row to a copy of the demo's wine model."""
    row = samples()["wine"][0]["input"]
    return json.dumps({"modelName": name, "inputs": [row]}).encode()


def measure_models(count: int) -> dict[str, Any]:
    """A server with ``count`` registered models, one of which is asked."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            shutil.copytree(demo_models_path() / "wine", Path(folder) / f"model{number:04}")
        with ServerProcess(Path(folder), "--loading", "lazy", "--settle-s", 0) as server:
            registered_bytes = server.rss_bytes()
            body = wine_body(f"model{count - 1:04}")
            first_s = server.predict(body)
            figures = server.load(body, LOAD)
            # Not earlier: files that were written a moment ago are read at every look.
            idle_cores = _idle_cores(server)
            routes = {
                route: _route_ms(server, path) for route, path in (("models", "/models"), ("metrics", "/metrics"))
            }
            return {
                "models": count,
                "ready_s": round(server.ready_s, 2),
                "ready_cpu_s": round(server.ready_cpu_s, 2),
                "rss_mib": _mib(registered_bytes),
                "idle_cores": idle_cores,
                "first_request_s": round(first_s, 2),
                **figures,
                **{f"{route}_ms": ms for route, ms in routes.items()},
            }


def measure_connections(server: ServerProcess, count: int) -> dict[str, Any]:
    """``count`` connections, each of which asked once, and the load of eight more beside them."""
    before_bytes = server.rss_bytes()
    with _idle_connections(server.url, count) as connect_s:
        held_bytes = server.rss_bytes() - before_bytes
        idle_cores = _idle_cores(server)
        figures = server.load(wine_body("wine"), LOAD)
    return {
        "connections": count,
        "connect_us": round(connect_s / count * 1e6, 1),
        "kib_per_connection": round(held_bytes / count / 1024, 1),
        "idle_cores": idle_cores,
        **figures,
    }


@contextmanager
def _idle_connections(url: str, count: int) -> Iterator[float]:
    """Connections that have had one answer each and ask nothing more; gives the seconds it took to have them."""
    address = httpx.URL(url)
    where = (address.host, address.port or 80)
    request = f"GET /health/live HTTP/1.1\r\nHost: {address.host}\r\n\r\n".encode()
    sockets: list[socket.socket] = []
    started = time.perf_counter()
    try:
        for _ in range(count):
            sockets.append(socket.create_connection(where, timeout=30))
            sockets[-1].sendall(request)
            if not sockets[-1].recv(4096).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a connection was not answered")
        yield time.perf_counter() - started
    finally:
        for one in sockets:
            one.close()


def measure_body(server: ServerProcess, size: int) -> dict[str, Any]:
    """One request after another with a body of ``size`` bytes: seconds, processor time and peak memory."""
    body = _numbers_body(size)
    server.predict(body)
    before_bytes = server.rss_bytes()
    server.forget_peak()
    repeats = max(3, min(200, 2 * 10**7 // size))
    cpu_s = server.cpu_s()
    times = [server.predict(body) for _ in range(repeats)]
    cpu_ms = (server.cpu_s() - cpu_s) / repeats * 1e3
    peak_bytes = server.peak_bytes() - before_bytes
    return {
        "body_bytes": len(body),
        "median_ms": round(statistics.median(times) * 1e3, 3),
        "server_cpu_ms": round(cpu_ms, 3),
        "peak_mib": _mib(peak_bytes),
        "peak_bytes_per_body_byte": round(peak_bytes / len(body), 2),
        "left_mib": _mib(server.rss_bytes() - before_bytes),
    }


def _numbers_body(size: int) -> bytes:
    """One row of float32 numbers with about nine digits, as a Python client writes them."""
    head, tail = b'{"modelName":"free","inputs":[[', b"]]}"
    number = b"0.12345678,"
    count = max(1, (size - len(head) - len(tail) + 1) // len(number))
    return head + (number * count)[:-1] + tail


def all_models() -> list[dict[str, Any]]:
    """The curve over registered models, a server each."""
    return [_told(measure_models(count)) for count in MODELS]


def all_connections() -> list[dict[str, Any]]:
    """The curve over open connections, on one server."""
    limit = _allow_files(max(CONNECTIONS) + _OWN_FILES)
    counts = [count for count in CONNECTIONS if count + _OWN_FILES <= limit]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(demo_models_path() / "wine", Path(folder) / "wine")
        with ServerProcess(
            Path(folder), "--max-connections", max(counts) + _OWN_FILES, "--keep-alive-timeout-s", 600
        ) as server:
            server.load(wine_body("wine"), LOAD)
            return [_told(measure_connections(server, count)) for count in counts]


def all_bodies() -> list[dict[str, Any]]:
    """The curve over the size of a body, on one server and a model of free dimensions."""
    largest = 2 * max(BODY_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "free" / "1"
        subprocess.run([sys.executable, "-c", _FREE_DIMENSIONS, str(model)], check=True, capture_output=True)
        flags = ("--max-body-bytes", largest, "--max-buffered-body-bytes", 2 * largest)
        with ServerProcess(Path(folder), *flags) as server:
            return [_told(measure_body(server, size)) for size in BODY_BYTES]


CURVES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "models": all_models,
    "connections": all_connections,
    "bodies": all_bodies,
}


def _idle_cores(server: ServerProcess) -> float:
    """Cores the server keeps busy while nothing is asked."""
    cpu_s = server.cpu_s()
    time.sleep(IDLE_S)
    return round((server.cpu_s() - cpu_s) / IDLE_S, 4)


def _route_ms(server: ServerProcess, path: str) -> float:
    """Median milliseconds of a GET."""
    times = []
    with httpx.Client() as client:
        for _ in range(5):
            started = time.perf_counter()
            client.get(server.url + path).raise_for_status()
            times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e3, 2)


def _allow_files(count: int) -> int:
    """Raise this process's limit of open files as far as the system lets it; the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else count


def _mib(size_bytes: float) -> float:
    return round(size_bytes / 2**20, 1)


def _told(point: dict[str, Any]) -> dict[str, Any]:
    print(point, flush=True)
    return point


def main() -> None:
    """Measure, print, save; curves that are not measured keep what was saved."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--only", choices=list(CURVES), help="one curve")
    options = parser.parse_args()
    curves = {}
    for name in CURVES if options.only is None else [options.only]:
        print(name, flush=True)
        curves[name] = {**machine.describe(), "points": CURVES[name]()}
    if options.save:
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
        how = {"concurrency": LOAD.concurrency, "seconds": LOAD.duration_s, "idle_s": IDLE_S}
        saved = {"how": how, "curves": {**kept.get("curves", {}), **curves}}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
