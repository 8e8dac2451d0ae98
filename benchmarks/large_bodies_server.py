"""The server of ``large_bodies``: real sockets and event loops, and a model that does nothing.

Run: ``python -m benchmarks.large_bodies_server LOOP [LEAST]``. It prints its port, and serves until its input ends. The
native API gives a few numbers for each row, the Open Inference Protocol those or an image, as the request asks; a body
sent to ``/read`` is only read. ``LEAST`` is the size from which bodies are large, instead of the server's own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import uvloop

from benchmarks import engine as bare
from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors, TensorSpec
from tensorhost.frontends import oip
from tensorhost.frontends.native import NativeApp
from tensorhost.inference import Alone
from tensorhost.server import connections
from tensorhost.server.http import HttpServer

SHAPE = (224, 224, 3)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
_TIMEOUT_S = 60.0


class Model(bare.NullRuntime):
    """Gives the first three numbers of its row; ``has_many``: besides an image that it has in memory."""

    def __init__(self, *, has_many: bool) -> None:
        super().__init__()
        outputs = {"few": TensorSpec("few", DType.FLOAT32, (None, 3))}
        if has_many:
            outputs["many"] = TensorSpec("many", DType.FLOAT32, (None, *SHAPE))
        signature = Signature("serving_default", {"x": TensorSpec("x", DType.FLOAT32, (None, *SHAPE))}, outputs)
        self.signatures = {signature.name: signature}
        self._kept = {"many": np.zeros((1, *SHAPE), np.float32)} if has_many else {}

    def run(self, _signature: str, inputs: Tensors) -> dict[str, Array]:
        return {"few": inputs["x"][:, 0, 0, :].copy(), **self._kept}


async def main() -> None:
    """Serve until the input ends."""
    engine = bare.make_engine(Model(has_many=False), timeout_s=_TIMEOUT_S)
    settings = engine.manager.settings.model_copy(update={"port": 0})
    native = NativeApp(engine, settings)
    several = bare.make_engine(Model(has_many=True), timeout_s=_TIMEOUT_S)
    rest = oip.RestApp(oip.OpenInference(several, settings, Alone(several.manager)))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/read":
            await receive()
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 200, "headers": headers, "body": b""})
        else:
            await (rest if rest.answers(scope["path"]) else native)(scope, receive, send)

    server = HttpServer(app, settings)
    await server.open()
    print(server.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        connections.LEAST_BYTES = int(sys.argv[2])  # type: ignore[attr-defined]  # where it is imported to
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main())
