"""OpenVINO as one per process: imported once, its threads started by the right thread, models read and compiled.

What must stay true: numerics are float32 unless asked otherwise, since by default OpenVINO computes in bfloat16 where
the processor can, which is wrong by a fifth of the scale on some models.
"""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError, OutOfMemoryError, RuntimeMissingError, TensorhostError
from tensorhost.runtimes.base import Precision
from tensorhost.runtimes.cores import usable_cores

DEVICE = "CPU"

OPENVINO_ERRORS = (RuntimeError, ValueError, TypeError, MemoryError)
"""What OpenVINO raises, for everything."""

_LONGEST_REASON = 300
_ordinary = ThreadPoolExecutor(1, thread_name_prefix="openvino models")


def prepare() -> None:
    """Start the thread on which models are compiled. Only the first call does anything.

    Models load in a thread of low priority, and threads that OpenVINO starts would inherit that for life.

    Raises RuntimeMissingError where OpenVINO is not installed.
    """
    openvino()
    _ordinary.submit(int).result()


def openvino() -> Any:
    """The ``openvino`` module. Raises RuntimeMissingError when it is not installed."""
    # OpenVINO would tell its makers of each use, over the network and from a forked process. Without the package it
    # does not, as it provides for.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # the way to hide a module
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise RuntimeMissingError(
            "This model needs OpenVINO: pip install 'tensorhost[openvino]'.", log_detail=str(error)
        ) from error


@cache
def core() -> Any:
    """The process's OpenVINO."""
    return openvino().Core()


def supports_bf16() -> bool:
    """Whether the processor computes in bfloat16."""
    return "BF16" in core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def compile_model(model: Any, precision: Precision, threads: int, cache_folder: Path | None = None) -> Any:
    """``model`` (an OpenVINO model, or the path of one) ready to run.

    Args:
        model: what to compile.
        precision: FLOAT32 or BF16.
        threads: inside one call; 0 for one per core.
        cache_folder: where the compiled form is kept, for the next time; only for models given by path.

    Raises what OpenVINO raises.
    """
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision is Precision.BF16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads or usable_cores()),
        # Several models and processes share the cores: bound to them they would get into each other's way.
        "ENABLE_CPU_PINNING": "NO",
    }
    if cache_folder is not None:
        options["CACHE_DIR"] = str(cache_folder)
    return _ordinary.submit(core().compile_model, model, DEVICE, options).result()


def load_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a model was read or compiled."""
    log_detail = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        return OutOfMemoryError("The model does not fit in memory.", log_detail=log_detail)
    return ModelFailedError(f"OpenVINO cannot take the model: {reason(error)}", log_detail=log_detail)


def run_error(error: Exception) -> TensorhostError:
    """The error for ``error``, raised while a model ran."""
    log_detail = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "could not create a memory" in str(error):
        return OutOfMemoryError("The model ran out of memory.", log_detail=log_detail)
    return ModelFailedError(f"The model failed while running: {reason(error)}", log_detail=log_detail)


def reason(error: Exception) -> str:
    """OpenVINO's own sentence: what is left of its message without source lines and conditions of checks."""
    lines = [line.strip() for line in str(error).splitlines()]
    noise = ("Exception from", "Check '", "FrontEnd API failed", "While validating")
    told = [line for line in lines if line and not line.startswith(noise)]
    text = (told or lines or ["no reason given"])[0]
    return f"{text[:_LONGEST_REASON]}…" if len(text) > _LONGEST_REASON else text or "no reason given"
