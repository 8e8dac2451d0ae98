"""A repository of models that no framework executes: files that look whole, and a loader that does as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ShuttingDownError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models import ModelManager
from tensorhost.models.probe import FirstRuns, ProbeReport
from tensorhost.models.probe_messages import Examined
from tensorhost.runtimes import Contents, LoadOptions

EMPTY_SAVED_MODEL = b"\x08\x01"
"""A whole protocol buffer: schema version 1 and no graph."""


def signature(shape=(None,), dtype=DType.FLOAT32, outputs=None, name=DEFAULT_SIGNATURE):
    return Signature(name, {"x": TensorSpec("x", dtype, shape)}, outputs or {"y": TensorSpec("y", dtype, shape)})


class FakeRuntime:
    """Runs a function of numpy arrays. ``calls`` has the rows of each call."""

    name = "fake"
    refused_signatures: Mapping[str, str] = {}

    def __init__(self, run, *signatures, weights_bytes=100):
        self._run = run
        self.signatures = {each.name: each for each in signatures or (signature(),)}
        self.weights_bytes = weights_bytes
        self.calls: list[int] = []
        self.closed = False
        self.tuned: list[int] = []

    def tune(self, signature, samples):
        self.tuned += [len(inputs["x"]) if inputs["x"].ndim else 1 for inputs in samples]

    def call_path(self, signature):
        return "fake"

    def example_features(self, signature):
        return ()

    def run(self, signature, inputs):
        assert not self.closed, "a closed model was called"
        array = inputs["x"]
        self.calls.append(len(array) if array.ndim else 1)
        return {"y": self._run(array)}

    def close(self):
        assert not self.closed, "closed twice"
        self.closed = True


@dataclass
class World:
    """A repository and what its loader does, by version (``model/version``)."""

    root: Path
    loads: list[str] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    runs: dict[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    runtimes: dict[str, list[FakeRuntime]] = field(default_factory=dict)
    weights_bytes: int = 100
    signatures: tuple[Signature, ...] = ()
    options: list[LoadOptions] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    probes: list[tuple[str, LoadOptions, FirstRuns]] = field(default_factory=list)
    reports: dict[str, ProbeReport | Exception] = field(default_factory=dict)
    probe_gates: dict[str, threading.Event] = field(default_factory=dict)

    def write(self, key: str, constant: float = 0.0, padding_bytes: int = 0) -> Path:
        """A version that answers its input plus ``constant``, complete at once as after a rename."""
        folder = self.root / key
        making = self.root / ".making"
        making.mkdir(parents=True)
        (making / "constant").write_text(str(constant))
        (making / "padding").write_bytes(b"0" * padding_bytes)
        (making / "saved_model.pb").write_bytes(EMPTY_SAVED_MODEL)
        folder.parent.mkdir(exist_ok=True)
        return making.rename(folder)

    def configure(self, model: str, text: str) -> None:
        (self.root / model).mkdir(exist_ok=True)
        new = self.root / ".model.toml"
        new.write_text(text)
        new.rename(self.root / model / "model.toml")

    def load(self, path: Path, options: LoadOptions) -> FakeRuntime:
        key = f"{path.parent.name}/{path.name}"
        self.loads.append(key)
        self.options.append(options)
        if key in self.gates:
            assert self.gates[key].wait(20)
        if key in self.failures:
            raise self.failures[key]
        constant = float((path / "constant").read_text())
        run = self.runs.get(key, lambda x: x + np.float32(constant))
        runtime = FakeRuntime(run, *self.signatures, weights_bytes=self.weights_bytes)
        self.runtimes.setdefault(key, []).append(runtime)
        return runtime


class FakeProber:
    """Passes every model, or reports what the world says of it."""

    idle_s = 30.0

    def __init__(self, world: World) -> None:
        self._world = world
        self.closed = threading.Event()

    def probe(
        self, path: Path, options: LoadOptions, runs: FirstRuns, on_examined: Callable[[Examined], None]
    ) -> ProbeReport:
        key = f"{path.parent.name}/{path.name}"
        self._world.probes.append((key, options, runs))
        if key in self._world.probe_gates:
            assert self.closed.wait(20)
            raise ShuttingDownError("The server is shutting down.")
        report = self._world.reports.get(key, probe_report())
        if isinstance(report, Exception):
            raise report
        on_examined(Examined.of(report.contents.findings))
        return report

    def end_idle(self) -> None:
        raise AssertionError("half a minute has not passed")

    def close(self) -> None:
        self.closed.set()


def probe_report(**changes) -> ProbeReport:
    """What trying a model that passes shows."""
    facts = {
        "contents": Contents(),
        "runtime": "fake",
        "weights_bytes": 100,
        "signatures": {},
        "call_paths": {},
        "refused_signatures": {},
        "memory_bytes": 100,
        "peak_bytes": 200,
        "load_s": 0.5,
        "run_s": 0.5,
        "probe_s": 2.0,
    }
    return ProbeReport(**(facts | changes))


async def until(manager: ModelManager, condition: Callable[[], bool]) -> None:
    """Wait for something the manager does, at most 20 seconds."""
    async with asyncio.timeout(20):
        await manager._changes.until(condition)


def available(manager: ModelManager, name: str) -> list[str]:
    """The versions of a model that serve, the newest first."""
    model = manager.models().get(name)
    return [record.id.version for record in model.newest_first() if record.available] if model else []
