"""One large input by every way of the Open Inference Protocol: in shared memory, as binary data over HTTP, over gRPC.

Run: ``python -m benchmarks.oip_shared_memory [--save] [--rounds N] [--requests N]``. About two minutes.

The client is tritonclient, on the same machine, one request at a time; the model returns the first number it is given,
so that the figures are those of the way in. Shared memory is written anew for each request, or (``in place``) holds the
input already, as with a producer that writes there itself. The ways take turns within a round; what they take is
compared inside a round. Beside them, without a server, what the copy alone takes: into memory just taken, as the server
does it, and into memory used before; and from a mapping, which the server must not have.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import shared_memory

from benchmarks import machine
from benchmarks.process import ServerProcess
from benchmarks.servers import free_port

RESULT = Path(__file__).parent / "results" / "oip_shared_memory.json"
SHAPES = {"602 kB": (1, 224 * 224 * 3), "16 MB": (1, 4 * 2**20)}
COPIED_BYTES = {"602 kB": 602_112, "16 MB": 2**24, "256 MB": 2**28}
BASE = "http binary"
"""What the others are compared with."""

_PACKAGES = ("tensorhost", "tensorflow-cpu", "tritonclient", "grpcio", "pygrpc-native", "numpy", "uvloop")

Ask = Callable[[], float]
"""Asks once; the number that is answered."""

SHM = Path("/dev/shm")


def write_model(folder: Path) -> None:
    """``first``: x FP32 [-1,-1] → y, the first number of each row. Not batched."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def first(x: Any) -> dict[str, Any]:
        return {"y": x[:, :1]}

    tf.saved_model.save(tf.Module(), str(folder / "first" / "1"), signatures={"serving_default": first})
    (folder / "first" / "model.toml").write_text("[batching]\nenabled = false\n", encoding="utf-8")


@contextmanager
def region(client: Any, size: int) -> Iterator[tuple[str, Any]]:
    """A registered region: its name, and what tritonclient knows it by."""
    name = f"tensorhost_{uuid.uuid4().hex}"
    made = shared_memory.create_shared_memory_region(name, name, size)
    try:
        client.register_system_shared_memory(name, name, size)
        yield name, made
        client.unregister_system_shared_memory(name)
    finally:
        shared_memory.destroy_shared_memory_region(made)


def sent(kind: Any, client: Any, values: np.ndarray) -> Ask:
    """The input in the request: binary data over HTTP, raw contents over gRPC."""

    def ask() -> float:
        given = kind.InferInput("x", values.shape, "FP32")
        given.set_data_from_numpy(values)
        return float(client.infer("first", [given]).as_numpy("y")[0, 0])

    return ask


def shared(kind: Any, client: Any, values: np.ndarray, name: str, made: Any, *, in_place: bool) -> Ask:
    """The input in shared memory."""
    shared_memory.set_shared_memory_region(made, [values])

    def ask() -> float:
        if not in_place:
            shared_memory.set_shared_memory_region(made, [values])
        given = kind.InferInput("x", values.shape, "FP32")
        given.set_shared_memory(name, values.nbytes)
        return float(client.infer("first", [given]).as_numpy("y")[0, 0])

    return ask


def timed_ms(ask: Ask, requests: int) -> float:
    """The median of some requests."""
    taken: list[float] = []
    for _ in range(requests):
        begun = time.perf_counter()
        if ask() != 1.0:
            raise RuntimeError("a wrong answer")
        taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)


def measure(http: Any, grpc: Any, shape: tuple[int, int], rounds: int, requests: int) -> dict[str, Any]:
    """Milliseconds of one request each way, the median of the rounds', and how much of ``BASE`` that is."""
    values = np.ones(shape, np.float32)
    with region(http, values.nbytes) as (name, made):
        ways: dict[str, Ask] = {
            BASE: sent(tritonclient.http, http, values),
            "grpc": sent(tritonclient.grpc, grpc, values),
        }
        for label, kind, client in (("http", tritonclient.http, http), ("grpc", tritonclient.grpc, grpc)):
            ways[f"{label} shared"] = shared(kind, client, values, name, made, in_place=False)
            ways[f"{label} shared in place"] = shared(kind, client, values, name, made, in_place=True)
        for ask in ways.values():
            timed_ms(ask, 5)
        taken = [{way: timed_ms(ask, requests) for way, ask in ways.items()} for _ in range(rounds)]
    return {
        way: {
            "ms": round(median(each[way] for each in taken), 3),
            "of_base": round(median(each[way] / each[BASE] for each in taken), 3),
        }
        for way in ways
    }


def read(file: int, into: np.ndarray) -> None:
    """Fill ``into`` from the beginning of ``file``."""
    left, at = into.data, 0
    while left:
        count = os.preadv(file, [left], at)
        left, at = left[count:], at + count


def measure_copies(size: int, rounds: int) -> dict[str, float]:
    """Milliseconds of the processor for a copy out of shared memory each way, which take turns: the medians."""
    path = SHM / f"tensorhost_{uuid.uuid4().hex}"
    path.write_bytes(b"\1" * size)
    used = np.zeros(size, np.uint8)
    with path.open("r+b", buffering=0) as opened, mmap.mmap(opened.fileno(), size) as mapped:
        path.unlink()
        file = opened.fileno()
        ways: dict[str, Callable[[], None]] = {
            "read into fresh memory": lambda: read(file, np.empty(size, np.uint8)),
            "read into used memory": lambda: read(file, used),
            "copied from a mapping": lambda: np.copyto(used, np.frombuffer(mapped, np.uint8)),
        }
        taken = [{way: _once_ms(copy) for way, copy in ways.items()} for _ in range(rounds)]
    return {way: round(median(each[way] for each in taken), 3) for way in taken[0]}


def _once_ms(work: Callable[[], None]) -> float:
    begun = time.thread_time()
    work()
    return (time.thread_time() - begun) * 1000


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oip_shared_memory")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--rounds", type=int, default=7, help="how often all take a turn")
    parser.add_argument("--requests", type=int, default=40, help="requests of a turn")
    options = parser.parse_args()
    how, busy = {"rounds": options.rounds, "requests": options.requests, "base": BASE}, os.getloadavg()[0]
    grpc_port = free_port()
    flags = ("--grpc-port", grpc_port, "--no-probe", "--runtime", "native", "--oip-shared-memory")
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        with ServerProcess(Path(folder), *flags) as server:
            http = tritonclient.http.InferenceServerClient(server.url.removeprefix("http://"))
            grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}")
            with http, grpc:
                found = {
                    size: measure(http, grpc, shape, options.rounds, options.requests) for size, shape in SHAPES.items()
                }
    copies = {size: measure_copies(count, options.rounds * 5) for size, count in COPIED_BYTES.items()}
    for size, taken in copies.items():
        for way, ms in taken.items():
            print(f"{size:8} {way:22} {ms:8.3f} ms")
    for size, ways in found.items():
        for way, figures in ways.items():
            print(f"{size:8} {way:22} {figures['ms']:8.3f} ms  {figures['of_base']:6.3f} of {BASE}")
    if options.save:
        saved = machine.describe(_PACKAGES) | {"how": how, "sizes": found, "copies": copies}
        # Others that use the machine slow all ways down, those with more to copy through sockets most.
        saved["machine"]["load"] = round(busy, 1)
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
