"""gRPC ModelInfer of a tiny model: tensorhost against MLServer, which speaks the same protocol.

Run: ``python -m benchmarks.oip_grpc [--save] [--cache FOLDER] [--rounds N] [--seconds N]``. About two minutes.

Both serve the same SavedModel, batch adaptively up to 32 rows, and get one row as ``raw_input_contents``, as
tritonclient sends it. They take turns within a round, the other one stopped by signal; ratios are taken inside a round.
The load generator is ``grpc_load.py`` for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.grpc_generator import CONNECTIONS
from benchmarks.grpc_predict import Ports, Server, measure_load
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.peers import environment
from benchmarks.protocols import INFER, OUR_INFER
from benchmarks.servers import free_port

RESULT = Path(__file__).parent / "results" / "oip_grpc.json"
OURS, PEER = "tensorhost", "mlserver"
IN_FLIGHT = (1, 32, 128)
_PACKAGES = ("tensorhost", "tensorflow-cpu", "grpcio", "pygrpc-native", "protobuf", "numpy", "uvloop")


def ours(model: Model, scratch: Path) -> Server:
    """tensorhost as it comes, with TensorFlow as MLServer has it."""
    ports = Ports(free_port(), free_port())
    program = str(Path(sys.executable).parent / "tensorhost")
    flags = ["--port", str(ports.rest), "--grpc-port", str(ports.grpc), "--log-level", "error", "--runtime", "native"]
    command = [program, "serve", str(model.folder), *flags]
    return Server(OURS, command, ports, scratch, OUR_INFER.write(model), OUR_INFER.path)


def peer(model: Model, scratch: Path, python: Path) -> Server:
    """MLServer; gRPC is on the port after the one it is given."""
    port = free_port()
    script = Path(__file__).parent / "peers" / "mlserver_model.py"
    command = [str(python), str(script), str(model.saved_model), str(port)]
    # Its settings files are written there.
    scratched = {"TMPDIR": str(scratch)}
    return Server(PEER, command, Ports(port + 1), scratch, INFER.write(model), INFER.path, scratched)


def check(server: Server, model: Model) -> None:
    """Raise RuntimeError unless the server's answer is TensorFlow's."""
    answer = server.answer_file.read_bytes()
    if not INFER.answers(model, answer):
        raise RuntimeError(f"{server.name} answers wrongly: {answer!r}")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oip_grpc")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models and environments are kept")
    parser.add_argument("--rounds", type=int, default=5, help="how often both take a turn")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a turn is")
    options = parser.parse_args()
    model = ensure(("tiny",), options.cache / "models")["tiny"]
    python = environment.ensure(PEER, options.cache / "peers")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(server) for server in (ours(model, Path(folder)), peer(model, Path(folder), python))
        ]
        for server in servers:
            check(server, model)
        load = [measure_load(servers, in_flight, options.rounds, options.seconds) for in_flight in IN_FLIGHT]
    if options.save:
        how = {"rounds": options.rounds, "seconds": options.seconds, "connections": CONNECTIONS}
        versions = {PEER: environment.versions(PEER, python)}
        saved = machine.describe(_PACKAGES) | {"peers": versions, "how": how, "load": load}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
