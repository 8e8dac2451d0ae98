"""The server of ``hot_path``, without sockets: real connections on transports that keep what is written.

The model comes from ``load``, or is one that does nothing, so that what is left is the server's own work.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engine as bare
from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors, TensorSpec
from tensorhost.frontends.native import NativeApp
from tensorhost.inference import InferenceEngine
from tensorhost.server.connections import Connection
from tensorhost.server.http import HttpServer

_READ_BYTES = 256 * 2**10
"""What the event loop reads from a socket at once."""
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request: ``shape`` of its only row, from so many connections at once."""

    title: str
    shape: tuple[int, ...]
    connections: int
    requests: int
    counted_requests: int


CASES = {
    "tiny": Case("3 numbers", (3,), 1, 3000, 1000),
    "tiny32": Case("3 numbers", (3,), 32, 6400, 3200),
    "mlp": Case("784 numbers", (784,), 1, 1500, 500),
    "mlp32": Case("784 numbers", (784,), 32, 3200, 1600),
    "image": Case("1×224×224×3 numbers", (224, 224, 3), 1, 20, 5),
}


class NothingRuntime(bare.NullRuntime):
    """A model that returns the first three numbers of each row."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        spec = TensorSpec("x", DType.FLOAT32, (None, *shape))
        signature = Signature("serving_default", {"x": spec}, {"y": TensorSpec("y", DType.FLOAT32, (None, 3))})
        self.signatures = {signature.name: signature}

    def run(self, _signature: str, inputs: Tensors) -> dict[str, Array]:
        rows = inputs["x"]
        return {"y": rows.reshape(len(rows), -1)[:, :3].copy()}


class Transport(asyncio.Transport):
    """A client's end: counts an answer for each write and asks for the next request to be fed."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load
        self.connection: Connection
        self.answer = b""
        self._reader: asyncio.BufferedProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._reader = protocol if isinstance(protocol, asyncio.BufferedProtocol) else None

    def receive(self, data: bytes) -> None:
        """Hand over bytes, or copy them to where a large body is to lie, which the kernel would do."""
        left = memoryview(data)
        while left and self._reader is not None:
            room = memoryview(self._reader.get_buffer(len(left)))
            size = min(len(room), len(left))
            room[:size], left = left[:size], left[size:]
            self._reader.buffer_updated(size)
        if left:
            self.connection.data_received(bytes(left))

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        raise RuntimeError(f"the connection was closed after {self.answer[:300]!r}")

    abort = close

    def write(self, data: bytes) -> None:
        self.answer = data
        self._load.answered(self)


class Load:
    """A closed loop: every connection gets its next request when its answer has been written.

    ``trace`` is what wraps the application of a server that traces, and ``header`` what each request brings along.
    """

    def __init__(
        self, case: Case, runtime: Any = None, *, trace: Callable[[Any], Any] | None = None, header: str = ""
    ) -> None:
        self.runtime = runtime or NothingRuntime(case.shape)
        self.engine: InferenceEngine = bare.make_engine(self.runtime, timeout_s=_TIMEOUT_S, tracing=trace is not None)
        servable = self.engine.manager.find("null")
        assert servable is not None
        self.queue = servable.queue(next(iter(self.runtime.signatures)))
        settings = self.engine.manager.settings
        app: Any = NativeApp(self.engine, settings)
        self._server = HttpServer(trace(app) if trace else app, settings)
        request = _request(case, header)
        self._pieces = [request[start : start + _READ_BYTES] for start in range(0, len(request), _READ_BYTES)]
        self.request_bytes = len(request)
        self._transports = [Transport(self) for _ in range(case.connections)]
        for transport in self._transports:
            transport.connection = self._server._new_connection()
            transport.connection.connection_made(transport)
        self._loop = asyncio.get_running_loop()
        self._to_send = self._to_answer = 0
        self._done: asyncio.Future[None]

    async def run(self, requests: int) -> None:
        """Answer so many requests. Raises RuntimeError when one was not answered with 200."""
        self._to_send = self._to_answer = requests
        self._done = self._loop.create_future()
        for transport in self._transports:
            self._feed(transport)
        await self._done
        for transport in self._transports:
            if not transport.answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"a request was answered {transport.answer[:300]!r}")

    def answered(self, transport: Transport) -> None:
        """One answer has been written to ``transport``."""
        self._to_answer -= 1
        if self._to_answer:
            self._feed(transport)
        else:
            self._done.set_result(None)

    def _feed(self, transport: Transport) -> None:
        if self._to_send:
            self._to_send -= 1
            # Only what takes several reads is ever read to where a protocol says.
            receive = transport.connection.data_received if len(self._pieces) == 1 else transport.receive
            for piece in self._pieces:
                self._loop.call_soon(receive, piece)


def load(saved_model: Path) -> Any:
    """TensorFlow's runtime for a model on disk, in one thread."""
    from tensorhost.runtimes import LoadOptions, load, prepare

    options = LoadOptions(intra_op_threads=1, inter_op_threads=1)
    prepare(options)
    return load(saved_model, options)


def _request(case: Case, header: str) -> bytes:
    # Pixels of 8 bits brought to 0..1, as a client would send them.
    row = np.random.default_rng(1).integers(0, 256, (1, *case.shape)) / 255
    body = json.dumps({"modelName": "null", "inputs": row.astype(np.float32).tolist()}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nContent-Type: application/json\r\n{header}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
