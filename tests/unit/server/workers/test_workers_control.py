"""Control calls with workers that only take notes."""

import asyncio
from pathlib import Path

from tensorhost.core.errors import (
    AlreadyLoadedError,
    LabelNotReadyError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
)
from tensorhost.models.listed import ListedModel
from tensorhost.models.probe_messages import Failed
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.workers.control import ControlCalls
from tensorhost.server.workers.messages import Done
from tensorhost.server.workers.rounds import Rounds

LOAD, UNLOAD = (Wish(action, "m") for action in (Action.LOAD, Action.UNLOAD))
ADD = Wish(Action.ADD, "m", "1", Path("/a"))
ALREADY = Failed.of(AlreadyLoadedError("Model m is already loaded."))
FAILURE = Failed.of(ModelFailedError("It is broken."))
NOT_THERE = Failed.of(ModelNotFoundError("There is none."))


class NotedWorker:
    def __init__(self):
        self.told = []
        self.killed = False

    def send(self, message, files=()):
        self.told.append(message)

    def kill(self):
        self.killed = True


class Group:
    def __init__(self, count=2, **options):
        self.workers = {number: NotedWorker() for number in range(count)}
        self.rounds = Rounds(self.workers)
        self.calls = ControlCalls(self.workers, self.rounds, **options)

    def ask(self, wish):
        return asyncio.create_task(self.calls.carry_out(wish))

    async def answer(self, number, failure=None, added=()):
        """Worker ``number`` answers what it was told last."""
        await turn()
        self.rounds.done(number, Done(id=self.workers[number].told[-1].id, failure=failure, added=added))
        await turn()

    def wishes(self, number):
        return [message.wish.wish() for message in self.workers[number].told]


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_is_answered_after_the_last_worker():
    group = Group()
    call = group.ask(LOAD)
    await group.answer(0)
    assert not call.done()
    await group.answer(1)
    assert await call is None
    assert group.wishes(0) == group.wishes(1) == [LOAD]
    assert group.calls.journal.wishes() == (LOAD,)


async def test_calls_about_one_model_run_one_after_another_and_others_meanwhile():
    group = Group()
    first, second, other = group.ask(LOAD), group.ask(UNLOAD), group.ask(Wish(Action.LOAD, "n"))
    await turn()
    assert group.wishes(0) == group.wishes(1) == [LOAD, Wish(Action.LOAD, "n")]
    for number in (0, 1):
        for told in list(group.workers[number].told):
            group.rounds.done(number, Done(id=told.id))
    assert await first is None
    assert await other is None
    await group.answer(0)
    await group.answer(1)
    assert await second is None
    assert group.calls.journal.wishes() == (Wish(Action.LOAD, "n"), UNLOAD)


async def test_what_fails_everywhere_is_that_failure():
    group = Group()
    call = group.ask(LOAD)
    await group.answer(0, FAILURE)
    await group.answer(1, FAILURE)
    assert await call == FAILURE
    assert group.wishes(0) == [LOAD]


async def test_what_could_not_be_added_is_not_in_the_journal():
    group = Group()
    first, second = group.ask(ADD), group.ask(ADD)
    await group.answer(0, added=("1",))
    await group.answer(1, added=("1",))
    assert await first is None
    loaded = Wish(Action.LOAD, "m", "1", Path("/a"))
    assert group.calls.journal.wishes() == (loaded,)
    await group.answer(0, ALREADY)
    await group.answer(1, ALREADY)
    assert await second == ALREADY
    assert group.calls.journal.wishes() == (loaded,)
    broken = group.ask(Wish(Action.ADD, "n", "1", Path("/n")))
    await group.answer(0, FAILURE)
    await group.answer(1, FAILURE)
    assert await broken == FAILURE
    assert group.calls.journal.wishes() == (loaded,)


async def test_a_worker_that_has_added_what_others_have_had_all_along_is_replaced():
    group = Group()
    call = group.ask(ADD)
    await group.answer(0, added=("1",))
    await group.answer(1, ALREADY)
    assert await call == ALREADY
    assert [worker.killed for worker in group.workers.values()] == [True, False]
    assert group.wishes(1) == [ADD]


