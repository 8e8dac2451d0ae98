"""The gRPC methods of all front ends, and the server for them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tensorhost.codecs.protobuf import POOL
from tensorhost.frontends import tfserving
from tensorhost.frontends.authorisation import authorise_rpc
from tensorhost.frontends.health import SERVICE, Health
from tensorhost.frontends.reflection import Reflection
from tensorhost.frontends.rpc import Rpc, StreamRpc
from tensorhost.inference import Group, InferenceEngine
from tensorhost.server.grpc import GrpcServer
from tensorhost.server.grpc.tracing import wrap_rpcs
from tensorhost.settings import Settings

if TYPE_CHECKING:
    from tensorhost.telemetry.spans import Tracing

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"


class Methods:
    """What is served over gRPC.

    Args:
        engine: answers inference requests.
        settings: what is served, and who may control.
        group: all processes of the server.
        request_log: of this process.
        tracing: records predictions; None where tracing is off.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        settings: Settings,
        group: Group,
        request_log: tfserving.RequestLog,
        tracing: Tracing | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._group = group
        self._request_log = request_log
        self._tracing = tracing
        self._health: Health | None = None

    def server(self, *, shared: bool) -> GrpcServer | None:
        """The gRPC server, not opened yet; None where the settings want none. To be called once.

        Args:
            shared: see ``GrpcServer``.
        """
        if self._settings.grpc_port == 0 and self._settings.grpc_socket_path is None:
            return None
        return GrpcServer(self._rpcs(), self._settings, partial(authorise_rpc, self._settings), shared=shared)

    def begin_drain(self) -> None:
        """The health service says NOT_SERVING from now on; calls are answered all the same."""
        if self._health is not None:
            self._health.begin_drain()

    def _rpcs(self) -> list[Rpc | StreamRpc]:
        rpcs: list[Rpc | StreamRpc] = [*tfserving.rpcs(self._engine, self._settings, self._group, self._request_log)]
        if self._tracing is not None:
            rpcs = wrap_rpcs(rpcs, self._tracing, PREDICTION_SERVICE)
        services = {rpc.path.split("/")[1] for rpc in rpcs}
        if self._settings.grpc_health:
            self._health = Health(services, self._engine.manager, self._group)
            rpcs += self._health.rpcs()
            services.add(SERVICE)
        if self._settings.grpc_reflection:
            rpcs += Reflection(services, POOL).rpcs()
        return rpcs
