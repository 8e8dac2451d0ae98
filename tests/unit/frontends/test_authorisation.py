"""Who may control the server over gRPC; the same rule over HTTP is in test_native_control_routes.py."""

import pytest

from tensorhost.core.errors import PermissionDeniedError, UnauthenticatedError
from tensorhost.frontends.authorisation import authorise_rpc
from tensorhost.frontends.rpc import RpcContext
from tensorhost.settings import Settings

TCP, UNIX = "ipv4:127.0.0.1:5000", "unix:1"
TOKEN = {"authorization": "Bearer sesame"}


def authorise(settings, peer=TCP, **metadata):
    authorise_rpc(
        Settings(**settings), RpcContext(metadata={k.replace("_", "-"): v for k, v in metadata.items()}, peer=peer)
    )


@pytest.mark.parametrize("settings", [{}, {"host": "localhost"}, {"host": "::1"}])
def test_this_machine_may_without_a_token(settings):
    authorise(settings)


def test_others_may_not_without_a_token():
    with pytest.raises(PermissionDeniedError, match="TENSORHOST_ADMIN_TOKEN"):
        authorise({"host": "0.0.0.0"})
    with pytest.raises(PermissionDeniedError):
        authorise({"host": "0.0.0.0"}, peer="")


def test_who_can_open_the_unix_socket_may():
    authorise({"host": "0.0.0.0"}, peer=UNIX)


@pytest.mark.parametrize("header", ["forwarded", "via", "x_forwarded_for", "x_real_ip"])
def test_what_a_proxy_passes_on_may_not(header):
    with pytest.raises(PermissionDeniedError, match="proxy"):
        authorise({}, **{header: "somewhere"})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("open_control", [False, True])
def test_with_a_token_it_alone_counts(host, open_control):
    settings = {"host": host, "admin_token": "sesame", "open_control": open_control}
    authorise(settings, **TOKEN)
    authorise(settings, authorization="bearer  sesame")
    for metadata in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic sesame"},
        {"authorization": b"Bearer sesame"},
    ):
        with pytest.raises(UnauthenticatedError):
            authorise(settings, peer=UNIX, **metadata)


@pytest.mark.parametrize("token", [None, ""])
def test_open_control_lets_everybody_where_there_is_no_token(token):
    authorise({"host": "0.0.0.0", "open_control": True, "admin_token": token}, x_forwarded_for="somewhere")
