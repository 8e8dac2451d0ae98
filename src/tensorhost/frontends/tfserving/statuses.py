"""Error code to gRPC status, in one table; the REST front end of TensorFlow Serving starts from the same statuses."""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.core.errors import CANONICAL, ErrorCode
from tensorhost.frontends.rpc import RpcError, RpcStatus
from tensorhost.inference import as_tensorhost_error

RPC_STATUS: Mapping[ErrorCode, RpcStatus] = {code: RpcStatus[canonical.value] for code, canonical in CANONICAL.items()}
"""Every code's status."""


def as_rpc_error(error: Exception) -> RpcError:
    """The failure a client is told of, for whatever reached the border of a request handler.

    What was put into TensorFlow Serving's words already keeps its status; all other errors keep their own words.
    """
    if isinstance(error, RpcError):
        return error
    known = as_tensorhost_error(error)
    return RpcError(RPC_STATUS[known.code], known.message)
