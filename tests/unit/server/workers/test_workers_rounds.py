"""Telling all workers, and waiting for each until it has answered or ended."""

import asyncio

from tensorhost.core.errors import ModelFailedError
from tensorhost.models.probe_messages import Failed
from tensorhost.server.workers.messages import Done, Report
from tensorhost.server.workers.rounds import Outcome, Rounds

FAILURE = Failed.of(ModelFailedError("It is broken."))


class NotedWorker:
    def __init__(self):
        self.told = []

    def send(self, message, files=()):
        self.told.append((message, files))


async def test_each_worker_is_told_and_waited_for_until_it_has_answered_or_ended():
    workers = {slot: NotedWorker() for slot in (0, 2, 5)}
    rounds = Rounds(workers)
    told = asyncio.create_task(rounds.tell(lambda slot, number: Report(id=10 * number + slot), [7]))
    await asyncio.sleep(0)
    assert [worker.told for worker in workers.values()] == [[(Report(id=slot), [7])] for slot in (0, 2, 5)]
    workers[9] = NotedWorker()  # one that starts meanwhile
    rounds.done(2, Done(id=0, added=("1",)))
    rounds.done(2, Done(id=0, failure=FAILURE))  # it has answered already
    rounds.done(0, Done(id=99))  # what nobody asked
    rounds.lost(9)
    rounds.done(0, Done(id=0, failure=FAILURE))
    await asyncio.sleep(0)
    assert not told.done()
    rounds.lost(5)
    outcomes = await told
    assert outcomes[0] == Outcome(FAILURE)
    assert outcomes[2] == Outcome(added=("1",))
    assert (outcomes[5].ended, outcomes[5].failure.kind) == (True, "ModelFailedError")
    assert workers[9].told == []


async def test_rounds_are_told_apart_by_their_numbers():
    worker = NotedWorker()
    rounds = Rounds({0: worker})
    first, second = (asyncio.create_task(rounds.tell(lambda _, number: Report(id=number))) for _ in range(2))
    await asyncio.sleep(0)
    (_, _), (later, files) = worker.told
    rounds.done(0, Done(id=later.id))
    assert await second == {0: Outcome()}
    assert not first.done()
    assert files == ()
    rounds.lost(0)
    assert (await first)[0].ended
