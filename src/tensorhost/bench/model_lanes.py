"""Lanes into a model of this process, through the engine and its queue.

The model is loaded by the manager, as a server would: tried out, warmed up, proved for batching. What is measured is
what a front end asks of the engine, without sockets and JSON. What stays true: no lane keeps the event loop to itself,
whatever the engine does with its requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorhost.bench.pacing import Finished
from tensorhost.bench.plan import ModelTarget
from tensorhost.bench.tally import Tally
from tensorhost.codecs import JsonObject, decode_inputs
from tensorhost.core.errors import CanonicalCode, ErrorCode, ModelFailedError, TensorhostError
from tensorhost.core.ids import version_key
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Tensors
from tensorhost.inference import InferenceEngine
from tensorhost.models.manager import ModelManager
from tensorhost.models.repository import describe_path
from tensorhost.models.synthesis import candidates
from tensorhost.settings import Settings, load_settings

_MAX_ELEMENTS = 2**27

_REFUSED_PAUSE_S = 0.1
"""How long a lane waits after it was refused for lack of room: asking again at once would take the processor from the
requests that were let in."""

_SERVER_LIMITS = ("max_in_flight", "max_queue_rows")
_NO_LIMIT = 2**31


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that serves in this process, and the inputs of every request."""

    engine: InferenceEngine
    name: str
    version: str
    signature: Signature
    inputs: Tensors
    runtime: str = ""
    """What executes it."""

    @property
    def rows(self) -> int:
        """Rows of a request."""
        first = next(iter(self.inputs.values()))
        return len(first) if first.ndim else 1

    def facts(self) -> dict[str, Any]:
        """What was loaded and is asked, JSON-ready."""
        return {
            "model": self.name,
            "version": self.version,
            "signature": self.signature.name,
            "runtime": self.runtime,
            "rows": self.rows,
            "inputBytes": sum(array.nbytes for array in self.inputs.values()),
        }

    def batch_rows(self) -> tuple[list[int], float]:
        """Model calls so far by size, in the buckets of the metrics, and the rows in them."""
        histogram = self.engine.metrics.version(self.name, self.version).batch_rows
        return list(histogram.counts), histogram.sum

    def count_batches(self, tally: Tally, before: tuple[list[int], float]) -> None:
        """Note in ``tally`` the model calls since ``before``."""
        counts, rows = self.batch_rows()
        bounds = self.engine.metrics.version(self.name, self.version).batch_rows.bounds
        names = [f"{bound:.0f}" for bound in bounds] + ["more"]
        tally.batch_rows.update(
            {name: now - then for name, now, then in zip(names, counts, before[0], strict=True) if now > then}
        )
        tally.rows = rows - before[1]


class EngineLane:
    """One caller of the engine: a task that waits to be sent, asks, and says that it is done."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._finished: Finished | None = None
        self._wake: asyncio.Future[None] | None = None
        self._task = asyncio.create_task(self._run())

    def send(self, finished: Finished) -> None:
        """Have the task ask the engine once."""
        self._finished = finished
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def abandon(self) -> None:
        """Give the request up; the next one gets a new task."""
        self._task.cancel()
        self._finished = self._wake = None
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the task. Raises what ended it before."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        model, engine = self._model, self._model.engine
        while True:
            if self._finished is None:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
            error = None
            try:
                with await engine.admit(model.name, model.version, engine.deadline(None)) as admission:
                    call = engine.prepare(admission, model.signature.name)
                    await engine.run(admission, call, model.inputs)
            except TensorhostError as raised:
                error = raised.code.value
            if error is not None or not model.rows:
                # Refusals, and answers of no rows, come without a turn of the event loop.
                await asyncio.sleep(_REFUSED_PAUSE_S if error == ErrorCode.OVERLOADED.value else 0)
            finished, self._finished = self._finished, None
            if finished is not None:
                finished(self, error)


@asynccontextmanager
async def loaded(target: ModelTarget, body: bytes) -> AsyncIterator[LoadedModel]:
    """Load the target's model and find inputs for it; unloaded in the end.

    Args:
        target: which model, and how.
        body: the JSON object ``{"inputs": ...}``; empty for inputs made up from the signature.

    Raises:
        TensorhostError: it cannot be loaded, or takes no such inputs.
    """
    settings = engine_settings(target.settings)
    path = Path(target.path)
    found = await asyncio.to_thread(describe_path, path, now=time.time(), settle_s=0.0)
    version = target.version or max(found.versions, key=version_key, default=None)
    async with ModelManager(settings) as manager:
        await manager.load_model(found.name, path, version)
        engine = InferenceEngine(manager)
        name, served = found.name, version or "1"
        with await engine.admit(name, served, engine.deadline(None)) as admission:
            call = engine.prepare(admission, target.signature)
            specs = call.preprocessing.wire_specs
            runtime = admission.servable.loaded.runtime.name
        asked = Signature(call.signature.name, specs, call.signature.outputs)
        if body:
            inputs: Tensors = decode_inputs(JsonObject.parse(body), specs, max_elements=_MAX_ELEMENTS)
        else:
            inputs = await _made_up(engine, name, served, asked, target.rows)
        model = LoadedModel(engine, name, served, asked, inputs, runtime)
        await _ask(model)
        yield model


def engine_settings(given: dict[str, Any]) -> Settings:
    """A server's settings, without the limits that protect it from its clients where nobody has set them.

    The lanes bound what is in the engine and its queue already.
    """
    settings = load_settings(None, **given)
    lifted = {name: _NO_LIMIT for name in _SERVER_LIMITS if name not in settings.model_fields_set}
    return settings.model_copy(update=lifted)


async def _made_up(engine: InferenceEngine, name: str, version: str, signature: Signature, rows: int) -> Tensors:
    refusal = ""
    for candidate in candidates(signature):
        inputs = candidate.rows(rows)
        try:
            await _ask(LoadedModel(engine, name, version, signature, inputs))
        except TensorhostError as error:
            if error.canonical is not CanonicalCode.INVALID_ARGUMENT:
                raise
            refusal = refusal or error.message
            continue
        return inputs
    raise ModelFailedError(f"The model refuses all inputs made up from its signature; give --input ({refusal})")


async def _ask(model: LoadedModel) -> None:
    await model.engine.predict(model.name, model.inputs, version=model.version, signature=model.signature.name)
