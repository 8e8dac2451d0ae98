"""Who is compared: for each way of serving a model, the command that starts it and the protocols it is asked over.

Every server is started as its own documentation has it, with its batching on where it has any, batches of up to 32
and a wait of a millisecond where a wait must be given. The servers themselves are in ``peers``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.protocols import (
    BARE,
    BINARY,
    GRPC,
    INFER,
    JSON,
    NATIVE,
    NATIVE_PNG,
    OUR_BINARY,
    OUR_INFER,
    PNG,
    V1,
    V2,
    V2_BINARY,
    Protocol,
)

_PEERS = Path(__file__).parent / "peers"
OURS = "tensorhost"
_OUR_PROTOCOLS = {JSON: NATIVE, PNG: NATIVE_PNG, BINARY: OUR_BINARY, GRPC: OUR_INFER}


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of serving a model.

    In ``command`` and the values of ``environment``, ``{model}``, ``{port}`` and ``{grpc_port}`` are filled in. A
    server may also use the nine ports after its own, of which the first is for gRPC.
    """

    name: str
    command: tuple[str, ...]
    protocols: Mapping[str, Protocol] = field(default_factory=lambda: {JSON: NATIVE})
    """What it is asked over, by kind of body; over the first until it is ready."""
    versioned: bool = False
    """Whether ``{model}`` is the folder of versions rather than the SavedModel itself."""
    environment: dict[str, str] = field(default_factory=dict)
    peer: str = ""
    """The environment it needs, of those in ``peers.environment``; empty for tensorhost's own."""

    @property
    def is_ours(self) -> bool:
        """Whether this is tensorhost, with whatever flags."""
        return not self.peer

    @property
    def protocol(self) -> Protocol:
        """The first of its protocols."""
        return next(iter(self.protocols.values()))


def tensorhost(*flags: str, name: str = OURS, bodies: Collection[str] = (JSON, PNG)) -> Contender:
    """This server, from the environment that runs the benchmark, as a user would start it."""
    program = str(Path(sys.executable).parent / "tensorhost")
    grpc = ("--grpc-port", "{grpc_port}" if GRPC in bodies else "0")
    command = (program, "serve", "{model}", "--port", "{port}", *grpc, "--log-level", "warning", *flags)
    protocols = {kind: protocol for kind, protocol in _OUR_PROTOCOLS.items() if kind in bodies}
    return Contender(name, command, protocols, versioned=True)


def all_of_ours() -> tuple[Contender, ...]:
    """tensorhost as it comes, kept to TensorFlow, as all the others are, and as two processes on one port.

    On the loopback interface gRPC comes over the native transport; where strangers can reach the port, over grpcio.
    """
    return (
        tensorhost(bodies=_OUR_PROTOCOLS),
        tensorhost("--runtime", "tensorflow", name="tensorhost_tensorflow", bodies=_OUR_PROTOCOLS),
        tensorhost("--grpc-transport", "grpcio", name="tensorhost_grpcio", bodies=(GRPC,)),
        tensorhost("--workers", "2", name="tensorhost_workers"),
    )


def another_of_ours(name: str, flags: Collection[str]) -> Contender:
    """tensorhost with flags from a command line, in every case."""
    return tensorhost(*flags, name=name, bodies=_OUR_PROTOCOLS)


def peer(name: str, python: Path) -> tuple[Contender, ...]:
    """The contenders of one peer, whose environment has ``python``."""
    return tuple(_PEER_CONTENDERS[name](python))


def _script(
    python: Path,
    name: str,
    script: str,
    *arguments: str,
    peer: str = "",
    protocols: Mapping[str, Protocol] | None = None,
) -> Contender:
    command = (str(python), str(_PEERS / script), *arguments)
    environment = {"SAVED_MODEL": "{model}"}
    return Contender(name, command, protocols or {JSON: NATIVE}, environment=environment, peer=peer or name)


def _fastapi(python: Path) -> list[Contender]:
    script = ("fastapi_server.py", "{model}", "{port}")
    return [
        _script(python, "fastapi", *script, "def"),
        _script(python, "fastapi_async", *script, "async", peer="fastapi"),
    ]


def _litserve(python: Path) -> list[Contender]:
    script = ("litserve_server.py", "{model}", "{port}")
    return [
        _script(python, "litserve", *script, "32", "1"),
        _script(python, "litserve_unbatched", *script, "1", "1", peer="litserve"),
    ]


def _mosec(python: Path) -> list[Contender]:
    address = ("--address", "127.0.0.1", "--port", "{port}")
    # By default it gives up on a request after three seconds, which a queue of large images takes.
    return [_script(python, "mosec", "mosec_server.py", *address, "--timeout", "60000")]


def _bentoml(python: Path) -> list[Contender]:
    where = ("--working-dir", str(_PEERS), "--host", "127.0.0.1", "--port", "{port}")
    command = (str(python), "-m", "bentoml", "serve", "bentoml_server:SavedModel", *where)
    environment = {"SAVED_MODEL": "{model}", "BENTOML_DO_NOT_TRACK": "True"}
    return [Contender("bentoml", command, {JSON: BARE}, environment=environment, peer="bentoml")]


def _mlserver(python: Path) -> list[Contender]:
    # Its gRPC is on the port after the one it is given.
    protocols = {JSON: V2, GRPC: INFER}
    return [_script(python, "mlserver", "mlserver_model.py", "{model}", "{port}", protocols=protocols)]


def _ray(python: Path) -> list[Contender]:
    script = str(_PEERS / "ray_server.py")
    command = (str(python), script, "{model}", "{port}", "{grpc_port}", str(os.cpu_count() or 1))
    # What its documentation calls high-throughput mode; and no reports to the outside.
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
    return [Contender("ray", command, {JSON: NATIVE, GRPC: INFER}, environment=environment, peer="ray")]


def _kserve(python: Path) -> list[Contender]:
    protocols = {JSON: V1, BINARY: V2_BINARY, GRPC: INFER}
    return [_script(python, "kserve", "kserve_server.py", "{model}", "{port}", "{grpc_port}", protocols=protocols)]


def _triton(python: Path) -> list[Contender]:
    protocols = {JSON: V2, BINARY: V2_BINARY, GRPC: INFER}
    return [_script(python, "triton", "triton_model.py", "{model}", "{port}", "{grpc_port}", protocols=protocols)]


_PEER_CONTENDERS = {
    "fastapi": _fastapi,
    "litserve": _litserve,
    "mosec": _mosec,
    "bentoml": _bentoml,
    "mlserver": _mlserver,
    "ray": _ray,
    "kserve": _kserve,
    "triton": _triton,
}
VARIANTS = frozenset({"fastapi_async", "litserve_unbatched"})
"""Second configurations of a peer, left out where a turn is expensive."""
