"""Lets requests in by TensorFlow Serving's way of naming models, and says in its words why one is not let in.

What differs: a version that is about to serve for the first time is UNAVAILABLE, not unknown. Its client may try again,
as it would at a port that is not open yet.
"""

from __future__ import annotations

from tensorhost.core.errors import (
    ErrorCode,
    ModelNotFoundError,
    ModelNotReadyError,
    OutOfMemoryError,
    TensorhostError,
    VersionNotFoundError,
)
from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.versions import name_for, number_of
from tensorhost.inference import Admission, InferenceEngine
from tensorhost.models.records import ModelRecord
from tensorhost.models.states import VersionState

_NOT_SERVING = (ModelNotFoundError, VersionNotFoundError, ModelNotReadyError, OutOfMemoryError)
_ON_THEIR_WAY = frozenset({VersionState.NEW, VersionState.LOADING, VersionState.WARMING})


async def admit(engine: InferenceEngine, spec: ModelSpec, deadline: float) -> Admission:
    """Let a request in, or refuse it at once; a lazy model is waited for. Use the admission in a ``with`` block.

    Args:
        engine: does the work.
        spec: the model meant.
        deadline: an instant on the monotonic clock; ``inf`` for none.

    Raises:
        ServingError: there is no such model, version or label, or it serves no more.
        ModelNotReadyError: it is about to serve.
        OverloadedError, ShuttingDownError, DeadlineExceededError: as ``InferenceEngine.admit``.
    """
    version = _version(engine, spec)
    try:
        return engine.admit_at_once(spec.name, version, deadline) or await engine.admit(spec.name, version, deadline)
    except _NOT_SERVING as error:
        raise _explained(engine, spec, version, error) from None


def admit_at_once(engine: InferenceEngine, spec: ModelSpec, deadline: float) -> Admission | None:
    """``admit`` without a coroutine, for whoever finds the model serving; None where it must be waited for."""
    version = _version(engine, spec)
    try:
        return engine.admit_at_once(spec.name, version, deadline)
    except _NOT_SERVING as error:
        raise _explained(engine, spec, version, error) from None


def _version(engine: InferenceEngine, spec: ModelSpec) -> str | None:
    return None if spec.version is None and spec.label is None else version_name(engine, spec)


def _explained(
    engine: InferenceEngine, spec: ModelSpec, version: str | None, error: TensorhostError
) -> TensorhostError:
    """``error`` in TensorFlow Serving's words, unless trying again may help."""
    if isinstance(error, ModelNotReadyError):
        model = engine.manager.models().get(spec.name)
        # Before the first look at what there is nothing is known, so nothing is unknown.
        if model is None or _is_coming(model, version):
            return error
    number = spec.version if version is None or spec.version is not None else number_of(version)
    return faults.unknown_servable(spec.name, number)


def version_name(engine: InferenceEngine, spec: ModelSpec) -> str:
    """What we call the version that ``spec`` names by number or by label; one of the two is given.

    Raises ServingError: the label is unknown, or no version has that number.
    """
    if spec.version is not None:
        name = str(spec.version)
        servable = engine.manager.find(spec.name, name)
        # A label may look like a number, and labels are looked up with the versions.
        if servable is not None and servable.id.version == name:
            return name
    model = engine.manager.models().get(spec.name)
    if spec.label is not None:
        labelled = None if model is None else model.version_labels.get(spec.label)
        if labelled is None:
            engine.metrics.record_unattributed_error(ErrorCode.VERSION_NOT_FOUND)
            raise faults.unknown_label(spec.label)
        return labelled
    number = spec.version or 0
    numbered = None if model is None else name_for(number, model.versions)
    if numbered is None and model is not None:
        engine.metrics.record_unattributed_error(ErrorCode.VERSION_NOT_FOUND)
        raise faults.unknown_servable(spec.name, number)
    return numbered or str(number)


def _is_coming(model: ModelRecord, version: str | None) -> bool:
    """Whether what was asked for may serve soon, and has not failed before."""
    record = model.resolve(version)
    if record is None or model.problem:
        return False
    return record.state in _ON_THEIR_WAY and not record.failed and record.id.version in model.wanted()
