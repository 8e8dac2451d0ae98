"""gRPC: the methods of the front ends on sockets."""

from tensorhost.server.grpc.calls import Authorise, max_message_bytes
from tensorhost.server.grpc.server import GrpcServer, check_grpc, grpc_addresses

__all__ = ["Authorise", "GrpcServer", "check_grpc", "grpc_addresses", "max_message_bytes"]
