import contextlib
import socket
import sys

import pytest

from tensorhost.server.listener import (
    CannotStartError,
    accept_pending,
    listen,
    listen_together,
    stop_new_connections,
)


@contextlib.contextmanager
def listening(host, port=0):
    sockets = listen(host, port)
    try:
        yield sockets
    finally:
        for listener in sockets:
            listener.close()


def test_a_free_port_is_chosen_and_shared_by_all_addresses():
    with listening("localhost") as sockets:
        assert len({listener.getsockname()[1] for listener in sockets}) == 1
        assert sockets[0].getsockname()[1] > 0


def test_two_colons_listen_on_both_families():
    with listening("::") as (listener,):
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=1).close()


def test_a_port_in_use_names_port_and_host():
    with listening("127.0.0.1") as (listener,):
        port = listener.getsockname()[1]
        with pytest.raises(CannotStartError) as raised:
            listen("127.0.0.1", port)
    assert raised.value.message == (
        f"Port {port} on 127.0.0.1 is already in use; choose another port, or 0 for any free one."
    )


def test_a_foreign_address_is_refused():
    with pytest.raises(CannotStartError, match=r"^The address 192\.0\.2\.1 does not belong to this machine\.$"):
        listen("192.0.2.1", 0)


def test_an_unknown_host_is_refused():
    with pytest.raises(CannotStartError, match=r"^The host 'no host' is not known on this machine\.$"):
        listen("no host", 0)


def test_everything_the_kernel_holds_is_accepted_without_waiting():
    with listening("127.0.0.1") as (listener,), contextlib.ExitStack() as stack:
        assert list(accept_pending(listener)) == []
        for _ in range(5):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        accepted = list(accept_pending(listener))
        for connection in accepted:
            assert not connection.getblocking()
            connection.close()
        assert len(accepted) == 5


def test_after_the_stop_held_connections_remain_and_new_ones_do_not_come_in():
    with listening("127.0.0.1") as (listener,), socket.create_connection(listener.getsockname()):
        stop_new_connections(listener)
        if sys.platform == "linux":  # the others cannot keep new clients out of a listening socket
            with pytest.raises(TimeoutError):
                socket.create_connection(listener.getsockname(), timeout=0.1)
        accepted = list(accept_pending(listener))
        assert len(accepted) == 1
        accepted[0].close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::"])
def test_together_they_share_a_port_that_no_other_server_gets(host):
    if sys.platform != "linux":  # the others do not spread connections, and run one worker only
        return
    groups = listen_together(host, [0], 3)
    with contextlib.ExitStack() as stack:
        for listener in (listener for group in groups for listener in group):
            stack.callback(listener.close)
        port = groups[0][0].getsockname()[1]
        assert {listener.getsockname()[1] for group in groups for listener in group} == {port}
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        counts = []
        for group in groups:
            accepted = [connection for listener in group for connection in accept_pending(listener)]
            counts.append(len(accepted))
            for connection in accepted:
                connection.close()
        assert sum(counts) == 60
        assert all(counts)
        with pytest.raises(CannotStartError, match="already in use"):
            listen_together(host, [port], 2)
