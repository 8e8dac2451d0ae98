"""Lets requests in by OIP's way of naming models, and says in Triton's words why one is not let in."""

from __future__ import annotations

import re
from functools import lru_cache

from tensorhost.core.errors import (
    ErrorCode,
    ModelNotFoundError,
    ModelNotReadyError,
    TensorhostError,
    VersionNotFoundError,
)
from tensorhost.frontends.oip import faults
from tensorhost.frontends.versions import LARGEST, name_for, number_of
from tensorhost.inference import Admission, InferenceEngine
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import ModelRecord
from tensorhost.models.states import VersionState

_NOT_SERVING = (ModelNotFoundError, VersionNotFoundError, ModelNotReadyError)
_DIGITS = re.compile(r"[0-9]{1,64}", re.ASCII)


def parse_version(text: str) -> int | None:
    """The number that a version is asked for by; None for an empty text, which means the newest that serves.

    Raises InvalidRequestError for what is no int64.
    """
    return _parse_version(text) if text else None


@lru_cache(maxsize=1024)
def _parse_version(text: str) -> int:
    number = int(text) if _DIGITS.fullmatch(text) else LARGEST + 1
    if number > LARGEST:
        raise faults.invalid_version(text)
    return number


def version_text(version: str) -> str:
    """What clients are told of a version: its number, or its own name where that is none."""
    number = number_of(version)
    return version if number is None else str(number)


async def admit(engine: InferenceEngine, name: str, number: int | None, deadline: float) -> Admission:
    """Let a request in, or refuse it at once; a lazy model is waited for. Use the admission in a ``with`` block.

    Args:
        engine: does the work.
        name: the model; any text.
        number: of the version, from ``parse_version``; None for the newest that serves.
        deadline: an instant on the monotonic clock; ``inf`` for none.

    Raises:
        ModelNotFoundError, VersionNotFoundError: there is none, or it serves no more.
        ModelNotReadyError: it is about to serve, or failed to load.
        TensorhostError: as ``InferenceEngine.admit``.
    """
    version = None if number is None else _known_version(engine, name, number)
    try:
        return engine.admit_at_once(name, version, deadline) or await engine.admit(name, version, deadline)
    except _NOT_SERVING as error:
        raise _explained(engine, name, number, error) from None


def admit_at_once(engine: InferenceEngine, name: str, number: int | None, deadline: float) -> Admission | None:
    """``admit`` without a coroutine, for whoever finds the model serving; None where it must be waited for."""
    version = None if number is None else _known_version(engine, name, number)
    try:
        return engine.admit_at_once(name, version, deadline)
    except _NOT_SERVING as error:
        raise _explained(engine, name, number, error) from None


def version_name(manager: ModelManager, name: str, number: int) -> str | None:
    """What we call the version of a model that a number means; None where there is none."""
    plain = str(number)
    servable = manager.find(name, plain)
    # A label may look like a number, and labels are looked up with the versions.
    if servable is not None and servable.id.version == plain:
        return plain
    model = manager.models().get(name)
    return None if model is None else name_for(number, model.versions)


def _known_version(engine: InferenceEngine, name: str, number: int) -> str:
    """``version_name``; where there is none, ModelNotFoundError or VersionNotFoundError, counted here."""
    found = version_name(engine.manager, name, number)
    if found is not None:
        return found
    is_unknown = name not in engine.manager.models()
    engine.metrics.record_unattributed_error(ErrorCode.MODEL_NOT_FOUND if is_unknown else ErrorCode.VERSION_NOT_FOUND)
    raise faults.unknown_model(name) if is_unknown else faults.unknown_version(name, number)


def _explained(engine: InferenceEngine, name: str, number: int | None, error: TensorhostError) -> TensorhostError:
    """``error`` in Triton's words, with our own reason where trying again may help."""
    model = engine.manager.models().get(name)
    if model is None:
        # Before the first look at what there is nothing is known, so nothing is unknown.
        return error if isinstance(error, ModelNotReadyError) else faults.unknown_model(name)
    if number is None:
        return error if _may_serve(model) else faults.no_available_versions(name)
    if isinstance(error, ModelNotReadyError) and not _is_left_out(model, number):
        return faults.version_not_ready(name, number, error.message, error.retry_after_s)
    return faults.unknown_version(name, number)


def _is_left_out(model: ModelRecord, number: int) -> bool:
    """Whether a version lies on disk and nothing wants it loaded, so that trying again is of no use."""
    record = model.versions.get(name_for(number, model.versions) or "")
    return record is not None and record.state is VersionState.NEW and record.id.version not in model.wanted()


def _may_serve(model: ModelRecord) -> bool:
    """Whether some version is wanted, and so may serve yet."""
    return bool(model.wanted()) and not model.problem
