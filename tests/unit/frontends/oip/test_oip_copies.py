"""Copies on the event loop and on threads: which, what a request that ends meanwhile leaves, and when."""

import asyncio
import gc
import math
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tensorhost.core.errors import DeadlineExceededError, InvalidRequestError
from tensorhost.frontends.oip import copies
from tensorhost.frontends.oip.copies import Copier, Copy

PIECE = 4


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(copies, "OFF_LOOP_BYTES", 8)
    monkeypatch.setattr(copies, "_PIECE_BYTES", PIECE)


class Gate:
    """Stands for a part: its copies wait until the gate is opened, and are noted with the thread they are made on."""

    def __init__(self, *, is_open=False, error=None):
        self.open = threading.Event()
        self.begun = threading.Event()
        self.error = error
        self.pieces = []
        self.threads = set()
        if is_open:
            self.open.set()

    def copy(self, piece, offset):
        self.threads.add(threading.current_thread())
        self.begun.set()
        assert self.open.wait(30)
        if self.error is not None:
            raise self.error
        self.pieces.append((bytes(piece), offset))


async def begun(gate):
    """Wait until a thread copies."""
    await asyncio.to_thread(gate.begun.wait, 30)


def test_what_is_copied_in_a_moment_is_copied_at_once():
    gate, copier = Gate(is_open=True), Copier()
    run = copier.run([Copy(gate.copy, memoryview(b"abcdef")), Copy(gate.copy, memoryview(b""))], math.inf)
    with pytest.raises(StopIteration):
        run.send(None)  # without an event loop, even
    assert gate.pieces == [(b"abcd", 0), (b"ef", 4)]
    closed = []
    copier.close(lambda: closed.append(True))
    assert closed == [True]


async def test_the_event_loop_goes_on_while_much_is_copied():
    gate, copier = Gate(), Copier()
    run = asyncio.ensure_future(copier.run([Copy(gate.copy, memoryview(b"abcdefghi"))] * 2, math.inf))
    await begun(gate)
    assert not run.done()
    gate.open.set()
    await run
    assert gate.pieces == [(b"abcd", 0), (b"efgh", 4), (b"i", 8)] * 2
    assert threading.current_thread() not in gate.threads


async def test_what_a_thread_raises_is_raised_to_who_waits():
    gate, copier = Gate(is_open=True, error=InvalidRequestError("shorter")), Copier()
    with pytest.raises(InvalidRequestError, match="shorter"):
        await copier.run([Copy(gate.copy, memoryview(bytes(9)))], math.inf)


async def test_a_deadline_ends_the_wait():
    gate, copier, closed = Gate(), Copier(), asyncio.Event()
    with pytest.raises(DeadlineExceededError):
        await copier.run([Copy(gate.copy, memoryview(bytes(100)))], asyncio.get_running_loop().time())
    copier.close(closed.set)
    gate.open.set()
    await asyncio.wait_for(closed.wait(), 30)
    assert len(gate.pieces) <= 1


@pytest.mark.parametrize("error", [None, InvalidRequestError("shorter")])
async def test_what_a_thread_uses_is_given_up_when_the_thread_has_left_it(error):
    gate, copier, closed = Gate(error=error), Copier(), asyncio.Event()
    run = asyncio.ensure_future(copier.run([Copy(gate.copy, memoryview(bytes(100)))], math.inf))
    await begun(gate)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    copier.close(closed.set)
    await asyncio.sleep(0)
    assert not closed.is_set()
    gate.open.set()
    await asyncio.wait_for(closed.wait(), 30)
    # Of 25 pieces, the one that was being copied.
    assert len(gate.pieces) == (1 if error is None else 0)


@pytest.fixture
def no_collector():
    """Memory is free when nothing refers to it any more, or not at all."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("client_leaves", ["never", "meanwhile", "as it fails"])
async def test_what_could_not_be_copied_is_free_at_once_and_no_error_forgotten(no_collector, client_leaves):
    forgotten = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: forgotten.append(context["message"]))
    executor, may_fail = ThreadPoolExecutor(1), threading.Event()
    loop.set_default_executor(executor)

    def fail(_piece, _offset):
        assert may_fail.wait(30)
        raise InvalidRequestError("shorter")

    async def ask():
        copier, data = Copier(), np.empty(100, np.uint8)
        run = asyncio.ensure_future(copier.run([Copy(fail, data.data)], math.inf))
        await asyncio.sleep(0)
        if client_leaves != "meanwhile":
            may_fail.set()
        if client_leaves == "as it fails":
            executor.submit(int).result(30)  # the thread has failed, which nobody has looked at
            await asyncio.sleep(0)
        if client_leaves != "never":
            run.cancel()
        await asyncio.wait([run])
        assert run.cancelled() or isinstance(run.exception(), InvalidRequestError)
        copier.close(may_fail.set)
        may_fail.set()
        return weakref.ref(data), run.cancelled()

    data, has_left = await ask()
    assert has_left == (client_leaves != "never")
    await loop.shutdown_default_executor()
    assert data() is None
    assert forgotten == []
