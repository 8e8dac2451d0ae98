"""Every error has a status on either wire."""

import pytest

from tensorhost.core.errors import AlreadyExistsError, ErrorCode, ModelFailedError, UnsupportedTypeError
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.statuses import HTTP_STATUS, RPC_STATUS, as_rpc_error, http_status
from tensorhost.frontends.rpc import RpcError, RpcStatus


def test_both_tables_have_every_code():
    assert set(HTTP_STATUS) == set(RPC_STATUS) == set(ErrorCode)
    assert RpcStatus.OK not in RPC_STATUS.values()
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())


@pytest.mark.parametrize(
    ("error", "status", "rpc"),
    [
        (faults.unknown_model("m"), 404, RpcStatus.NOT_FOUND),
        (faults.unknown_version("m", 9), 404, RpcStatus.NOT_FOUND),
        (faults.no_available_versions("m"), 404, RpcStatus.NOT_FOUND),
        (faults.version_not_ready("m", 1, "it loads", 1.0), 503, RpcStatus.UNAVAILABLE),
        (faults.invalid_version("abc"), 400, RpcStatus.INVALID_ARGUMENT),
        (faults.failed_to_load("m", "because"), 500, RpcStatus.INTERNAL),
        (faults.no_cuda(), 501, RpcStatus.UNIMPLEMENTED),
        (faults.no_named_repositories(), 501, RpcStatus.UNIMPLEMENTED),
        (UnsupportedTypeError("complex64"), 501, RpcStatus.UNIMPLEMENTED),
        (AlreadyExistsError("taken"), 400, RpcStatus.ALREADY_EXISTS),
        (ModelFailedError("it did"), 500, RpcStatus.INTERNAL),
    ],
)
def test_statuses_are_tritons(error, status, rpc):
    assert http_status(error) == status
    assert (as_rpc_error(error).status, as_rpc_error(error).message) == (rpc, error.message)


def test_what_has_its_status_keeps_it_and_faults_of_ours_show_nothing():
    known = RpcError(RpcStatus.ABORTED, "stop")
    assert as_rpc_error(known) is known
    fault = as_rpc_error(KeyError("secret"))
    assert fault.status is RpcStatus.INTERNAL
    assert "secret" not in fault.message
