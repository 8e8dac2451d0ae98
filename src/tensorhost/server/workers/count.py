"""How many workers there are: what the settings say, or what pays for these models on this machine."""

from __future__ import annotations

import sys
import time

from tensorhost.core.errors import InvalidRequestError
from tensorhost.models.configured import ConfiguredModels
from tensorhost.models.origins import origin_of
from tensorhost.models.repository import Look
from tensorhost.runtimes.cores import usable_cores
from tensorhost.settings import Settings
from tensorhost.telemetry import available_memory_bytes

SUPPORTED = sys.platform == "linux"
"""Elsewhere the system does not spread connections over the sockets of a port, nor end workers with their parent."""

_SMALL_BYTES = 8 * 2**20
_PROCESS_BYTES = 768 * 2**20
_MOST = 8


def worker_count(settings: Settings) -> int:
    """How many workers to run.

    Raises InvalidRequestError for several where the system cannot have them, and for a bad model config file.
    """
    if settings.workers == "auto":
        if not SUPPORTED:
            return 1
        origin = origin_of(settings.model_path, ConfiguredModels(settings).models)
        found = origin.scan(Look(time.time(), settle_s=0.0, prefer_tflite=settings.prefer_tflite))
        sizes = [version.size_bytes for model in found.models.values() for version in model.versions.values()]
        return count_for(usable_cores(), sizes, available_memory_bytes())
    if settings.workers > 1 and not SUPPORTED:
        raise InvalidRequestError("Several workers need Linux; here the setting 'workers' must be 1 or auto.")
    return settings.workers


def count_for(cores: int, model_bytes: list[int], available_bytes: int) -> int:
    """What ``auto`` means: a worker per core where the server's own work is most of it, else one.

    Args:
        cores: that may be used.
        model_bytes: sizes of the versions on disk. A model of up to 8 MiB computes less than a request costs besides;
            a larger one uses all cores inside its operations, whichever process it is in.
        available_bytes: memory; each worker takes about 0.75 GiB for TensorFlow, and the models.
    """
    if any(size > _SMALL_BYTES for size in model_bytes):
        return 1
    affordable = available_bytes // (_PROCESS_BYTES + 2 * sum(model_bytes))
    return max(min(cores, _MOST, affordable), 1)
