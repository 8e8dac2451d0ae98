import sys

import pytest

from tensorhost.server import assembly
from tensorhost.settings import Settings


@pytest.mark.parametrize(
    ("given", "connections"),
    [({"grpc_port": 0}, 100), ({"grpc_port": 8500}, 200), ({"grpc_port": 0, "grpc_socket_path": "/tmp/g"}, 200)],
)
def test_connections_of_one_protocol_do_not_take_the_open_files_of_the_other(monkeypatch, given, connections):
    asked = []

    async def main():
        return 0

    monkeypatch.setattr(assembly, "allow_open_files", asked.append)
    monkeypatch.setattr(assembly, "configure_logging", lambda *_args, **_fields: None)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _seconds: None)
    assert assembly.run_process(Settings(max_connections=100, **given), main) == 0
    assert connections < asked[0] < connections + 500
