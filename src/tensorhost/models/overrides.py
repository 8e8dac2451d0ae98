"""The server's settings with what one model's ``model.toml`` says otherwise."""

from __future__ import annotations

from pathlib import Path

from tensorhost.batching.options import QueueOptions
from tensorhost.models.batching import batch_sizes, is_batched, pads_inputs
from tensorhost.models.config import ModelConfig
from tensorhost.models.probe import FirstRuns
from tensorhost.models.session_config import read_session_config
from tensorhost.models.warmup import SignaturePlan, WarmupOptions
from tensorhost.runtimes.base import LoadOptions, Precision, RuntimeName, Trust
from tensorhost.runtimes.installed import is_installed
from tensorhost.settings import Settings


def load_options(settings: Settings, config: ModelConfig) -> LoadOptions:
    """How the model is loaded. Raises InvalidRequestError when ``session_config_file`` has become unusable."""
    return LoadOptions(
        intra_op_threads=settings.intra_op_threads,
        inter_op_threads=settings.inter_op_threads,
        modules=settings.import_modules,
        model_modules=config.imports,
        op_libraries=settings.custom_op_libraries,
        allow_lambda=settings.allow_lambda,
        trust=Trust(settings.trust),
        graph_inputs=config.graph.inputs,
        graph_outputs=config.graph.outputs,
        dequantize=config.tflite.dequantize,
        xla=settings.xla,
        runtime=_runtime(settings, config),
        precision=Precision(config.precision or settings.precision),
        tags=settings.saved_model_tags,
        session_config=read_session_config(settings),
        gpu_memory_fraction=settings.gpu_memory_fraction,
    )


def _runtime(settings: Settings, config: ModelConfig) -> RuntimeName:
    wanted = config.runtime or settings.runtime
    if wanted is not None:
        return RuntimeName(wanted)
    return RuntimeName.AUTO if is_installed(RuntimeName.OPENVINO) else RuntimeName.NATIVE


def first_runs(settings: Settings, config: ModelConfig, folder: Path) -> FirstRuns:
    """What the model is run with in a child process."""
    return FirstRuns(
        folder,
        config.warmup.examples,
        batch_sizes(settings, config).call_rows,
        is_batched(settings, config),
        config.warmup.ranges,
        settings.warmup_records,
    )


def warmup_options(settings: Settings, config: ModelConfig) -> WarmupOptions:
    """How the model is warmed up."""
    iterations = config.warmup.iterations
    sizes = batch_sizes(settings, config)
    return WarmupOptions(
        iterations=settings.warmup_iterations if iterations is None else iterations,
        max_batch_rows=sizes.call_rows,
        batching=is_batched(settings, config),
        allowed_sizes=sizes.allowed,
        threshold_s=settings.inline_threshold_ms / 1000,
        ranges=config.warmup.ranges,
        record_iterations=settings.warmup_record_iterations if settings.warmup_records else 0,
    )


def queue_options(settings: Settings, config: ModelConfig, plan: SignaturePlan) -> QueueOptions:
    """How requests for a signature are batched, given what warm-up found out about it."""
    batching = config.batching
    timeout_ms = settings.batch_timeout_ms if batching.batch_timeout_ms is None else batching.batch_timeout_ms
    goal_ms = settings.target_latency_ms if batching.target_latency_ms is None else batching.target_latency_ms
    sizes = batch_sizes(settings, config)
    return QueueOptions(
        batched=plan.batched,
        max_batch_rows=sizes.call_rows,
        batch_timeout_s=timeout_ms / 1000,
        max_queue_rows=batching.max_queue_rows or settings.max_queue_rows,
        inline_rows=plan.inline_rows,
        inline_elements=plan.inline_elements,
        inline_s=settings.inline_threshold_ms / 1000,
        target_latency_s=goal_ms / 1000,
        call_s=plan.call_s,
        padding=plan.padding,
        max_request_rows=sizes.request_rows,
        pads_inputs=pads_inputs(settings, config),
    )
