"""Where a gRPC server listens: ports, hosts, Unix sockets, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import socket
import sys

import grpc
import pytest
from grpc_serving import Client, asking, serving

from tensorhost.frontends.rpc import Rpc, StreamRpc
from tensorhost.server.grpc import GrpcServer, check_grpc, grpc_addresses
from tensorhost.server.listener import CannotStartError, reserve
from tensorhost.settings import Settings

ECHO = "/test.Echo/Say"


async def echo(request, context):
    return request + context.peer.encode()


async def ask_at(address, request=b""):
    client = Client(address)
    try:
        return await client.ask(ECHO, request)
    finally:
        await asyncio.to_thread(client.channel.close)


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s")  # the name of a Unix socket must be short


async def test_every_address_of_a_host_is_served_on_one_port(transport):
    async with serving([Rpc(ECHO, echo)], grpc_transport=transport, host="localhost") as server:
        assert len({address.rpartition(":")[2] for address in server.addresses}) == 1
        for address in server.addresses:
            assert (await ask_at(address)).startswith(b"ipv")


async def test_two_colons_serve_both_families(transport):
    async with serving([Rpc(ECHO, echo)], grpc_transport=transport, host="::") as server:
        port = server.addresses[0].rpartition(":")[2]
        for address in (f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert await ask_at(address)


async def test_a_unix_socket_is_served_beside_tcp(transport, folder):
    path = folder / "grpc"
    async with serving([Rpc(ECHO, echo)], grpc_transport=transport, grpc_socket_path=path) as server:
        assert server.addresses[-1] == f"unix:{path}"
        assert (await ask_at(server.addresses[-1])).startswith(b"unix:")
        assert (await ask_at(server.addresses[0])).startswith(b"ipv4:")
    assert list(folder.iterdir()) == []


async def test_a_unix_socket_alone(transport, folder):
    settings = {"grpc_transport": transport, "grpc_port": 0, "grpc_socket_path": folder / "grpc"}
    async with serving([Rpc(ECHO, echo)], **settings) as server:
        assert server.addresses == [f"unix:{folder / 'grpc'}"]
        assert await ask_at(server.addresses[0])


async def test_the_last_server_on_a_unix_socket_wins_and_the_first_takes_nothing_from_it(transport, folder):
    settings = {"grpc_transport": transport, "grpc_port": 0, "grpc_socket_path": folder / "grpc"}

    async def second(_request, _context):
        return b"second"

    async with serving([Rpc(ECHO, echo)], **settings) as first, serving([Rpc(ECHO, second)], **settings) as later:
        await first.close(0)
        assert await ask_at(later.addresses[0]) == b"second"


async def test_a_socket_left_behind_is_replaced_and_a_file_is_not(transport, folder):
    settings = {"grpc_transport": transport, "grpc_port": 0, "grpc_socket_path": folder / "grpc"}
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "grpc"))
    async with serving([Rpc(ECHO, echo)], **settings) as server:
        assert await ask_at(server.addresses[0])
    (folder / "grpc").write_text("precious")
    with pytest.raises(CannotStartError, match="taken by something that is no socket"):
        async with serving([Rpc(ECHO, echo)], **settings):
            pass
    assert (folder / "grpc").read_text() == "precious"


@pytest.mark.parametrize(("name", "problem"), [("x" * 120, "too long"), ("missing/grpc", "no folder to write to")])
async def test_a_socket_that_cannot_be_made_is_one_clear_sentence(transport, folder, name, problem):
    with pytest.raises(CannotStartError, match=problem):
        async with serving([Rpc(ECHO, echo)], grpc_transport=transport, grpc_socket_path=folder / name):
            pass


async def test_a_port_in_use_names_port_and_host_whoever_has_it(transport):
    async with serving([Rpc(ECHO, echo)], grpc_transport=transport) as server:
        port = int(server.addresses[0].rpartition(":")[2])
        with pytest.raises(CannotStartError) as raised:
            async with serving([Rpc(ECHO, echo)], grpc_transport=transport, grpc_port=port):
                pass
        assert raised.value.message == (
            f"Port {port} on 127.0.0.1 is already in use; choose another port, or -1 for any free one."
        )
        assert await ask_at(server.addresses[0])


async def test_a_port_in_use_by_one_that_shares_its_own_is_not_joined(transport):
    if sys.platform != "linux":
        return
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(CannotStartError, match="already in use"):
            async with serving([Rpc(ECHO, echo)], grpc_transport=transport, grpc_port=stranger.getsockname()[1]):
                pass


async def test_processes_share_a_port_that_is_held_for_them(transport):
    if sys.platform != "linux":
        return
    (holder,) = reserve("127.0.0.1", 0, shared=True)
    with holder:
        settings = Settings(grpc_port=holder.getsockname()[1], grpc_transport=transport)
        servers = [GrpcServer([Rpc(ECHO, echo)], settings, lambda _context: None, shared=True) for _ in range(2)]
        for server in servers:
            await server.open()
        assert servers[0].addresses == servers[1].addresses == grpc_addresses(settings)
        for server in servers:
            # The other answers alone, or later nobody does.
            assert await ask_at(server.addresses[0])
            assert await server.close(asyncio.get_running_loop().time() + 5) == 0


async def test_what_fails_to_open_leaves_nothing_open(transport, folder):
    async def stream(_requests, _context):
        yield b""

    (folder / "grpc").write_text("in the way")
    rpcs = [Rpc(ECHO, echo), StreamRpc("/test.Echo/Stream", stream)]
    (holder,) = reserve("127.0.0.1", 0)
    port = holder.getsockname()[1]
    holder.close()
    with pytest.raises(CannotStartError):
        async with serving(rpcs, grpc_transport=transport, grpc_port=port, grpc_socket_path=folder / "grpc"):
            pass
    async with serving(rpcs, grpc_transport=transport, grpc_port=port) as server, asking(server) as client:
        assert await client.ask(ECHO)


def test_settings_without_grpc_have_no_transport_and_no_address():
    assert check_grpc(Settings(grpc_port=0)) is None
    assert grpc_addresses(Settings(grpc_port=0)) == []


async def test_native_has_no_tls_and_says_so(folder):
    with pytest.raises(CannotStartError, match="it has no TLS"):
        async with serving([Rpc(ECHO, echo)], grpc_transport="native", grpc_ssl_config_file=folder / "x"):
            pass


async def test_channel_arguments_have_an_effect(transport):
    arguments = "grpc.absolute_max_metadata_size=1024,grpc.max_metadata_size=1024"
    if transport == "native":
        arguments = "grpc.absolute_max_metadata_size=1024"
    async with (
        serving([Rpc(ECHO, echo)], grpc_transport=transport, grpc_channel_arguments=arguments) as server,
        asking(server) as client,
    ):
        refusal = await client.refusal(ECHO, metadata=[("long", "x" * 5000)])
        assert refusal.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        assert await client.ask(ECHO)
