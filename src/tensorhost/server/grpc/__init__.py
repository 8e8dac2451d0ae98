"""gRPC: the methods of the front ends on sockets."""

from tensorhost.server.grpc.calls import Authorise, max_message_bytes
from tensorhost.server.grpc.server import GrpcServer

__all__ = ["Authorise", "GrpcServer", "max_message_bytes"]
