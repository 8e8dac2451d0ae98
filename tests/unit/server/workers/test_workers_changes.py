"""Changes of what all processes have in common, with workers that only take notes."""

import asyncio
import logging
import os

import pytest

from tensorhost.core.errors import OverloadedError
from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import Region, Regions
from tensorhost.models.probe_messages import Failed
from tensorhost.server.workers.change_messages import LogLevelMessage, Registration, Unregistration
from tensorhost.server.workers.changes import Changes
from tensorhost.server.workers.messages import Done
from tensorhost.server.workers.rounds import Rounds
from tensorhost.telemetry.log_level import LogLevel

FULL = Failed.of(OverloadedError("It has too many files."))


class NotedWorker:
    def __init__(self):
        self.told = []
        self.files = []

    def send(self, message, files=()):
        self.told.append(message)
        self.files.append([os.fstat(file).st_ino for file in files])


class Server:
    def __init__(self, folder, count=2):
        self.file = folder / "tensorhost_a"
        self.file.write_bytes(bytes(16))
        self.workers = {number: NotedWorker() for number in range(count)}
        self.rounds = Rounds(self.workers)
        self.state = ProcessState(Regions("tensorhost_", folder), LogLevel())
        self.changes = Changes(self.state, self.rounds)

    def ask(self, change):
        return asyncio.create_task(self.changes.make(change))

    async def answer(self, number, failure=None):
        """Worker ``number`` answers what it was told last."""
        await turn()
        self.rounds.done(number, Done(id=self.workers[number].told[-1].id, failure=failure))
        await turn()

    def told(self, number):
        return [message.change for message in self.workers[number].told]


@pytest.fixture
async def server(tmp_path):
    made = Server(tmp_path)
    yield made
    made.state.regions.close()


def registration(name="r", byte_size=8):
    return Registration.of(Region(name, "tensorhost_a", 0, byte_size))


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_region_is_opened_once_and_goes_to_all_workers(server):
    call = server.ask(registration())
    await server.answer(0)
    assert not call.done()
    await server.answer(1)
    assert await call is None
    assert server.told(0) == server.told(1) == [registration()]
    assert server.workers[0].files == server.workers[1].files == [[server.file.stat().st_ino]]
    assert server.state.regions.registered() == [registration().region()]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (registration(byte_size=17), "InvalidRequestError"),
        (registration("taken"), "AlreadyExistsError"),
        (Registration(name="r", key="other", offset=0, byte_size=8), "PermissionDeniedError"),
        (Registration(name="r", key="tensorhost_none", offset=0, byte_size=8), "NotFoundError"),
    ],
)
async def test_what_cannot_be_is_refused_and_no_worker_hears_of_it(server, change, kind):
    server.state.regions.register(registration("taken").region())
    failure = await server.changes.make(change)
    assert failure.kind == kind
    assert server.told(0) == server.told(1) == []
    assert [each.name for each in server.state.regions.registered()] == ["taken"]


async def test_what_one_worker_cannot_is_taken_back_on_all(server):
    call = server.ask(registration())
    await server.answer(0)
    await server.answer(1, FULL)
    assert not call.done()
    assert server.told(0) == server.told(1) == [registration(), Unregistration(name="r")]
    assert server.state.regions.registered() == []
    await server.answer(0)
    await server.answer(1)
    assert await call == FULL


async def test_a_worker_that_ends_meanwhile_has_not_failed_and_the_next_has_the_region(server):
    call = server.ask(registration())
    await server.answer(0)
    del server.workers[1]
    server.rounds.lost(1)
    assert await call is None
    assert server.state.regions.registered() == [registration().region()]
    assert server.told(0) == [registration()]


async def test_changes_are_made_one_after_another(server):
    first, second = server.ask(registration()), server.ask(Unregistration(name=""))
    await turn()
    assert server.told(0) == [registration()]
    for number in (0, 1):
        await server.answer(number)
    assert await first is None
    assert server.told(0) == server.told(1) == [registration(), Unregistration(name="")]
    for number in (0, 1):
        await server.answer(number)
    assert await second is None
    assert server.state.regions.registered() == []


async def test_the_log_level_is_that_of_the_supervisor_too(server):
    root = logging.getLogger()
    before = root.level
    change = LogLevelMessage(level=logging.DEBUG, verbosity=3)
    try:
        call = server.ask(change)
        for number in (0, 1):
            await server.answer(number)
        assert await call is None
        assert (root.level, server.state.log_level.verbosity) == (logging.DEBUG, 3)
    finally:
        root.setLevel(before)
    assert server.told(0) == server.told(1) == [change]


async def test_too_many_calls_are_refused(server):
    calls = [server.ask(Unregistration(name="r")) for _ in range(64)]
    await turn()
    refused = await server.changes.make(registration())
    assert refused.kind == "OverloadedError"
    for _ in calls:
        for number in (0, 1):
            await server.answer(number)
    assert await asyncio.gather(*calls) == [None] * 64
