import asyncio
import signal
import subprocess
import sys
import threading

import pytest

from tensorhost.server.listener import CannotStartError
from tensorhost.server.stop import STOP_SIGNALS, serve, stop_on_signal
from tensorhost.settings import Settings

SETTINGS = Settings(port=0, drain_window_s=0, grpc_port=0)


async def app(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


class Calls:
    def __init__(self, stop=None):
        self.names = []
        self.stop = stop

    def options(self):
        return {"on_ready": self.on_ready, "on_drain": self.on_drain, "on_stopped": self.on_stopped, "stop": self.stop}

    def on_ready(self, servers):
        self.names.append("ready")
        assert servers.http.port > 0
        if self.stop is not None:
            self.stop.set()

    def on_drain(self):
        self.names.append("drain")

    async def on_stopped(self, report):
        self.names.append("stopped" if report.clean else "cut off")


async def test_the_callbacks_come_in_order():
    calls = Calls(asyncio.Event())
    assert (await serve(app, SETTINGS, **calls.options())).clean
    assert calls.names == ["ready", "drain", "stopped"]


async def test_a_server_that_cannot_start_calls_nothing():
    calls = Calls()
    with pytest.raises(CannotStartError):
        await serve(app, Settings(host="192.0.2.1", port=0), **calls.options())
    assert calls.names == []


async def test_the_sockets_are_closed_when_the_caller_fails():
    ports = []

    def fail(servers):
        ports.append(servers.http.port)
        raise LookupError

    calls = Calls()
    with pytest.raises(LookupError):
        await serve(app, SETTINGS, **(calls.options() | {"on_ready": fail}))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", ports[0])


def test_it_runs_outside_the_main_thread_without_signals():
    names = []

    async def main():
        calls = Calls(asyncio.Event())
        await serve(app, SETTINGS, **calls.options())
        names.extend(calls.names)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert names == ["ready", "drain", "stopped"]


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_one_signal_sets_the_event_and_the_handlers_are_put_back(number):
    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    stop = asyncio.Event()
    with stop_on_signal(stop, hung_after_s=60):
        signal.raise_signal(number)
        await stop.wait()
    assert {each: signal.getsignal(each) for each in STOP_SIGNALS} == before
    assert not any(thread.name == "tensorhost-signals" for thread in threading.enumerate())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stop_that_hangs_ends_the_process(loop):
    script = f"""
import asyncio, signal, time, {loop}
from tensorhost.server.stop import stop_on_signal
async def main():
    stop = asyncio.Event()
    with stop_on_signal(stop, hung_after_s=0.1):
        signal.raise_signal(signal.SIGTERM)
        await stop.wait()
        time.sleep(3600)
{loop}.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)
    assert ended.returncode == 70
    assert b"the stop hangs" in ended.stderr
