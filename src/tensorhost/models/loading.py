"""One attempt at loading one version, on the loader's thread: files in, warmed runtime and findings out.

``attempt`` is the border of a load: whatever goes wrong in a file, a runtime or a custom step becomes one
TensorhostError there, and nothing else of the server is touched.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tensorhost.core.errors import (
    InvalidPostprocessingError,
    InvalidPreprocessingError,
    MisconfiguredModelError,
    ModelFailedError,
    OutOfMemoryError,
    TensorhostError,
)
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.core.tensors import Tensors
from tensorhost.models.config import FILE_NAME, ModelConfig
from tensorhost.models.decided import load_decided
from tensorhost.models.examples import read_examples
from tensorhost.models.probe import ProbeReport
from tensorhost.models.probe_messages import Examined
from tensorhost.models.repository import VersionOnDisk, version_folder
from tensorhost.models.trials import Tried
from tensorhost.models.warmup import SignaturePlan, WarmupOptions, warm_up
from tensorhost.models.warmup_records import run_warmup_records
from tensorhost.pipelines import (
    PostprocessingOptions,
    PostprocessingPipeline,
    PreprocessingOptions,
    PreprocessingPipeline,
)
from tensorhost.runtimes import (
    Contents,
    LoadOptions,
    ModelFormat,
    Runtime,
    examine,
    load,
    locate_model,
    prepare,
    refuse_untrusted,
)
from tensorhost.runtimes.base import RuntimeName
from tensorhost.runtimes.formats import is_direct
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.litert.interpreter import prepare as prepare_litert
from tensorhost.runtimes.onnxruntime.runtime import prepare as prepare_onnxruntime
from tensorhost.runtimes.openvino.process import prepare as prepare_openvino
from tensorhost.runtimes.race.verdict import Decision
from tensorhost.runtimes.saved_signatures import input_defaults, read_signature_defs
from tensorhost.telemetry import get_logger, process_memory, trim

_NICENESS = 10
_FIXED_OVERHEAD_BYTES = 64 * 2**20

_T = TypeVar("_T")

_TENSORFLOW_FORMATS = frozenset(ModelFormat) - {ModelFormat.TFLITE}
_KERAS_FORMATS = frozenset({ModelFormat.KERAS, ModelFormat.KERAS_H5})
_PREPARE_OTHERS: dict[RuntimeName, tuple[Callable[[], None], threading.Event]] = {
    RuntimeName.OPENVINO: (prepare_openvino, threading.Event()),
    RuntimeName.LITERT: (prepare_litert, threading.Event()),
    RuntimeName.ONNXRUNTIME: (prepare_onnxruntime, threading.Event()),
}
_tensorflow_kept = threading.Event()
_keras_kept = threading.Event()

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load and how.

    ``tried`` is what trying it in a child process has shown; ``on_useless`` is called, on the loader's thread, when the
    forms that were written for other runtimes turn out to be of no use.
    """

    id: ModelId
    on_disk: VersionOnDisk
    folder: Path
    config: ModelConfig
    load: LoadOptions
    warmup: WarmupOptions
    tried: Tried = field(default_factory=Tried)
    on_useless: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version ready to serve.

    Attributes:
        runtime: executes it.
        config: its model.toml.
        plans: what warm-up found, by signature.
        preprocessing, postprocessing: the model's own pipelines, by signature.
        load_s, warmup_s: seconds taken, ``probe_s`` of ``load_s`` in a child process.
        memory_bytes: what loading it added to the process, at least its weights and what it took in a child process.
        peak_bytes: the most it took in the child process; None when it was not tried there.
        contents: what it is made of.
        disabled_optimizations: what it is served without, with the reason.
        decisions: who executes each signature and why; empty where nobody but the format's own runtime was thought of.
        signature_defs: what a SavedModel says of its signatures, serialized ``tensorflow.SignatureDef`` by key, those
            that no client may call among them; empty for other formats.
        input_defaults: what inputs are that a request leaves out, by signature and name, where the model says so.
    """

    runtime: Runtime
    config: ModelConfig
    plans: Mapping[str, SignaturePlan]
    preprocessing: Mapping[str, PreprocessingPipeline]
    postprocessing: Mapping[str, PostprocessingPipeline]
    load_s: float
    warmup_s: float
    memory_bytes: int
    probe_s: float = 0.0
    peak_bytes: int | None = None
    contents: Contents = field(default_factory=Contents)
    disabled_optimizations: Mapping[str, str] = field(default_factory=dict)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    signature_defs: Mapping[str, bytes] = field(default_factory=dict)
    input_defaults: Mapping[str, Tensors] = field(default_factory=dict)


def lower_priority() -> None:
    """Make this thread give way to those that serve. Only Linux has priorities of threads."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def prepare_for(model_format: ModelFormat | None, options: LoadOptions, tried: Tried) -> None:
    """Import what executes a version of which ``tried`` is known; see ``prepare_runtime``. Blocks."""
    winners = {entrant.runtime for decision in tried.decisions.values() for entrant in decision.winners}
    for runtime, (prepare_it, kept) in _PREPARE_OTHERS.items():
        if runtime in winners:
            _keep(prepare_it, kept)
    if tried.needs_native:
        prepare_runtime(model_format, options)


def prepare_runtime(model_format: ModelFormat | None, options: LoadOptions) -> None:
    """Import what executes a format, if it has not been yet. Blocks. Raises RuntimeMissingError.

    Threads that runtimes start for good are started here, too, with ordinary priority. What the import leaves in memory
    stays for the life of the process, in TensorFlow's case a million objects: it is taken out of the collector's
    sight, so that collecting garbage after an unload takes milliseconds.
    """
    if is_direct(model_format, options):
        _keep(*_PREPARE_OTHERS[RuntimeName.OPENVINO])
        return
    if model_format is ModelFormat.TFLITE:
        _keep(*_PREPARE_OTHERS[RuntimeName.LITERT])
    if model_format in _TENSORFLOW_FORMATS:
        _keep(lambda: prepare(options), _tensorflow_kept)
    if model_format in _KERAS_FORMATS:
        _keep(keras_module, _keras_kept)


