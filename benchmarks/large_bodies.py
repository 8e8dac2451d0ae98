"""What large bodies cost a server on real sockets: requests a second, processor time, page faults and copies.

Run: ``python -m benchmarks.large_bodies [--against FOLDER] [--save]``. Takes two minutes, three with ``--against``;
needs valgrind and Linux. One client on one connection sends each request in one go and waits for its answer; the model
does nothing. ``--against`` names another checkout, such as one of an older commit, which takes its turn in every round.
``--save`` writes ``benchmarks/results/large_bodies.json``; ``scripts/hot_path_page.py`` renders it.

Besides, what reading a body takes by its size, directly to where it stays and through the parser: where the two meet is
the size from which the server does the former.

Copies are the bytes that go through ``memcpy`` and its like in the server, counted by valgrind's DHAT: the difference
between a run of some requests and one of more. What the kernel copies between itself and the server is not in them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.large_bodies_server import LOOPS, SHAPE
from benchmarks.machine import describe

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).parent / "results" / "large_bodies.json"
_WARM_UP = 20
_COUNTED = (5, 15)
_ANSWER_BYTES = 2**20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 120
_SIZES = (65_536, 131_072, 196_608, 250_000, 262_144, 393_216, 524_288, 1_048_576, 3_145_728)
_PER_REQUEST = ("own_us", "kernel_us", "page_faults")


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request, as bytes."""

    title: str
    request: bytes


def cases() -> dict[str, Case]:
    """A binary tensor in, one in and one out, and the same as JSON."""
    tensor = np.random.default_rng(1).integers(0, 256, (1, *SHAPE)).astype(np.float32) / 255
    return {
        "binary in": Case("1×224×224×3 float32 as binary data, a few numbers back", _binary(tensor, "few")),
        "binary in and out": Case("1×224×224×3 float32 as binary data, as many back", _binary(tensor, "many")),
        "JSON in": Case("1×224×224×3 numbers as JSON, a few numbers back", _json(tensor)),
    }


