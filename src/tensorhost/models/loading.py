"""One attempt at loading one version, on the loader's thread: files in, warmed runtime and findings out.

The border of a load: whatever goes wrong in a file, a runtime or a custom step becomes one TensorhostError here,
and nothing else of the server is touched.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tensorhost.codecs import JsonObject, decode_inputs
from tensorhost.core.errors import (
    InvalidPostprocessingError,
    InvalidPreprocessingError,
    InvalidRequestError,
    MisconfiguredModelError,
    ModelFailedError,
    OutOfMemoryError,
    TensorhostError,
)
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Tensors
from tensorhost.models.config import FILE_NAME, ModelConfig, resolve_inside
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.warmup import SignaturePlan, WarmupOptions, warm_up
from tensorhost.pipelines import (
    PostprocessingOptions,
    PostprocessingPipeline,
    PreprocessingOptions,
    PreprocessingPipeline,
)
from tensorhost.runtimes import LoadOptions, ModelFormat, Runtime, load, prepare
from tensorhost.telemetry import get_logger, process_memory, trim

_NICENESS = 10
_MAX_EXAMPLES_BYTES = 64 * 2**20
_FIXED_OVERHEAD_BYTES = 64 * 2**20

_TENSORFLOW_FORMATS = frozenset(ModelFormat) - {ModelFormat.TFLITE}
_frozen = threading.Event()

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load and how."""

    id: ModelId
    on_disk: VersionOnDisk
    folder: Path
    config: ModelConfig
    load: LoadOptions
    warmup: WarmupOptions


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version ready to serve.

    Attributes:
        runtime: executes it.
        config: its model.toml.
        plans: what warm-up found, by signature.
        preprocessing, postprocessing: the model's own pipelines, by signature.
        load_s, warmup_s: seconds taken.
        memory_bytes: what loading it added to the process, at least its weights.
    """

    runtime: Runtime
    config: ModelConfig
    plans: Mapping[str, SignaturePlan]
    preprocessing: Mapping[str, PreprocessingPipeline]
    postprocessing: Mapping[str, PostprocessingPipeline]
    load_s: float
    warmup_s: float
    memory_bytes: int


def lower_priority() -> None:
    """Make this thread give way to those that serve. Only Linux has priorities of threads."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def prepare_runtime(model_format: ModelFormat | None, options: LoadOptions) -> None:
    """Import what executes a format, if it has not been yet. Blocks. Raises RuntimeMissingError.

    What the import leaves in memory stays for the life of the process, a million objects in TensorFlow's case: it
    is taken out of the garbage collector's sight, so that collecting after an unload takes milliseconds.
    """
    if model_format in _TENSORFLOW_FORMATS and not _frozen.is_set():
        prepare(options)
        gc.collect()
        gc.freeze()
        _frozen.set()


def load_version(request: LoadRequest, on_warming: Callable[[], None]) -> LoadedVersion:
    """Load, build the model's pipelines, warm up. Blocks for as long as that takes.

    Args:
        request: what to load.
        on_warming: called when the files are loaded and warm-up starts, on this thread.

    Raises:
        TensorhostError: why it cannot serve; nothing of it stays in memory.
    """
    try:
        return _attempt(request, on_warming)
    except Exception as error:  # noqa: BLE001 - border of a load attempt: any failure is this version's alone
        failure = as_failure(error)
    release_memory()
    raise failure


def _attempt(request: LoadRequest, on_warming: Callable[[], None]) -> LoadedVersion:
    rss_before = process_memory().rss
    started = time.perf_counter()
    runtime = load(request.on_disk.path, request.load)
    try:
        pre, post = _own_pipelines(request, runtime)
        load_s = time.perf_counter() - started
        on_warming()
        started = time.perf_counter()
        plans = _warm_up(request, runtime)
        warmup_s = time.perf_counter() - started
    except BaseException:
        runtime.close()
        raise
    grown = process_memory().rss - rss_before
    return LoadedVersion(
        runtime, request.config, plans, pre, post, load_s, warmup_s, _memory_need(runtime.weights_bytes, grown)
    )


def release_memory() -> None:
    """Give memory of closed models back to the system."""
    gc.collect()
    trim()


