"""A permit or a refusal, first thing: the count of requests in the engine, and the lease a request works under."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from tensorhost.core.errors import ErrorCode, InternalError, OutOfMemoryError, TensorhostError
from tensorhost.core.requests import Timings
from tensorhost.models.servable import Lease, Servable


class InFlight:
    """How many requests the engine works on, and the most it may."""

    __slots__ = ("count", "limit")

    def __init__(self, limit: int) -> None:
        self.count = 0
        self.limit = limit


class Admission:
    """One request's stay in the engine. Leaving the ``with`` block gives the lease back and counts a failure."""

    __slots__ = ("_in_flight", "_lease", "_started_at", "deadline", "servable")

    def __init__(self, lease: Lease, in_flight: InFlight, deadline: float) -> None:
        self._lease = lease
        self._in_flight = in_flight
        self._started_at = time.perf_counter()
        self.servable: Servable = lease.servable
        self.deadline = deadline
        self.servable.metrics.in_flight += 1

    def record_success(self, timings: Timings, rows: int) -> None:
        """Count one answered request, or one item of a batch, and its rows."""
        metrics = self.servable.metrics
        metrics.requests += 1
        metrics.answered_rows += rows
        metrics.record_request(timings, time.perf_counter() - self._started_at)

    def record_failure(self, code: ErrorCode) -> None:
        """Count one failed request, or one item of a batch."""
        metrics = self.servable.metrics
        metrics.requests += 1
        metrics.record_error(code, time.perf_counter() - self._started_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.servable.metrics.in_flight -= 1
        self._in_flight.count -= 1
        self._lease.release()
        if error is not None:
            self.record_failure(code_of(error))


def code_of(error: BaseException) -> ErrorCode:
    """The code under which an error is counted."""
    if isinstance(error, TensorhostError):
        return error.code
    if isinstance(error, MemoryError):
        return ErrorCode.OUT_OF_MEMORY
    return ErrorCode.INTERNAL if isinstance(error, Exception) else ErrorCode.CANCELLED


def as_tensorhost_error(error: Exception) -> TensorhostError:
    """The error a client is told of, for whatever reached a request handler's border."""
    if isinstance(error, TensorhostError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemoryError("There was not enough memory for this request.")
    return InternalError("Something went wrong inside the server; its log has the details under the request id.")
