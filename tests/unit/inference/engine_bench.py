"""A real manager with a model in it that never came from a disk: what the engine's tests stand on."""

import asyncio
from pathlib import Path

import numpy as np

from tensorhost.batching import QueueOptions
from tensorhost.core.dtypes import DType
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.inference import InferenceEngine
from tensorhost.models.config import ModelConfig
from tensorhost.models.loading import LoadedVersion
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.servable import Servable
from tensorhost.models.states import VersionState
from tensorhost.pipelines import (
    PostprocessingOptions,
    PostprocessingPipeline,
    PreprocessingOptions,
    PreprocessingPipeline,
)
from tensorhost.runtimes import ModelFormat
from tensorhost.settings import Settings


def spec(name, dtype=DType.FLOAT32, shape=(None, 2)):
    return TensorSpec(name, dtype, shape)


ONE = Signature("serving_default", {"x": spec("x")}, {"y": spec("y")})
TWO = Signature("pair", {"a": spec("a"), "b": spec("b")}, {"y": spec("y")})


class DoublingRuntime:
    """Doubles its first input; fails as told when the first number is negative."""

    name = "doubling"
    weights_bytes = 0

    def __init__(self, failure):
        self.signatures = {signature.name: signature for signature in (ONE, TWO)}
        self.refused_signatures = {}
        self.failure = failure
        self.calls = 0
        self.loose_calls = []

    def call_path(self, _signature):
        return "test"

    def run(self, _signature, inputs):
        self.calls += 1
        first = next(iter(inputs.values()))
        if first.size and first.min() < 0:
            raise self.failure
        return {"y": first * 2}

    def run_loosely(self, signature, inputs):
        self.loose_calls.append([array.shape for array in inputs.values()])
        return self.run(signature, inputs)

    def close(self):
        pass


class EngineBench:
    """An engine over the model ``m`` version ``1``. ``held`` batches wait on the virtual clock for two seconds."""

    def __init__(
        self,
        *,
        failure=None,
        custom=None,
        batch_timeout_s=0.0,
        max_queue_rows=64,
        input_defaults=None,
        postprocessing=None,
        labels=(),
        **settings,
    ):
        clock = asyncio.get_running_loop().time
        self.runtime = DoublingRuntime(failure)
        self.manager = ModelManager(Settings(**settings), clock=clock)
        names = self.runtime.signatures.items()
        loaded = LoadedVersion(
            self.runtime,
            ModelConfig(),
            {},
            {name: PreprocessingPipeline(PreprocessingOptions(), sig, custom=custom) for name, sig in names},
            {
                name: PostprocessingPipeline(postprocessing or PostprocessingOptions(), sig, labels=labels)
                for name, sig in names
            },
            0.0,
            0.0,
            0,
            input_defaults=input_defaults or {},
        )
        options = QueueOptions(
            batched=True,
            max_batch_rows=8,
            batch_timeout_s=batch_timeout_s,
            max_queue_rows=max_queue_rows,
            inline_rows=8,
        )
        model_id = ModelId("m", "1")
        self.metrics = self.manager.metrics.version(*model_id)
        self.servable = Servable(
            model_id,
            loaded,
            self.metrics,
            dict.fromkeys(dict(names), options),
            clock,
            traced=self.manager.settings.tracing,
        )
        folder = Path("m")
        record = VersionRecord(model_id, VersionOnDisk("1", folder, ModelFormat.SAVED_MODEL, 0, 0.0))
        record.state, record.servable = VersionState.AVAILABLE, self.servable
        absent = VersionRecord(ModelId("m", "0"), VersionOnDisk("0", folder, ModelFormat.SAVED_MODEL, 0, 0.0))
        self.manager._catalog.models["m"] = ModelRecord("m", folder, versions={"1": record, "0": absent})
        self.manager._catalog.refresh(self.manager._catalog.models["m"])
        self.engine = InferenceEngine(self.manager, clock=clock)

    def ask(self, inputs=((1.0, 2.0),), model="m", **options):
        return asyncio.ensure_future(self.engine.predict(model, inputs, **options))

    async def ask_tensors(self, inputs, signature=None, timeout_s=None, **prepared):
        """As front ends of tensor protocols ask: what they have, by name, and no conversion."""
        with await self.engine.admit("m", None, self.engine.deadline(timeout_s)) as admission:
            call = self.engine.prepare(admission, signature, **prepared)
            return await self.engine.run(admission, call, inputs)

    def check_idle(self):
        """Nothing is left of any request."""
        assert self.engine.in_flight == 0
        assert self.metrics.in_flight == 0
        assert self.servable.leases == 0
        assert self.servable.queue_rows() == 0

    def counted(self):
        """Requests of the version, and its errors by code."""
        return self.metrics.requests, {code.value: count for code, count in self.metrics.errors.items() if count}


def rows(*values):
    return np.array([[value, value] for value in values], np.float32)
