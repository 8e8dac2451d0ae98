"""Which transport serves, for each reason."""

import pytest

from tensorhost.server.grpc.choice import choose, grpcio_options, native_options, native_threads
from tensorhost.server.listener import CannotStartError
from tensorhost.settings import Settings


def settings(**values):
    return Settings(**{"grpc_port": 8500, "host": "127.0.0.1", **values})


def choice(has_native=True, **values):
    return str(choose(settings(**values), has_native=has_native))


def test_native_serves_where_only_this_machine_can_call():
    assert choice() == "native: only this machine can call"
    assert choice(host="0.0.0.0", grpc_port=0, grpc_socket_path="/tmp/x") == "native: only this machine can call"


def test_native_serves_strangers_where_any_size_is_allowed():
    assert choice(host="0.0.0.0", grpc_max_message_bytes=0) == "native: messages of any size are allowed"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"host": "0.0.0.0"}, "keeps grpc_max_message_bytes"),
        ({"host": "0.0.0.0", "grpc_max_message_bytes": 10**9}, "keeps grpc_max_message_bytes"),
        ({"tls_certfile": "a", "tls_keyfile": "b"}, "no TLS"),
        ({"grpc_ssl_config_file": "a"}, "no TLS"),
        ({"grpc_channel_arguments": "grpc.max_connection_age_ms=5"}, "grpc.max_connection_age_ms"),
        ({"grpc_channel_arguments": "grpc.keepalive_time_ms=often"}, "grpc.keepalive_time_ms"),
        ({"grpc_transport": "grpcio"}, "grpc_transport says so"),
        ({"has_native": False}, "not available for this platform"),
    ],
)
def test_grpcio_serves_where_native_cannot_keep_what_is_promised(values, why):
    assert choice(**values).startswith("grpcio: ")
    assert why in choice(**values)


def test_native_can_be_asked_for_where_strangers_call():
    assert choice(host="0.0.0.0", grpc_transport="native") == "native: grpc_transport says so"


@pytest.mark.parametrize(
    "values", [{"grpc_ssl_config_file": "a"}, {"has_native": False}, {"grpc_channel_arguments": "a=b"}]
)
def test_native_asked_for_in_vain_is_an_error(values):
    with pytest.raises(CannotStartError, match=r"^grpc_transport=native cannot be: "):
        choice(grpc_transport="native", **values)


def test_arguments_reach_native_in_its_words():
    arguments = "grpc.keepalive_time_ms=5000,grpc.keepalive_permit_without_calls=0,grpc.absolute_max_metadata_size=9999"
    assert native_options(settings(grpc_channel_arguments=arguments)) == {
        "keepalive_time_ms": 5000,
        "keepalive_permit_without_calls": False,
        "max_metadata_size": 9999,
    }


def test_arguments_beat_our_own_with_grpcio():
    options = grpcio_options(settings(grpc_channel_arguments="grpc.max_concurrent_streams=7,x=y"))
    assert options["grpc.max_concurrent_streams"] == 7
    assert options["x"] == "y"


@pytest.mark.parametrize(
    ("limit", "refused_unread"), [(0, -1), (1000, 2000), (2**26, 2**26 + 2**24), (2**31, 2**31 - 1), (2**40, 2**31 - 1)]
)
def test_grpcio_takes_in_a_little_more_than_is_allowed_to_say_which_setting_forbids_it(limit, refused_unread):
    options = grpcio_options(settings(grpc_max_message_bytes=limit))
    assert options["grpc.max_receive_message_length"] == refused_unread


def test_threads_are_as_many_as_set():
    assert native_threads(settings(grpc_max_threads=7)) == 7
    assert 1 <= native_threads(settings()) <= 2
