"""How one call is counted, whatever becomes of it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from tensorhost.frontends.rpc import RpcContext, RpcStatus
from tensorhost.frontends.tfserving.serving_metrics import Entrypoint, ServingMetrics
from tensorhost.frontends.tfserving.statuses import as_rpc_error


class Counted:
    """Counts what happens inside the ``with`` block as one call.

    Args:
        metrics: where.
        model: as the client named it.
        api: the method's name.
        context: knows why a call is given up.
    """

    __slots__ = ("_api", "_context", "_metrics", "_model", "_started")

    def __init__(self, metrics: ServingMetrics, model: str, api: str, context: RpcContext) -> None:
        self._metrics = metrics
        self._model = model
        self._api = api
        self._context = context
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            status = RpcStatus.OK
        elif isinstance(error, Exception):
            status = as_rpc_error(error).status
        else:
            status = self._context.given_up()
        seconds = time.perf_counter() - self._started
        self._metrics.record(self._model, self._api, Entrypoint.GRPC, status, seconds)