def _binary(tensor: np.ndarray[Any, Any], output: str) -> bytes:
    given = {"name": "x", "shape": tensor.shape, "datatype": "FP32", "parameters": {"binary_data_size": tensor.nbytes}}
    wanted = {"name": output, "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [given], "outputs": [wanted]}).encode()
    header = f"Inference-Header-Content-Length: {len(head)}\r\n"
    return _post("/v2/models/null/infer", header, head + tensor.tobytes())


def _json(tensor: np.ndarray[Any, Any]) -> bytes:
    body = json.dumps({"modelName": "null", "inputs": tensor.tolist()}).encode()
    return _post("/predict", "Content-Type: application/json\r\n", body)


def _post(path: str, header: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: h\r\n{header}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Server:
    """A server of one checkout as a process, and the one client it has."""

    def __init__(self, checkout: Path, loop: str, *, tool: Sequence[str] = (), least_bytes: int | None = None) -> None:
        least = () if least_bytes is None else (str(least_bytes),)
        paths = os.pathsep.join((str(checkout / "src"), str(ROOT)))
        self._process = subprocess.Popen(
            [*tool, sys.executable, "-m", "benchmarks.large_bodies_server", loop, *least],
            env=os.environ | {"PYTHONPATH": paths},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        self._answer = memoryview(bytearray(_ANSWER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.communicate(timeout=_TIMEOUT_S)

    def ask(self, request: bytes) -> None:
        """Send a request and read its answer. Raises RuntimeError where that is not 200."""
        self._socket.sendall(request)
        size = self._socket.recv_into(self._answer)
        head, _, _ = bytes(self._answer[:size]).partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"a request was answered {head[:300]!r}")
        missing = len(head) + 4 + int(length[1]) - size
        while missing:
            missing -= self._socket.recv_into(self._answer, missing)

    def used(self) -> np.ndarray[Any, Any]:
        """Microseconds of processor time so far, of the server itself and of the kernel for it, and page faults."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        user, system, faults = (int(fields[index]) for index in (11, 12, 7))
        return np.array([user / _TICKS_PER_S * 1e6, system / _TICKS_PER_S * 1e6, faults])


def measure_turn(server: Server, request: bytes, seconds: float) -> dict[str, float]:
    """Requests a second of one client, and what ``Server.used`` counts, for each of them."""
    before = server.used()
    started, asked = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        server.ask(request)
        asked += 1
    took_s = time.perf_counter() - started
    own_us, kernel_us, faults = (server.used() - before) / asked
    return {"requests_per_s": asked / took_s, "own_us": own_us, "kernel_us": kernel_us, "page_faults": faults}


def copied_bytes(checkout: Path, loop: str, request: bytes) -> int:
    """Bytes that the server copies for one request."""
    few, many = (_copied_in_all(checkout, loop, request, _WARM_UP + count) for count in _COUNTED)
    return round((many - few) / (_COUNTED[1] - _COUNTED[0]))


def _copied_in_all(checkout: Path, loop: str, request: bytes, requests: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        tool = ["valgrind", "--tool=dhat", "--mode=copy", f"--log-file={log}", f"--dhat-out-file={folder}/profile"]
        with Server(checkout, loop, tool=tool) as server:
            for _ in range(requests):
                server.ask(request)
        total = re.search(r"Total: +([\d,]+) bytes", log.read_text(encoding="utf-8"))
    if total is None:
        raise RuntimeError("valgrind has counted nothing")
    return int(total[1].replace(",", ""))


def measure(case: Case, loop: str, checkouts: dict[str, Path], rounds: int, seconds: float) -> dict[str, Any]:
    """The best rate of several turns of each checkout, the medians of what it used, and what it copies."""
    servers = {name: Server(path, loop) for name, path in checkouts.items()}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    try:
        for server in servers.values():
            for _ in range(_WARM_UP):
                server.ask(case.request)
        for _ in range(rounds):
            for name, server in servers.items():
                turns[name].append(measure_turn(server, case.request, seconds))
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)
    return {
        name: {
            "requests_per_s": round(max(turn["requests_per_s"] for turn in taken)),
            **{key: round(statistics.median(turn[key] for turn in taken)) for key in _PER_REQUEST},
            "copied_bytes": copied_bytes(checkouts[name], loop, case.request),
        }
        for name, taken in turns.items()
    }


def commit_of(checkout: Path) -> str:
    """The commit that a checkout is at, shortened."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=checkout, check=True, capture_output=True)
    return asked.stdout.decode().strip()


def measure_reading(loop: str, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """By the size of a body, microseconds of processor time to read it in either way, the least of all turns."""
    measured: dict[str, dict[str, float]] = {}
    with Server(ROOT, loop, least_bytes=1) as directly, Server(ROOT, loop, least_bytes=2**40) as parsed:
        for size in _SIZES:
            request = _post("/read", "Inference-Header-Content-Length: 100\r\n", bytes(size))
            turns: dict[str, list[float]] = {"directly_us": [], "parsed_us": []}
            for _ in range(rounds):
                for server, taken in zip((directly, parsed), turns.values(), strict=True):
                    turn = measure_turn(server, request, seconds)
                    taken.append(turn["own_us"] + turn["kernel_us"])
            measured[str(size)] = {way: round(min(taken), 1) for way, taken in turns.items()}
    return measured


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_bodies")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout, to be measured by turns")
    parser.add_argument("--loop", choices=LOOPS, default="uvloop", help="the servers' event loop")
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes a turn")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long a turn is")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    checkouts = {"now": ROOT}
    if options.against is not None:
        checkouts["before"] = options.against.resolve()
    measured = {}
    for name, case in cases().items():
        figures = measure(case, options.loop, checkouts, options.rounds, options.seconds)
        measured[name] = {"title": case.title, "request_bytes": len(case.request), **figures}
        print(name, json.dumps(figures, indent=1))
    reading = measure_reading(options.loop, options.rounds, options.seconds / 3)
    print(json.dumps(reading, indent=1))
    if options.save:
        how = {"loop": options.loop, "rounds": options.rounds, "seconds": options.seconds}
        if options.against is not None:
            how["before"] = commit_of(options.against)
        saved = {**describe(), "how": how, "cases": measured, "reading": reading}
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
