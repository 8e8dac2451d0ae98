import os
import signal
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from benchmarks.contenders import Contender
from benchmarks.models import Model
from benchmarks.protocols import NATIVE
from benchmarks.servers import WrongAnswerError, run_servers

MODEL = Model("m", Path("m"), [[1]], np.array([[2.0]], np.float32))
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def contender(name, answer, peer="someone"):
    return Contender(
        name, (sys.executable, "-c", SERVER, "{port}", answer.replace("{", "{{").replace("}", "}}")), peer=peer
    )


RIGHT = contender("right", '{"predictions": [[2.0]]}')
WRONG = contender("wrong", '{"predictions": [[3.0]]}')
GONE = Contender("gone", (sys.executable, "-c", "raise SystemExit('no model')"), peer="someone")


def await_stop(pid):
    """Block until the signal has arrived; the process must be a child of this one."""
    assert os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT).si_status == signal.SIGSTOP


def test_servers_wait_their_turn_stopped_and_answer_in_it():
    with run_servers([RIGHT], MODEL) as (server,):
        await_stop(server.pid)
        server.resume()
        server.settle(0)
        server.pause()
        await_stop(server.pid)
    assert not psutil.pid_exists(server.pid)


def test_those_that_do_not_come_to_serve_are_left_out_with_the_reason():
    failures: dict[str, str] = {}
    with run_servers([WRONG, RIGHT, GONE], MODEL, failures=failures) as servers:
        assert [server.name for server in servers] == ["right"]
    assert failures.keys() == {"wrong", "gone"}
    assert "answers m wrongly" in failures["wrong"]
    assert "did not start serving m" in failures["gone"]


def test_without_a_place_for_reasons_the_first_failure_raises():
    with pytest.raises(TimeoutError, match="no model"), run_servers([GONE], MODEL):
        pass


def test_tensorhosts_own_failure_always_raises():
    ours = contender("tensorhost", "[]", peer="")
    with pytest.raises(WrongAnswerError), run_servers([ours], MODEL, failures={}):
        pass


def test_an_answer_that_turns_wrong_while_settling_is_noticed():
    with run_servers([RIGHT], MODEL) as (server,):
        server.resume()
        server.model = Model("m", Path("m"), [[1]], np.array([[5.0]], np.float32))
        with pytest.raises(WrongAnswerError):
            server.settle(0, NATIVE)
