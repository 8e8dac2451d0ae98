"""What clients may change of a process while it runs, besides its models: the same in every process of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tensorhost.inference.regions import Regions
from tensorhost.settings import Settings
from tensorhost.telemetry.log_level import LogLevel


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Of one process.

    Attributes:
        regions: of shared memory, as far as they are registered.
        log_level: which records are written.
    """

    regions: Regions
    log_level: LogLevel

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As a process begins that was started with ``settings``."""
        return cls(Regions(settings.oip_shared_memory_prefix), LogLevel(1 if settings.log_level == "debug" else 0))
