"""Every asynchronous test of the HTTP server runs on both event loops it supports."""

import asyncio

import pytest
import uvloop
from certificates import make_certificate


def pytest_asyncio_loop_factories():
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    root = make_certificate(folder, "root")
    return {
        "root": root,
        "server": make_certificate(folder, "server", issuer=root),
        "client": make_certificate(folder, "client", issuer=root),
    }