def as_failure(error: Exception) -> TensorhostError:
    """The error that is kept for a failed load. It holds no stack frames, and so nothing of the model in memory."""
    if isinstance(error, TensorhostError):
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    if isinstance(error, MemoryError):
        return OutOfMemoryError("There was not enough memory to load the model.")
    return ModelFailedError("The model could not be loaded.", log_detail=f"{type(error).__name__}: {error}")


def _memory_need(weights_bytes: int, grown_bytes: int) -> int:
    # What the process grew by counts, but another load or a burst of requests at the same time must not be blamed
    # on this version without limit.
    return max(weights_bytes, min(grown_bytes, 8 * weights_bytes + _FIXED_OVERHEAD_BYTES))


def _own_pipelines(
    request: LoadRequest, runtime: Runtime
) -> tuple[dict[str, PreprocessingPipeline], dict[str, PostprocessingPipeline]]:
    """``_pipelines``, whose refusals are no client's fault here. Raises MisconfiguredModelError."""
    try:
        return _pipelines(request, runtime)
    except (InvalidPreprocessingError, InvalidPostprocessingError) as error:
        raise MisconfiguredModelError(
            f"{FILE_NAME} does not fit the model: {error.message}", details=error.details
        ) from error


def _pipelines(
    request: LoadRequest, runtime: Runtime
) -> tuple[dict[str, PreprocessingPipeline], dict[str, PostprocessingPipeline]]:
    """The model's own pipelines. What model.toml asks for must fit the default signature; where it does not fit
    another one, that one goes without."""
    config = request.config
    before = PreprocessingOptions.from_model(config.preprocessing)
    after = PostprocessingOptions.from_model(config.postprocessing)
    default = next(iter(runtime.signatures), DEFAULT_SIGNATURE)
    pre: dict[str, PreprocessingPipeline] = {}
    post: dict[str, PostprocessingPipeline] = {}
    for name, signature in runtime.signatures.items():
        try:
            pre[name] = PreprocessingPipeline(before, signature, folder=request.folder)
        except InvalidPreprocessingError:
            if name == default:
                raise
            pre[name] = PreprocessingPipeline(PreprocessingOptions(), signature)
        try:
            post[name] = PostprocessingPipeline(after, signature, labels=config.labels)
        except InvalidPostprocessingError:
            if name == default:
                raise
            post[name] = PostprocessingPipeline(PostprocessingOptions(), signature, labels=config.labels)
    return pre, post


def _warm_up(request: LoadRequest, runtime: Runtime) -> dict[str, SignaturePlan]:
    examples = _read_examples(request, runtime.signatures)
    plans: dict[str, SignaturePlan] = {}
    failures: dict[str, TensorhostError] = {}
    for name, signature in runtime.signatures.items():
        try:
            plans[name] = warm_up(runtime, signature, request.warmup, examples.get(name, ()))
        except TensorhostError as error:
            failures[name] = error
            plans[name] = SignaturePlan(batched=False, reason="Warm-up failed.", problem=error.message)
    default = next(iter(runtime.signatures), DEFAULT_SIGNATURE)
    if default in failures:
        raise failures[default]
    for name, plan in plans.items():
        if plan.problem:
            log.warning("warm-up incomplete", model=str(request.id), signature=name, reason=plan.problem)
    return plans


def _read_examples(request: LoadRequest, signatures: Mapping[str, Signature]) -> dict[str, list[Tensors]]:
    """Warm-up examples the model ships: a JSON list of ``{"signatureName"?, "inputs"}``."""
    if request.config.warmup.examples is None:
        return {}
    file = resolve_inside(request.folder, request.config.warmup.examples, "warmup.examples", _MAX_EXAMPLES_BYTES)
    try:
        document = JsonObject.parse(b'{"examples":' + file.read_bytes() + b"}")
        examples: dict[str, list[Tensors]] = {}
        for item in document.items("examples", max_items=1000):
            if isinstance(item, InvalidRequestError):
                raise item
            name = item.fields({"signatureName"}).get("signatureName", next(iter(signatures)))
            tensors = decode_inputs(item, signatures[name].inputs, max_elements=2**27)
            examples.setdefault(name, []).append(tensors)
    except (KeyError, TypeError) as error:
        raise ModelFailedError("A warm-up example names a signature that the model does not have.") from error
    except TensorhostError as error:
        raise ModelFailedError(
            "The warm-up examples must be a JSON list of objects with 'inputs' and, optionally, 'signatureName': "
            + error.message
        ) from error
    return examples
