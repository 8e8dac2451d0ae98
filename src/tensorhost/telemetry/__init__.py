"""Metrics, the process's memory, limits and open files, and logging."""

from tensorhost.telemetry.control_groups import processor_quota
from tensorhost.telemetry.logging import configure_logging, get_logger
from tensorhost.telemetry.memory import MemoryUsage, available_memory_bytes, process_memory, trim
from tensorhost.telemetry.metrics import Histogram, MetricsCollector, VersionMetrics
from tensorhost.telemetry.open_files import TOO_MANY_OPEN_FILES, allow_open_files
from tensorhost.telemetry.request_ids import accept_request_id, new_request_id

__all__ = [
    "TOO_MANY_OPEN_FILES",
    "Histogram",
    "MemoryUsage",
    "MetricsCollector",
    "VersionMetrics",
    "accept_request_id",
    "allow_open_files",
    "available_memory_bytes",
    "configure_logging",
    "get_logger",
    "new_request_id",
    "process_memory",
    "processor_quota",
    "trim",
]