async def test_a_load_that_fails_on_one_worker_is_taken_back_on_all():
    group = Group()
    call = group.ask(LOAD)
    await group.answer(0, added=("2",))
    await group.answer(1, FAILURE)
    back = Wish(Action.UNLOAD, "m", "2")
    assert group.wishes(0) == group.wishes(1) == [LOAD, back]
    assert not call.done()
    await group.answer(0)
    await group.answer(1)
    failure = await call
    assert failure.kind == "ModelFailedError"
    assert failure.message.startswith("It is broken. This happened on worker 1 of 2")
    assert group.calls.journal.wishes() == (LOAD, back)
    assert not any(worker.killed for worker in group.workers.values())


async def test_a_worker_that_cannot_take_it_back_is_replaced():
    group = Group()
    call = group.ask(LOAD)
    await group.answer(0, added=("2",))
    await group.answer(1, FAILURE)
    await group.answer(0, FAILURE)
    await group.answer(1, NOT_THERE)
    assert (await call).message.startswith("It is broken.")
    assert [worker.killed for worker in group.workers.values()] == [True, False]


async def test_an_unload_where_nothing_is_loaded_is_done_and_one_that_fails_ends_the_worker():
    group = Group(3)
    call = group.ask(UNLOAD)
    await group.answer(0)
    await group.answer(1, NOT_THERE)
    await group.answer(2, FAILURE)
    assert await call is None
    assert [worker.killed for worker in group.workers.values()] == [False, False, True]


async def test_a_worker_that_ends_meanwhile_has_failed_and_whoever_asked_is_answered():
    group = Group()
    call = group.ask(LOAD)
    await group.answer(0, added=("2",))
    del group.workers[1]
    group.rounds.lost(1)
    await turn()
    await group.answer(0)
    failure = await call
    assert "A worker process ended" in failure.message
    assert group.wishes(0) == [LOAD, Wish(Action.UNLOAD, "m", "2")]


async def test_too_many_calls_are_refused():
    group = Group(1)
    calls = [group.ask(Wish(Action.LOAD, f"m{number}")) for number in range(64)]
    await turn()
    refused = await group.calls.carry_out(LOAD)
    assert refused.kind == "OverloadedError"
    group.rounds.lost(0)
    assert all(failure.kind == "ModelFailedError" for failure in await asyncio.gather(*calls))
    call = group.ask(LOAD)
    await group.answer(0)
    assert await call is None


MOVE = Wish(Action.LABEL, "m", "2", label="stable")
EARLIER = Wish(Action.LABEL, "m", "1", label="stable")
BACK, KEPT, TAKE_BACK = (Wish(Action.RELABEL, "m", version, label="stable") for version in ("1", "2", None))
NOT_READY = Failed.of(ModelNotReadyError("It does not serve."))


async def carried_out(group, wish):
    call = group.ask(wish)
    for number in group.workers:
        await group.answer(number)
    assert await call is None


async def test_a_label_that_only_some_could_move_goes_back_to_where_it_was():
    group = Group()
    await carried_out(group, EARLIER)
    call = group.ask(MOVE)
    await group.answer(0)
    await group.answer(1, NOT_READY)
    # Whether or not that version serves any more: it did when it got the label.
    await group.answer(0)
    await group.answer(1)
    assert (await call).message.startswith("It does not serve.")
    assert group.wishes(0) == group.wishes(1) == [EARLIER, MOVE, BACK]
    assert group.calls.journal.wishes() == (BACK,)
    assert not any(worker.killed for worker in group.workers.values())


async def test_a_label_that_none_could_move_is_not_moved_by_a_worker_that_started_meanwhile():
    group = Group(1)
    call = group.ask(MOVE)
    await turn()
    assert group.calls.journal.wishes() == (KEPT,)
    group.workers[1] = NotedWorker()  # has the journal
    await group.answer(0, NOT_READY)
    await group.answer(0)
    await group.answer(1)
    assert (await call).message == "It does not serve."
    assert group.wishes(0) == [MOVE, TAKE_BACK]
    assert group.wishes(1) == [TAKE_BACK]
    assert group.calls.journal.wishes() == ()


