"""What is kept of a request that failed: one record in the log, and one among the recent errors."""

from __future__ import annotations

from structlog.stdlib import BoundLogger

from tensorhost.core.errors import InternalError, TensorhostError
from tensorhost.frontends.http.exchange import Exchange
from tensorhost.telemetry import MetricsCollector

_UNAVAILABLE = 503
_LEAST_FAULT_OF_OURS = 500


def report_failure(
    metrics: MetricsCollector, log: BoundLogger, exchange: Exchange, error: TensorhostError, status: int
) -> None:
    """Log and keep a failure, as severe as its HTTP status; a fault of ours with its stack trace."""
    model, version = exchange.subject
    metrics.recent_errors.add(
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path,
        status=status,
        code=error.code.value,
        message=error.message,
        model=model or exchange.path_values.get("name"),
        version=version or exchange.path_values.get("version"),
    )
    record = log.warning if status == _UNAVAILABLE else log.error if status >= _LEAST_FAULT_OF_OURS else log.info
    record(
        "request failed",
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path,
        status=status,
        code=error.code.value,
        reason=error.message,
        detail=error.log_detail,
        exc_info=isinstance(error, InternalError),
    )
