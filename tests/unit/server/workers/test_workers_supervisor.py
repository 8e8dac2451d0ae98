"""The supervisor with workers that end at once; with real ones it is tested in tests/integration/test_workers.py."""

import asyncio
import errno
import signal
import sys

import pytest

from tensorhost.server.listener import CannotStartError
from tensorhost.server.workers import process
from tensorhost.server.workers.supervisor import Supervisor
from tensorhost.settings import Settings

SETTINGS = Settings(port=0, drain_window_s=0)


async def test_workers_that_never_start_end_the_server(monkeypatch):
    if sys.platform != "linux":  # there is one worker only
        return
    monkeypatch.setattr(process, "_MODULE", ("-c", "raise SystemExit(3)"))
    assert await Supervisor(SETTINGS, 2).run() == 1


async def test_what_a_worker_says_is_checked_and_one_that_talks_nonsense_is_ended(monkeypatch):
    if sys.platform != "linux":
        return
    script = "import os, sys, time; os.write(int(sys.argv[2]), b'nonsense' + bytes([10])); time.sleep(3600)"
    monkeypatch.setattr(process, "_MODULE", ("-c", script))
    assert await Supervisor(SETTINGS, 1).run() == 1


async def test_a_signal_while_workers_start_ends_them(monkeypatch):
    if sys.platform != "linux":
        return
    # It reads what the supervisor says and ends, as a worker does that is told to stop.
    script = "import os, sys; [None for _ in iter(lambda: b'stop' in os.read(int(sys.argv[2]), 2**20), True)]"
    monkeypatch.setattr(process, "_MODULE", ("-c", script))
    supervisor = Supervisor(SETTINGS, 2)
    begin = process.WorkerProcess.start

    async def start(listeners):
        worker = await begin(listeners)
        if len(supervisor._workers) == 1:
            signal.raise_signal(signal.SIGTERM)
        return worker

    monkeypatch.setattr(process.WorkerProcess, "start", start)
    assert await supervisor.run() == 0


async def test_a_worker_that_its_files_do_not_reach_is_ended_before_it_takes_others_for_them(monkeypatch):
    if sys.platform != "linux":
        return

    def refuse(_line, _files):
        raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")

    until_the_line_ends = "import os, sys; [None for _ in iter(lambda: os.read(int(sys.argv[2]), 2**16), b'')]"
    monkeypatch.setattr(process, "_MODULE", ("-c", until_the_line_ends))
    monkeypatch.setattr(process, "send_files", refuse)
    async with asyncio.timeout(30):
        assert await Supervisor(SETTINGS, 2)._run_one(0) == -signal.SIGKILL


async def test_an_address_that_cannot_be_used_starts_nothing():
    with pytest.raises(CannotStartError):
        await Supervisor(Settings(host="192.0.2.1", port=0), 2).run()


async def test_tls_files_are_checked_before_anything_starts(tmp_path):
    missing = tmp_path / "missing.pem"
    with pytest.raises(CannotStartError, match="missing"):
        await Supervisor(Settings(port=0, tls_certfile=missing, tls_keyfile=missing), 2).run()
