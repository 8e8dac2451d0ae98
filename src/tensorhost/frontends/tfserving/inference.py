"""Predict, Classify, Regress and MultiInference: from named arrays or serialized Examples to arrays, for every wire.

The one place that knows what these methods ask of a signature and of what a model answers. Front ends decode and
encode; the engine does the work, with shapes as TensorFlow Serving treats them: whatever the model itself takes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tensorhost.core.errors import SignatureNotFoundError
from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.core.tensors import Array, TensorSpec
from tensorhost.frontends.tfserving import example_results, faults, method_names
from tensorhost.frontends.tfserving.admitting import admit, admit_at_once
from tensorhost.frontends.tfserving.inputs import check_inputs
from tensorhost.frontends.tfserving.method_names import PREDICT, check_method_name
from tensorhost.frontends.tfserving.model_spec import AnsweredBy, ModelSpec
from tensorhost.frontends.tfserving.serving_metrics import ServingMetrics
from tensorhost.frontends.versions import number_of
from tensorhost.inference import Admission, Call, InferenceEngine


@dataclass(slots=True)
class Prediction:
    """Arrays by the names of the signature's outputs, and what answered."""

    outputs: Mapping[str, Array]
    answered_by: AnsweredBy


@dataclass(slots=True)
class Classification:
    """Classes of each Example.

    Attributes:
        labels: bytes, shape [examples, classes]; None where the model gives none.
        scores: float32 of the same shape; None where the model gives none.
        answered_by: what answered.
    """

    labels: Array | None
    scores: Array | None
    answered_by: AnsweredBy


@dataclass(slots=True)
class Regression:
    """A value for each Example: float32, shape [examples]; and what answered."""

    values: Array
    answered_by: AnsweredBy


class Method(StrEnum):
    """What a task of MultiInference asks for, by its ``method_name``."""

    CLASSIFY = method_names.CLASSIFY
    REGRESS = method_names.REGRESS


@dataclass(frozen=True, slots=True)
class Task:
    """One of the questions of a MultiInference; ``method`` as the client wrote it."""

    spec: ModelSpec
    method: str


