"""Metrics, process memory and logging."""

from tensorhost.telemetry.logging import configure_logging, get_logger
from tensorhost.telemetry.memory import MemoryUsage, available_memory_bytes, process_memory, trim
from tensorhost.telemetry.metrics import Histogram, MetricsCollector, VersionMetrics
from tensorhost.telemetry.request_ids import accept_request_id, new_request_id

__all__ = [
    "Histogram",
    "MemoryUsage",
    "MetricsCollector",
    "VersionMetrics",
    "accept_request_id",
    "available_memory_bytes",
    "configure_logging",
    "get_logger",
    "new_request_id",
    "process_memory",
    "trim",
]
