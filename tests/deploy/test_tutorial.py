"""The tutorial, from the first block to the last, in an empty folder and with a real Prometheus."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from doc_examples import ROOT, WALKED
from doc_walkthrough import Walk, line_difference


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", sorted(WALKED))
def test_the_page_can_be_followed_as_it_stands(page, tmp_path):
    http, prometheus = _free_ports(2)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENSORHOST_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "NO_PROXY": "localhost",
        "PORT": str(http),
        "TENSORHOST_GRPC_PORT": "0",
        "CUDA_VISIBLE_DEVICES": "",
    }
    (tmp_path / "tutorial").mkdir()
    with Walk(tmp_path / "tutorial", environment, {"3000": http, "9091": prometheus}) as walk:
        assert walk.through(ROOT / page) > 10
        walk.press_ctrl_c()
        assert walk.exit_codes == {"server": 0, "prometheus": 0}, walk.seen("server")
        assert "Traceback" not in walk.seen("server")


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("one", "two"),
        ("one\ntwo", "two\none"),
        ("version 1: 86%", "version 1: 60%"),
        ("version 1: 86%", "version 2: 86%"),
        ("a … c", "a b d"),
        ("one", ""),
    ],
)
def test_what_was_not_printed_is_seen(written, printed):
    assert line_difference(written, printed) is not None


def test_ellipses_and_close_numbers_are_the_same():
    printed = "loading\ndigits\n  version 1, 72.9 KiB, runs on tensorflow\n"
    assert line_difference("digits\n  version 1, …, runs on …", printed) is None
    assert line_difference("86% of 360 are right", "87% of 360 are right") is None