class Inference:
    """The methods of TensorFlow Serving's PredictionService that ask a model.

    Args:
        engine: answers.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine
        self._metrics = ServingMetrics(engine.manager)
        self._checks_method_names = engine.manager.settings.tfserving_method_names

    def deadline(self, given: float) -> float:
        """The instant by which a request is to be answered: its own, else (for ``inf``) the server's default."""
        return given if given != math.inf else self._engine.deadline(None)

    async def admit(self, spec: ModelSpec, deadline: float) -> Admission:
        """A permit and a lease, or a refusal in TensorFlow Serving's words; see ``admitting.admit``."""
        return await admit(self._engine, spec, deadline)

    def admit_at_once(self, spec: ModelSpec, deadline: float) -> Admission | None:
        """``admit`` without a coroutine, for a model that serves; None where ``admit`` has to be awaited."""
        return admit_at_once(self._engine, spec, deadline)

    def prediction_call(self, admission: Admission, signature: str, output_filter: Collection[str] = ()) -> Call:
        """Resolve what Predict is asked of a model, before its inputs are decoded.

        ``call.preprocessing.wire_specs`` then says which inputs there are.

        Args:
            admission: from ``admit``.
            signature: its name; empty for the default one.
            output_filter: the outputs wanted; empty for all.

        Raises:
            ServingError: there is no such signature (FAILED_PRECONDITION) or output, or an output is named twice.
        """
        try:
            call = self._prepare(admission, signature, output_filter)
        except SignatureNotFoundError:
            raise faults.unknown_signature(signature or DEFAULT_SIGNATURE) from None
        if self._checks_method_names:
            check_method_name(call.signature, PREDICT)
        if output_filter:
            _check_filter(output_filter, call.signature.outputs)
        return call

    async def run(self, admission: Admission, call: Call, inputs: Mapping[str, Array]) -> Prediction:
        """Run what ``prediction_call`` has resolved.

        Args:
            admission, call: from ``admit`` and ``prediction_call``.
            inputs: by name, given up: they may be overwritten. Inputs that have default values may be missing.

        Raises:
            ServingError: inputs that are missing, too many, or of the wrong dtype.
            TensorhostError: the model refused them or failed, the queue was full, or the deadline passed.
        """
        check_inputs(admission.servable, call, inputs)
        # As in ``_run_examples``, without a coroutine between: this is the hot path.
        result = await self._engine.run(admission, call, inputs, owned=True)
        self._metrics.record_runtime(result.model_name, "Predict", result.timings.inference_s)
        return Prediction(result.outputs, _answered_by(admission, call))

    async def classify(self, spec: ModelSpec, examples: Sequence[bytes], deadline: float) -> Classification:
        """Classify serialized Examples.

        Raises:
            ServingError: no Examples, no such model or signature, or one that does not classify.
            TensorhostError: see ``run``.
        """
        with await self.admit(spec, deadline) as admission:
            call = self._example_call(admission, spec.signature)
            self._check_classifies(call)
            self._check_examples(spec.name, examples)
            return await self._classify(admission, call, examples)

    async def regress(self, spec: ModelSpec, examples: Sequence[bytes], deadline: float) -> Regression:
        """A value for each of serialized Examples; raises as ``classify``."""
        with await self.admit(spec, deadline) as admission:
            call = self._example_call(admission, spec.signature)
            self._check_regresses(call)
            self._check_examples(spec.name, examples)
            return await self._regress(admission, call, examples)

    async def multi_inference(
        self, tasks: Sequence[Task], examples: Sequence[bytes], deadline: float
    ) -> list[Classification | Regression]:
        """Ask several signatures of one version of one model about the same Examples.

        The version is that of the first task, so all answers are of one.

        Returns:
            An answer for each task, in their order.

        Raises:
            ServingError: tasks of several models, a signature asked twice, a method that is none of ``Method``, or
                what ``classify`` raises.
            TensorhostError: see ``run``.
        """
        _check_tasks(tasks)
        with await self.admit(tasks[0].spec, deadline) as admission:
            calls = [self._task_call(admission, task) for task in tasks]
            self._check_examples(tasks[0].spec.name, examples)
            asked = [
                self._answer(admission, call, task.method, examples) for task, call in zip(tasks, calls, strict=True)
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            # All have ended: the lease must not be given back under a call that still runs.
            return [_unwrapped(answer) for answer in answers]

    # -- steps -----------------------------------------------------------------------------------------------------

    def _check_examples(self, model: str, examples: Sequence[bytes]) -> None:
        if not examples:
            raise faults.no_examples()
        self._metrics.record_examples(model, len(examples))

    def _prepare(self, admission: Admission, signature: str, outputs: Collection[str] = ()) -> Call:
        name = signature or DEFAULT_SIGNATURE
        loaded = admission.servable.loaded
        if not signature and name not in loaded.runtime.signatures and not loaded.signature_defs:
            # Formats without named signatures call their only one what they like.
            name = next(iter(loaded.runtime.signatures), name)
        return self._engine.prepare(admission, name, loose_shapes=True, raw_outputs=True, outputs=outputs or None)

    def _example_call(self, admission: Admission, signature: str) -> Call:
        try:
            return self._prepare(admission, signature)
        except SignatureNotFoundError:
            raise faults.unknown_example_signature(signature or DEFAULT_SIGNATURE) from None

    def _task_call(self, admission: Admission, task: Task) -> Call:
        try:
            call = self._prepare(admission, task.spec.signature)
        except SignatureNotFoundError:
            raise faults.unknown_task_signature(task.spec.signature_or_default) from None
        if task.method == Method.CLASSIFY:
            self._check_classifies(call)
        elif task.method == Method.REGRESS:
            self._check_regresses(call)
        else:
            raise faults.unsupported_method(task.method)
        return call

    async def _answer(
        self, admission: Admission, call: Call, method: str, examples: Sequence[bytes]
    ) -> Classification | Regression:
        if method == Method.CLASSIFY:
            return await self._classify(admission, call, examples)
        return await self._regress(admission, call, examples)

    def _check_classifies(self, call: Call) -> None:
        if self._checks_method_names:
            check_method_name(call.signature, Method.CLASSIFY)
        example_results.check_classifies(call.signature)

    def _check_regresses(self, call: Call) -> None:
        if self._checks_method_names:
            check_method_name(call.signature, Method.REGRESS)
        example_results.check_regresses(call.signature)

    async def _classify(self, admission: Admission, call: Call, examples: Sequence[bytes]) -> Classification:
        outputs = await self._run_examples(admission, call, examples, "Classify")
        labels, scores = example_results.classes(outputs, len(examples))
        return Classification(labels, scores, _answered_by(admission, call))

    async def _regress(self, admission: Admission, call: Call, examples: Sequence[bytes]) -> Regression:
        outputs = await self._run_examples(admission, call, examples, "Regress")
        return Regression(example_results.values(outputs, len(examples)), _answered_by(admission, call))

    async def _run_examples(
        self, admission: Admission, call: Call, examples: Sequence[bytes], api: str
    ) -> Mapping[str, Array]:
        serialized = np.empty(len(examples), object)
        serialized[:] = examples
        inputs = {example_results.INPUTS: serialized}
        check_inputs(admission.servable, call, inputs)
        result = await self._engine.run(admission, call, inputs, owned=True)
        self._metrics.record_runtime(result.model_name, api, result.timings.inference_s)
        return result.outputs


def _answered_by(admission: Admission, call: Call) -> AnsweredBy:
    name, version = admission.servable.id
    return AnsweredBy(name, number_of(version), call.signature.name)


def _unwrapped(answer: Classification | Regression | BaseException) -> Classification | Regression:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _check_filter(output_filter: Collection[str], outputs: Mapping[str, TensorSpec]) -> None:
    seen: set[str] = set()
    for name in output_filter:
        if name not in outputs:
            raise faults.unknown_output(name, outputs)
        if name in seen:
            raise faults.duplicate_output(name)
        seen.add(name)


def _check_tasks(tasks: Sequence[Task]) -> None:
    if not tasks:
        raise faults.no_tasks()
    names: set[str] = set()
    for task in tasks:
        if task.spec.name != tasks[0].spec.name:
            raise faults.several_models()
        name = task.spec.signature_or_default
        if name in names:
            raise faults.duplicate_signature(name)
        names.add(name)
