"""What SageMaker and Vertex AI tell a container through its environment, as settings. Pure.

They stand in the place of the settings' own defaults: whoever sets one by flag, file or TENSORHOST_ variable is heard
first. Variables that are not read are those of what this server has no counterpart for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.core.errors import InvalidRequestError

_PORT = 8080
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - a container is reached from outside of it
_SAGEMAKER_MODEL = "/opt/ml/model"
_SAGEMAKER_MODELS = "/opt/ml/models"
_TFS = "SAGEMAKER_TFS_"
_DEFAULT_MODELS = {f"{_TFS}DEFAULT_MODEL_NAME": "tfserving", "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": "oip"}
_SAGEMAKER = ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_SAFE_PORT_RANGE", "SAGEMAKER_MULTI_MODEL")
_NUMBERS = {
    "MAX_BATCH_SIZE": "max_batch_size",
    "NUM_BATCH_THREADS": "num_batch_threads",
    "INTER_OP_PARALLELISM": "inter_op_threads",
    "INTRA_OP_PARALLELISM": "intra_op_threads",
    "INSTANCE_COUNT": "workers",
}
_MICROSECONDS_PER_MS = 1000
_BATCH_SIZE = 8
"""Rows of a batch where nothing is said, of which SAGEMAKER_TFS_MAX_ENQUEUED_BATCHES is a number."""
_LOCAL = ("/", "file://")


def cloud_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the variables of SageMaker and Vertex AI ask for; empty outside of them.

    Raises InvalidRequestError where a variable is not what it should be; the message names it.
    """
    given = {name: value for name, value in environment.items() if value}
    settings: dict[str, Any] = {}
    if any(name in _SAGEMAKER or name in _DEFAULT_MODELS or name.startswith(_TFS) for name in given):
        settings |= _sagemaker(given)
    if "AIP_HTTP_PORT" in given or "AIP_PREDICT_ROUTE" in given:
        settings |= _vertex(given)
    return settings


def _sagemaker(given: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "sagemaker": True,
        "host": _EVERYWHERE,
        "port": _number(given, "SAGEMAKER_BIND_TO_PORT", _PORT),
        # No port but the one above is reached from outside.
        "grpc_port": 0,
        "model_path": _SAGEMAKER_MODEL,
    }
    if _flag(given, "SAGEMAKER_MULTI_MODEL"):
        settings |= {"sagemaker_multi_model": True, "allowed_roots": _SAGEMAKER_MODELS}
    for name, api in _DEFAULT_MODELS.items():
        if name in given:
            settings |= {"container_model": given[name], "container_api": api}
    settings |= {setting: _number(given, _TFS + name) for name, setting in _NUMBERS.items() if _TFS + name in given}
    return settings | _batching(given) | _gpu(given)


def _batching(given: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if f"{_TFS}ENABLE_BATCHING" in given:
        settings["batching"] = _flag(given, f"{_TFS}ENABLE_BATCHING")
    if f"{_TFS}BATCH_TIMEOUT_MICROS" in given:
        settings["batch_timeout_ms"] = _number(given, f"{_TFS}BATCH_TIMEOUT_MICROS") / _MICROSECONDS_PER_MS
    if f"{_TFS}MAX_ENQUEUED_BATCHES" in given:
        rows = _number(given, f"{_TFS}MAX_BATCH_SIZE", _BATCH_SIZE)
        settings["max_queue_rows"] = _number(given, f"{_TFS}MAX_ENQUEUED_BATCHES") * rows
    return settings


def _gpu(given: Mapping[str, str]) -> dict[str, Any]:
    name = f"{_TFS}FRACTIONAL_GPU_MEM_MARGIN"
    if name not in given:
        return {}
    try:
        margin = float(given[name])
    except ValueError:
        raise InvalidRequestError(f"{name} must be a number, not '{given[name][:64]}'.") from None
    if not 0 <= margin < 1:
        raise InvalidRequestError(f"{name} must be at least 0 and below 1.")
    # Each process takes its part of what the margin leaves.
    processes = max(_number(given, f"{_TFS}INSTANCE_COUNT", 1), 1)
    return {"gpu_memory_fraction": round((1 - margin) / processes, 4)}


def _vertex(given: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "host": _EVERYWHERE,
        "port": _number(given, "AIP_HTTP_PORT", _PORT),
        "grpc_port": 0,
        "vertex_health_route": given.get("AIP_HEALTH_ROUTE", ""),
        "vertex_predict_route": given.get("AIP_PREDICT_ROUTE", ""),
    }
    storage = given.get("AIP_STORAGE_URI", "")
    if storage.startswith(_LOCAL):
        settings["model_path"] = storage.removeprefix("file://")
    return settings


def _number(given: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = given.get(name, "")
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidRequestError(f"{name} must be a whole number, not '{text[:64]}'.")
    return int(text)


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false").strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidRequestError(f"{name} must be true or false, not '{text[:64]}'.")
    return text in ("true", "1")
