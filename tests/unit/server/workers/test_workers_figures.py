"""The metrics of several workers, with workers that only take notes. Virtual time: nobody waits."""

import asyncio

import pytest

from tensorhost.server.workers.figures import Figures
from tensorhost.server.workers.messages import Reported
from tensorhost.server.workers.slots import Phase, Slot
from tensorhost.telemetry.metrics import MetricsCollector
from tensorhost.telemetry.view_message import ViewMessage

pytestmark = pytest.mark.looptime


class NotedWorker:
    pid = 1

    def __init__(self):
        self.asked = []

    def send(self, message):
        self.asked.append(message.id)


class Group:
    def __init__(self, *phases):
        self.slots = [Slot(phase) for phase in phases]
        self.workers = {number: NotedWorker() for number in range(len(phases))}
        self.figures = Figures(self.slots, self.workers)

    def report(self, number, requests):
        collector = MetricsCollector()
        collector.version("m", "1").requests = requests
        message = Reported(id=self.workers[number].asked[-1], view=ViewMessage.of(collector.view()))
        self.figures.reported(number, message)


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_workers_that_can_answer_are_asked_and_added_up():
    group = Group(Phase.READY, Phase.LOADING, Phase.DOWN)
    reading = asyncio.create_task(group.figures.collect())
    await turn()
    assert [len(worker.asked) for worker in group.workers.values()] == [1, 1, 0]
    group.report(0, 3)
    group.report(1, 4)
    view = await reading
    assert view.totals.requests == 7
    assert (view.workers.count, view.workers.ready, view.workers.restarts) == (3, 1, 0)


async def test_a_worker_that_does_not_answer_is_shown_as_last_seen_and_not_asked_twice():
    group = Group(Phase.READY, Phase.READY)
    reading = asyncio.create_task(group.figures.collect())
    await turn()
    group.report(0, 3)
    group.report(1, 4)
    await reading
    reading = asyncio.create_task(group.figures.collect())
    await turn()
    group.report(0, 5)
    assert (await reading).totals.requests == 9
    reading = asyncio.create_task(group.figures.collect())
    await turn()
    assert [len(worker.asked) for worker in group.workers.values()] == [3, 2]
    group.report(0, 6)
    group.report(1, 8)
    assert (await reading).totals.requests == 14


async def test_what_a_lost_worker_counted_stays_and_nobody_waits_for_it():
    group = Group(Phase.READY, Phase.READY)
    reading = asyncio.create_task(group.figures.collect())
    await turn()
    group.report(0, 3)
    group.report(1, 4)
    await reading
    reading = asyncio.create_task(group.figures.collect())
    await turn()
    group.slots[1].died(0.0)
    del group.workers[1]
    group.figures.lost(1)
    group.report(0, 5)
    view = await reading
    assert (view.totals.requests, view.workers.ready, view.workers.restarts) == (9, 1, 1)


async def test_readers_that_come_together_share_the_answers_but_none_gets_older_ones():
    group = Group(Phase.READY)
    first = asyncio.create_task(group.figures.collect())
    await turn()
    later = [asyncio.create_task(group.figures.collect()) for _ in range(5)]
    await turn()
    assert len(group.workers[0].asked) == 1
    group.report(0, 1)
    await turn()
    assert len(group.workers[0].asked) == 2
    assert (await first).totals.requests == 1
    group.report(0, 2)
    assert [(await each).totals.requests for each in later] == [2] * 5
    assert len(group.workers[0].asked) == 2