def _keep(import_framework: Callable[[], object], kept: threading.Event) -> None:
    if not kept.is_set():
        import_framework()
        gc.collect()
        gc.freeze()
        kept.set()


def attempt(load_model: Callable[[], _T]) -> _T:
    """The border of a load attempt: run ``load_model``, turn whatever it raises into a TensorhostError.

    When one is raised nothing of the model stays in memory.
    """
    try:
        return load_model()
    except Exception as error:  # noqa: BLE001 - any failure is this version's alone
        failure = as_failure(error)
    release_memory()
    raise failure


def load_version(request: LoadRequest, on_warming: Callable[[], None]) -> LoadedVersion:
    """Load, build the model's pipelines, warm up. Blocks for as long as that takes.

    Args:
        request: what to load.
        on_warming: called when the files are loaded and warm-up starts, on this thread.

    Raises:
        TensorhostError: why it cannot serve; nothing of it stays in memory.
    """
    return attempt(lambda: _load(request, on_warming))


def _load(request: LoadRequest, on_warming: Callable[[], None]) -> LoadedVersion:
    """Load and warm up by those who won the race; by the format's own runtime where that comes to nothing."""
    if not any(decision.winners for decision in request.tried.decisions.values()):
        return _load_by(request, on_warming)
    warming: list[bool] = []

    def first_warming() -> None:
        if not warming:
            on_warming()
        warming.append(True)

    try:
        return _load_by(request, first_warming)
    except MisconfiguredModelError:
        raise
    except TensorhostError as error:
        request.on_useless()
        if request.load.runtime is not RuntimeName.AUTO:
            raise
        log.warning(
            "served by its own runtime after all",
            model=str(request.id),
            reason=error.message,
            detail=error.log_detail,
        )
    release_memory()
    return _load_by(replace(request, tried=replace(request.tried, decisions={})), first_warming)


def _load_by(request: LoadRequest, on_warming: Callable[[], None]) -> LoadedVersion:
    tried = request.tried
    probe = tried.report
    rss_before = process_memory().rss
    started = time.perf_counter()
    options = request.load if probe is None or not probe.crash else replace(request.load, remapping=False)
    contents = examine(request.on_disk.path, options) if probe is None else probe.contents
    refuse_untrusted(contents, options)
    if probe is None:
        log_findings(request.id, Examined.of(contents.findings))
    native = partial(load, request.on_disk.path, options)
    has_winners = any(decision.winners for decision in tried.decisions.values())
    runtime = load_decided(tried, options, native) if has_winners else native()
    try:
        pre, post = _own_pipelines(request, runtime)
        load_s = time.perf_counter() - started
        definitions, defaults, problems = said_of_signatures(request.on_disk.path, options)
        for name, reason in problems.items():
            log.warning("default input left out", model=str(request.id), input=name, reason=reason)
        on_warming()
        started = time.perf_counter()
        plans = _warm_up(request, runtime, defaults)
        warmup_s = time.perf_counter() - started
    except BaseException:
        runtime.close()
        raise
    grown = process_memory().rss - rss_before
    need_bytes = _memory_need(runtime.weights_bytes, grown)
    probe_s = 0.0 if probe is None else probe.probe_s
    return LoadedVersion(
        runtime,
        request.config,
        plans,
        pre,
        post,
        load_s + probe_s,
        warmup_s,
        # Memory that other models gave back may be used again, so that the process hardly grows.
        need_bytes if probe is None or not tried.needs_native else max(need_bytes, expected_need(probe)),
        probe_s,
        None if probe is None else probe.peak_bytes,
        contents,
        {"remapping": probe.crash} if probe is not None and probe.crash else {},
        tried.decisions,
        definitions,
        defaults,
    )


def said_of_signatures(
    path: Path, options: LoadOptions
) -> tuple[Mapping[str, bytes], Mapping[str, Tensors], Mapping[str, str]]:
    """The SignatureDefs of a SavedModel, its default inputs, and why some of those are left out; nothing of others."""
    located = locate_model(path)
    if located is None or located[1] is not ModelFormat.SAVED_MODEL:
        return {}, {}, {}
    definitions = read_signature_defs(located[0], options.tags)
    return definitions, *input_defaults(definitions)


def log_findings(model_id: ModelId, examined: Examined) -> None:
    """Say what a model that is about to be executed could do besides computing."""
    if examined.count:
        log.warning(
            "the model could do more than compute",
            model=str(model_id),
            findings=" ".join(f"{found.subject}: {found.explanation}" for found in examined.worst),
            count=examined.count,
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


def expected_need(probe: ProbeReport) -> int:
    """Bytes the version will count for at least once it is loaded: what it took alone in a child process."""
    return max(probe.weights_bytes, probe.memory_bytes)


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


def _warm_up(request: LoadRequest, runtime: Runtime, defaults: Mapping[str, Tensors]) -> dict[str, SignaturePlan]:
    examples = read_examples(request.folder, request.config.warmup.examples, runtime.signatures)
    if request.warmup.record_iterations:
        run = run_warmup_records(
            version_folder(request.on_disk.path), runtime, defaults, iterations=request.warmup.record_iterations
        )
        # The model's owner may have examples that tell rows apart; records come from anywhere.
        examples = run.examples | examples
        if run.records:
            log.info("warm-up records run", model=str(request.id), records=run.records, seconds=round(run.seconds, 3))
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
