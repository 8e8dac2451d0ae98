"""Many items through the Python client: one request after another, several at once, and chunks of items.

Run: ``python -m benchmarks.client_streams [--items N] [--rounds N]``. About a minute, on the demo models. The ways take
turns in every round; what is printed is the median of the rounds, in items per second, and its ratio to one request
after another. Nothing is saved: it is there to choose the defaults of ``predict_many`` by.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from benchmarks.process import ServerProcess
from tensorhost.client import AsyncClient, Client
from tensorhost.demo import demo_models_path

_CHUNKS = ((1, 2), (8, 2), (32, 1), (32, 2), (32, 4), (128, 2))
_THREADS = 8


def one_by_one(client: Client, model: str, items: Sequence[object]) -> int:
    return sum(len(client.predict(model, item).outputs) > 0 for item in items)


def at_once(client: Client, model: str, items: Sequence[object]) -> int:
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(len(one.outputs) > 0 for one in pool.map(lambda item: client.predict(model, item), items))


def in_chunks(size: int, concurrency: int, client: Client, model: str, items: Sequence[object]) -> int:
    many = client.predict_many(model, items, chunk_size=size, concurrency=concurrency)
    return sum(len(one.outputs) > 0 for one in many)


def on_a_loop(size: int, concurrency: int, client: Client, model: str, items: Sequence[object]) -> int:
    async def run() -> int:
        async with AsyncClient(client.url) as own:
            many = own.predict_many(model, items, chunk_size=size, concurrency=concurrency)
            return sum([len(one.outputs) > 0 async for one in many])

    return asyncio.run(run())


def ways() -> dict[str, Callable[[Client, str, Sequence[object]], int]]:
    chunks = {f"chunks of {size}, {n} at once": partial(in_chunks, size, n) for size, n in _CHUNKS}
    loop = {f"on an event loop, chunks of {size}, {n} at once": partial(on_a_loop, size, n) for size, n in _CHUNKS[3:4]}
    return {"one by one": one_by_one, f"{_THREADS} threads": at_once} | chunks | loop


def inputs(count: int) -> dict[str, list[object]]:
    random = np.random.default_rng(0)
    return {
        "wine": [random.random((1, 13), np.float32) * 10 for _ in range(count)],
        "digits": [random.random((1, 8, 8, 1), np.float32) * 16 for _ in range(count)],
        "langid": [[f"Achtung: Sie sind Stunde der Serverzeit vorraus, {number}"] for number in range(count)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ServerProcess(demo_models_path()) as server, Client(server.url) as client:
        for model, items in inputs(options.items).items():
            rates: dict[str, list[float]] = {way: [] for way in ways()}
            for _ in range(options.rounds):
                for way, run in ways().items():
                    begun = time.perf_counter()
                    assert run(client, model, items) == len(items)
                    rates[way].append(len(items) / (time.perf_counter() - begun))
            least = statistics.median(rates["one by one"])
            print(f"\n{model}")
            for way, found in rates.items():
                rate = statistics.median(found)
                print(f"  {way:45} {rate:8,.0f} items/s {rate / least:6.1f}×")


if __name__ == "__main__":
    main()
