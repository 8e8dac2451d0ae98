"""TensorFlow's profiler around a stretch of time: what it saw of this process, as an ``XSpace``.

TensorFlow has a gRPC server for this, too. It listens on every address of the machine until the process ends, and
writes files where its clients say; so it is not used.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorhost.core.errors import InternalError, RuntimeMissingError


@dataclass(frozen=True, slots=True)
class TracerLevels:
    """How much is traced: 0 for nothing, more for more. ``device`` means GPUs."""

    host: int = 2
    python: int = 0
    device: int = 1


class ProfilerBusyError(InternalError):
    """Somebody profiles this process already; TensorFlow does that once at a time."""


class Profile:
    """One stretch of time. Blocks; not for the event loop.

    Constructing begins it; ``finish`` must follow.

    Args:
        levels: how much is traced.

    Raises:
        RuntimeMissingError: TensorFlow is not loaded, so there is nothing to see.
        ProfilerBusyError: TensorFlow is being profiled already.
    """

    def __init__(self, levels: TracerLevels) -> None:
        tf: Any = sys.modules.get("tensorflow")
        if tf is None:
            raise RuntimeMissingError("TensorFlow executes no model here, so there is nothing to profile.")
        self._profiler = tf.profiler.experimental
        options = self._profiler.ProfilerOptions(
            host_tracer_level=levels.host, python_tracer_level=levels.python, device_tracer_level=levels.device
        )
        self._folder = Path(tempfile.mkdtemp(prefix="tensorhost-profile-"))
        try:
            self._profiler.start(str(self._folder), options)
        except tf.errors.AlreadyExistsError:
            self._remove()
            raise ProfilerBusyError("TensorFlow is being profiled already.") from None
        except BaseException:
            self._remove()
            raise

    def finish(self) -> bytes:
        """End it. Returns a serialized ``tensorflow.profiler.XSpace``, empty where nothing was seen."""
        try:
            self._profiler.stop()
            return b"".join(path.read_bytes() for path in sorted(self._folder.rglob("*.xplane.pb")))
        finally:
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
