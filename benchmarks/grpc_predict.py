"""gRPC Predict of a tiny model: tensorhost against a servicer written by hand, and what serving adds to the call.

Run: ``python -m benchmarks.grpc_predict [--save] [--cache FOLDER] [--rounds N] [--seconds N]``. About three minutes.

Under load both servers take turns within a round, the other one stopped by signal; ratios are taken inside a round.
The load generator is ``grpc_load.py`` for both, since gRPC's own Python clients cost more than what is measured. Then
one client asks for one row at a time: over gRPC by the same generator and by gRPC's own blocking client, over REST by a
bare socket; what the same call costs without a server, in this process, is beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import httpx
import numpy as np

from benchmarks import machine
from benchmarks.figures import compare, percentile, summarise
from benchmarks.grpc_generator import CONNECTIONS, GrpcGenerator
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.servers import free_port
from tensorhost.codecs.protobuf import message_class

RESULT = Path(__file__).parent / "results" / "grpc_predict.json"
OURS, PEER = "tensorhost", "grpc_aio"
METHOD = "/tensorflow.serving.PredictionService/Predict"
IN_FLIGHT = (1, 32, 128)
BUDGET_US = {"rest": 250, "grpc": 350}
_PACKAGES = ("tensorhost", "tensorflow-cpu", "grpcio", "pygrpc-native", "protobuf", "numpy", "uvloop")
_START_TIMEOUT_S = 120
_WARM_CALLS, _TIMED_CALLS = 300, 2000


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens; ``rest`` is 0 for one that has no REST."""

    grpc: int
    rest: int = 0


class Server:
    """One of the servers as a process; entering waits for its first answer and leaves it paused.

    Args:
        name: what results call it.
        command: starts it.
        ports: where it then listens.
        scratch: a folder for its files.
        request: what it is asked.
        method: the path of the method it is asked with.
        environment: variables it gets besides.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        ports: Ports,
        scratch: Path,
        request: bytes,
        method: str = METHOD,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.ports = ports
        self.method = method
        self.request_file = scratch / f"{name}.request"
        self.answer_file = scratch / f"{name}.answer"
        self.request_file.write_bytes(request)
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""} | dict(environment or {})
        self._log = (scratch / f"{name}.log").open("wb")
        self._process = subprocess.Popen(
            command, env=quiet, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def __enter__(self) -> Self:
        with grpc.insecure_channel(f"127.0.0.1:{self.ports.grpc}") as channel:
            ask = channel.unary_unary(self.method)
            give_up_at = time.monotonic() + _START_TIMEOUT_S
            while True:
                try:
                    self.answer_file.write_bytes(ask(self.request_file.read_bytes(), wait_for_ready=True, timeout=30))
                    break
                except grpc.RpcError:
                    if time.monotonic() > give_up_at or self._process.poll() is not None:
                        raise
                    time.sleep(0.2)
        self.pause()
        return self

    def __exit__(self, *exception: object) -> None:
        self._signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait(60)
        self._log.close()

    @property
    def answer(self) -> Any:
        """The response to the request, decoded."""
        return message_class("tensorflow.serving.PredictResponse").FromString(self.answer_file.read_bytes())

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run meanwhile."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def pause(self) -> None:
        """Take it off the processor."""
        self._signal(signal.SIGSTOP)

    def load(self, in_flight: int, seconds: float) -> dict[str, float]:
        """Rate and latencies under load, and who used the processor."""
        right = self.answer_file.read_bytes()
        with (
            self.turn(),
            GrpcGenerator(self.ports.grpc, self.method, self.request_file, in_flight, seconds) as generator,
        ):
            before, started = machine.CpuSeconds.now(self._process.pid), time.perf_counter()
            figures = generator.run(lambda answer: answer == right)
            busy = machine.CpuSeconds.now(self._process.pid).cores_since(before, time.perf_counter() - started)
        cpu_us = busy["server_cores"] / figures["requests_s"] * 1e6
        return busy | figures | {"cpu_us_per_request": round(cpu_us, 1)}

    def _signal(self, number: signal.Signals) -> None:
        for pid in machine.family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def ours(model: Model, scratch: Path, request: bytes) -> Server:
    """tensorhost as it comes, with TensorFlow as the servicer has it."""
    ports = Ports(free_port(), free_port())
    program = str(Path(sys.executable).parent / "tensorhost")
    flags = ["--port", str(ports.rest), "--grpc-port", str(ports.grpc), "--log-level", "error", "--runtime", "native"]
    return Server(OURS, [program, "serve", str(model.folder), *flags], ports, scratch, request)


def peer(model: Model, scratch: Path, request: bytes) -> Server:
    """A grpc.aio servicer that calls the model once per request."""
    ports = Ports(free_port())
    script = Path(__file__).parent / "peers" / "grpc_aio_server.py"
    return Server(PEER, [sys.executable, str(script), str(model.saved_model), str(ports.grpc)], ports, scratch, request)


def predict_request(model: Model) -> bytes:
    """One row, its numbers in ``float_val`` as most clients send them."""
    request: Any = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = model.name
    tensor = request.inputs[model.input_name]
    tensor.dtype = 1
    rows = np.asarray(model.rows, np.float32)
    for size in rows.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend(rows.ravel().tolist())
    encoded: bytes = request.SerializeToString()
    return encoded


def check(server: Server, model: Model) -> None:
    """Raise RuntimeError unless the server's answer is TensorFlow's."""
    (tensor,) = server.answer.outputs.values()
    values = tensor.float_val or np.frombuffer(tensor.tensor_content, np.float32)
    if not np.array_equal(np.asarray(values, np.float32), model.expected.ravel()):
        raise RuntimeError(f"{server.name} answers wrongly: {server.answer}")


def median_us(call: Callable[[], object]) -> float:
    """The median of many calls, one after another, in microseconds."""
    for _ in range(_WARM_CALLS):
        call()
    took = []
    for _ in range(_TIMED_CALLS):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return round(percentile(sorted(took), 50) * 1e6, 1)


def grpc_us(server: Server) -> float:
    """gRPC's own blocking client, messages encoded already."""
    with grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel, server.turn():
        ask, request = channel.unary_unary(METHOD), server.request_file.read_bytes()
        return median_us(lambda: ask(request))


