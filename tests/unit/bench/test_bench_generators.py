"""Generator processes for real, against a server that answers what the test says; one connection per answer."""

from __future__ import annotations

import asyncio
import os
import resource
import signal

import pytest

from tensorhost.bench import GeneratorError, Generators, Load
from tensorhost.bench.bodies import http_target
from tensorhost.bench.loops import loop_factory

BODY = b'{"inputs": [1]}'
TEN = Load(2, duration_s=None, requests=10, warmup_s=0.0)
LONG = Load(2, duration_s=300.0, warmup_s=0.0)


def ignore(*_arguments):
    pass


def generators(url, *loads, count=1):
    return Generators(http_target(url, len(BODY)), loads, BODY, count=count)


@pytest.mark.parametrize("count", [1, 2])
def test_two_loads_one_after_the_other(stub, count):
    told = []
    with generators(stub.url, TEN, TEN, count=count) as running:
        assert running.ready() == {}
        for _ in range(2):
            tally = running.run(ignore, lambda: told.append("measuring"))
            assert (tally.answered, tally.failed, tally.gone) == (10, 0, False)
            assert tally.cpu_s > 0
    assert told == ["measuring"] * 2
    assert len(stub.asked) == 20
    assert {asked.path for asked in stub.asked} == {"/predict"}


def test_errors_are_the_servers_own_codes(stub):
    stub.answers({"error": {"code": "OVERLOADED"}}, 503)
    with generators(stub.url, TEN) as running:
        running.ready()
        assert running.run(ignore, ignore).errors == {"OVERLOADED": 10}


@pytest.mark.parametrize("rate", [None, 100.0])
def test_stopping_in_the_middle_gives_what_was_measured(stub, rate):
    load = Load(2, rate=rate, duration_s=300.0, warmup_s=0.0)
    with generators(stub.url, load) as running:
        running.ready()

        def stop_once_there_are_answers(_kind, parts):
            if parts[0]["answered"]:
                running.stop()

        tally = running.run(stop_once_there_are_answers, ignore)
    assert tally.answered > 0
    assert tally.elapsed_s < 100


def test_stopping_while_it_warms_up_measures_nothing(stub):
    with generators(stub.url, Load(1, warmup_s=300.0)) as running:
        running.ready()
        tally = running.run(lambda kind, _: running.stop() if kind == "warming" else None, ignore)
    assert (tally.answered, tally.failed) == (0, 0)


@pytest.mark.parametrize("count", [1, 2])
def test_stopping_between_two_loads_measures_no_more(stub, count):
    with generators(stub.url, TEN, LONG, count=count) as running:
        running.ready()
        assert running.run(ignore, ignore).answered == 10
        running.stop()
        tally = running.run(ignore, ignore)
    assert (tally.answered, tally.failed) == (0, 0)


def test_a_generator_that_dies_is_an_error(stub):
    with generators(stub.url, LONG) as running:
        running.ready()
        (process,) = running._processes
        with pytest.raises(GeneratorError, match="exit code -9") as died:
            running.run(lambda *_: os.kill(process.pid, signal.SIGKILL), ignore)
    assert died.value.code == "INTERNAL"


def test_nobody_there(closed_url):
    with generators(closed_url, TEN) as running:
        running.ready()
        with pytest.raises(GeneratorError, match="No connection could be made") as refused:
            running.run(ignore, ignore)
    assert refused.value.code == "UNREACHABLE"


def test_too_few_open_files_are_no_unreachable_server(stub):
    with generators(stub.url, Load(64, warmup_s=0.0)) as running:
        running.ready()
        (process,) = running._processes
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (32, 32))
        with pytest.raises(GeneratorError, match=r"^Too many open files: .*ulimit -n") as limited:
            running.run(ignore, ignore)
    assert limited.value.code == "TOO_MANY_OPEN_FILES"


def test_a_generator_may_open_as_many_files_as_it_needs(stub):
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = 3000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before, 1024), hard))
    try:
        with generators(stub.url, TEN, Load(connections)) as running:
            running.ready()
            (process,) = running._processes
            soft, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    assert soft > connections or soft == hard != resource.RLIM_INFINITY


def test_leaving_with_an_error_ends_the_processes(stub):
    running = generators(stub.url, LONG, count=2)

    def interrupted():
        with running:
            running.ready()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [process.returncode for process in running._processes] == [-9, -9]


@pytest.mark.parametrize("exact_timers", [True, False])
def test_a_loop_carries_timers_and_sockets(exact_timers):
    async def talk():
        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            loop = asyncio.get_running_loop()
            loop.call_later(0.0003, writer.write, b"hello\n")
            answer = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return answer

    with asyncio.Runner(loop_factory=loop_factory(exact_timers=exact_timers)) as runner:
        assert runner.run(talk()) == b"hello\n"
