"""Who is compared: for each way of serving a model, the command that starts it and the protocol it is asked over.

Every server is started as its own documentation has it, with its batching on where it has any, batches of up to 32
and a wait of a millisecond where a wait must be given. The servers themselves are in ``peers``.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.protocols import BARE, NATIVE, V1, V2, Protocol

_PEERS = Path(__file__).parent / "peers"
OURS = "tensorhost"
_QUIET = ("--log-level", "warning", "--grpc-port", "0")


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of serving a model.

    In ``command`` and the values of ``environment``, ``{model}`` and ``{port}`` are filled in. A server may also use
    the nine ports after its own.
    """

    name: str
    command: tuple[str, ...]
    protocol: Protocol = NATIVE
    versioned: bool = False
    """Whether ``{model}`` is the folder of versions rather than the SavedModel itself."""
    environment: dict[str, str] = field(default_factory=dict)
    peer: str = ""
    """The environment it needs, of those in ``peers.environment``; empty for tensorhost's own."""

    @property
    def is_ours(self) -> bool:
        """Whether this is tensorhost, with whatever flags."""
        return not self.peer


def tensorhost(*flags: str, name: str = OURS) -> Contender:
    """This server, from the environment that runs the benchmark, as a user would start it."""
    program = str(Path(sys.executable).parent / "tensorhost")
    command = (program, "serve", "{model}", "--port", "{port}", *_QUIET, *flags)
    return Contender(name, command, versioned=True)


def all_of_ours() -> tuple[Contender, ...]:
    """tensorhost as it comes, kept to TensorFlow, as all the others are, and as two processes on one port."""
    return (
        tensorhost(),
        tensorhost("--runtime", "tensorflow", name="tensorhost_tensorflow"),
        tensorhost("--workers", "2", name="tensorhost_workers"),
    )


def peer(name: str, python: Path) -> tuple[Contender, ...]:
    """The contenders of one peer, whose environment has ``python``."""
    return tuple(_PEER_CONTENDERS[name](python))


def _script(
    python: Path, name: str, script: str, *arguments: str, protocol: Protocol = NATIVE, peer: str = ""
) -> Contender:
    command = (str(python), str(_PEERS / script), *arguments)
    return Contender(name, command, protocol, environment={"SAVED_MODEL": "{model}"}, peer=peer or name)


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
    return [Contender("bentoml", command, BARE, environment=environment, peer="bentoml")]


def _mlserver(python: Path) -> list[Contender]:
    return [_script(python, "mlserver", "mlserver_model.py", "{model}", "{port}", protocol=V2)]


def _ray(python: Path) -> list[Contender]:
    script = str(_PEERS / "ray_server.py")
    command = (str(python), script, "{model}", "{port}", str(os.cpu_count() or 1))
    # What its documentation calls high-throughput mode; and no reports to the outside.
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
    return [Contender("ray", command, environment=environment, peer="ray")]


def _kserve(python: Path) -> list[Contender]:
    return [_script(python, "kserve", "kserve_server.py", "{model}", "{port}", protocol=V1)]


def _triton(python: Path) -> list[Contender]:
    return [_script(python, "triton", "triton_model.py", "{model}", "{port}", protocol=V2)]


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