def rest_us(server: Server, model: Model) -> float:
    """TensorFlow Serving's REST over a bare socket that stays open."""
    body = json.dumps({"instances": model.rows}).encode()
    path = f"/v1/models/{model.name}:predict"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with server.turn():
        answer = httpx.post(f"http://127.0.0.1:{server.ports.rest}{path}", content=body).raise_for_status()
        if not np.allclose(answer.json()["predictions"], model.expected):
            raise RuntimeError(f"{server.name} answers wrongly over REST: {answer.text}")
        with socket.create_connection(("127.0.0.1", server.ports.rest)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            message = head.encode() + body

            def ask() -> None:
                connection.sendall(message)
                received = b""
                while not received.endswith(answer.content):
                    received += connection.recv(65_536)

            return median_us(ask)


def in_process(model: Model) -> dict[str, Callable[[], object]]:
    """The call without a server, NumPy in and out: TensorFlow's own way, and tensorhost's."""
    from tensorhost.runtimes import LoadOptions, load, prepare

    options = LoadOptions()
    prepare(options)
    import tensorflow as tf

    rows = np.asarray(model.rows, np.float32)
    loaded = tf.saved_model.load(str(model.saved_model))
    function = loaded.signatures["serving_default"]
    runtime = load(model.saved_model, options)
    signature, inputs = next(iter(runtime.signatures)), {model.input_name: rows}

    def call_function(_kept: object = loaded) -> object:
        return [output.numpy() for output in function(**{model.input_name: tf.constant(rows)}).values()]

    return {"tf_function_us": call_function, "runtime_us": lambda: runtime.run(signature, inputs)}


def measure_load(servers: Sequence[Server], in_flight: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All rounds of one case; ratios are of the first server to the second."""
    turns: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            turns[server.name].append(server.load(in_flight, seconds))
    result = {
        "in_flight": in_flight,
        "servers": {name: summarise(taken) for name, taken in turns.items()},
        "ratios": compare(turns[servers[0].name], turns[servers[1].name]),
    }
    for name, figures in result["servers"].items():
        print(
            f"{in_flight:>4} in flight  {name:<11}{figures['requests_s']:>9,.0f}/s  p50 {figures['p50_ms']:7.2f} ms",
            end="",
        )
        print(f"  p99 {figures['p99_ms']:7.2f} ms  others' cores {figures['other_cores']:.2f}")
    print(f"{'':>16}{result['ratios']['requests_s']['median']:.1f}x the rate", flush=True)
    return result


def measure_alone(servers: Sequence[Server], model: Model, rounds: int) -> dict[str, Any]:
    """Medians of the rounds, in microseconds, of one row at a time, and what serving adds to the call."""
    mine, other = servers
    taken: dict[str, list[float]] = {}
    calls = in_process(model)
    for _ in range(rounds):
        measured = {name: median_us(call) for name, call in calls.items()}
        measured |= {"rest_us": rest_us(mine, model), "grpc_us": grpc_us(mine), "grpc_aio_us": grpc_us(other)}
        measured |= {
            "grpc_bare_us": mine.load(1, 2)["p50_ms"] * 1e3,
            "grpc_aio_bare_us": other.load(1, 2)["p50_ms"] * 1e3,
        }
        for name, value in measured.items():
            taken.setdefault(name, []).append(round(value, 1))
    medians = {name: round(statistics.median(values), 1) for name, values in taken.items()}
    served = {name: value for name, value in medians.items() if name not in calls}
    overhead = {name: round(value - medians["runtime_us"], 1) for name, value in served.items()}
    print(f"one client: {medians}\nover the call alone: {overhead}", flush=True)
    return {"medians": medians, "overhead": overhead, "budget_us": BUDGET_US, "rounds": taken}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grpc_predict")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models are kept")
    parser.add_argument("--rounds", type=int, default=5, help="how often both take a turn")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a turn under load is")
    options = parser.parse_args()
    model = ensure(("tiny",), options.cache / "models")["tiny"]
    request = predict_request(model)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(start(model, Path(folder), request)) for start in (ours, peer)]
        for server in servers:
            check(server, model)
        alone = measure_alone(servers, model, options.rounds)
        load = [measure_load(servers, in_flight, options.rounds, options.seconds) for in_flight in IN_FLIGHT]
    if options.save:
        how = {"rounds": options.rounds, "seconds": options.seconds, "connections": CONNECTIONS}
        saved = machine.describe(_PACKAGES) | {"how": how, "alone": alone, "load": load}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