async def test_a_worker_that_still_loads_is_told_to_have_the_label_not_asked_whether_its_version_serves():
    group = Group(serves=lambda slot: slot == 0)
    await carried_out(group, MOVE)
    assert (group.wishes(0), group.wishes(1)) == ([MOVE], [KEPT])


async def test_labels_come_after_versions_in_the_journal_and_leave_no_trace_when_taken_back():
    group = Group(1)
    canary = Wish(Action.LABEL, "m", "1", label="canary")
    for wish in (LOAD, EARLIER, canary, MOVE, LOAD):
        await carried_out(group, wish)
    kept = Wish(Action.RELABEL, "m", "1", label="canary")
    assert group.calls.journal.wishes() == (LOAD, kept, KEPT)
    for number in range(100):
        for version in ("1", None):
            await carried_out(group, Wish(Action.LABEL, "m", version, label=f"l{number}"))
    assert group.calls.journal.wishes() == (LOAD, kept, KEPT)


MODELS = (ListedModel("m", Path("/m")),)
REPLACE = Wish(Action.REPLACE, "", models=MODELS)
REFUSED = Failed.of(LabelNotReadyError("It does not serve."))


async def test_a_list_waits_for_the_calls_before_it_and_those_after_it_wait_for_that():
    group = Group(1)
    before, other = group.ask(LOAD), group.ask(Wish(Action.LOAD, "n"))
    await turn()
    replacing, after = group.ask(REPLACE), group.ask(UNLOAD)
    await turn()
    assert len(group.wishes(0)) == 2
    for told in list(group.workers[0].told):
        group.rounds.done(0, Done(id=told.id))
    await turn()
    assert group.wishes(0)[2:] == [REPLACE]
    await group.answer(0)
    assert await replacing is None
    assert group.wishes(0)[3:] == [UNLOAD]
    await group.answer(0)
    assert [await call for call in (before, other, after)] == [None] * 3
    assert group.calls.journal.models == MODELS
    assert group.calls.journal.wishes() == (UNLOAD,)


async def test_a_list_of_which_not_all_serves_counts_all_the_same():
    group = Group()
    call = group.ask(REPLACE)
    await group.answer(0)
    await group.answer(1, FAILURE)
    assert await call == FAILURE
    assert group.wishes(0) == group.wishes(1) == [REPLACE]
    assert group.calls.journal.models == MODELS
    assert not any(worker.killed for worker in group.workers.values())


async def test_a_list_that_all_refuse_leaves_no_trace_not_even_on_a_worker_that_started_meanwhile():
    group = Group()
    call = group.ask(REPLACE)
    await turn()
    newcomer = group.workers[2] = NotedWorker()  # began with the list
    await group.answer(0, REFUSED)
    await group.answer(1, REFUSED)
    assert await call == REFUSED
    assert group.calls.journal.models is None
    assert newcomer.killed
    assert not group.workers[0].killed


async def test_a_worker_that_refuses_what_another_has_taken_over_is_replaced():
    group = Group()
    call = group.ask(REPLACE)
    await group.answer(0)
    await group.answer(1, REFUSED)
    assert await call is None
    assert [worker.killed for worker in group.workers.values()] == [False, True]
    assert group.calls.journal.models == MODELS


async def test_a_list_without_workers_is_for_those_to_come():
    group = Group(0)
    assert await group.calls.carry_out(REPLACE) is None
    assert group.calls.journal.models == MODELS


async def test_a_list_given_up_while_it_waits_for_its_turn_holds_up_nobody():
    group = Group(1)
    first = group.ask(LOAD)
    await turn()
    replacing = group.ask(REPLACE)
    await turn()
    replacing.cancel()
    await asyncio.gather(replacing, return_exceptions=True)
    other = group.ask(Wish(Action.LOAD, "n"))
    await turn()
    for told in list(group.workers[0].told):
        group.rounds.done(0, Done(id=told.id))
    assert (await first, await other) == (None, None)
    assert group.calls.journal.models is None
