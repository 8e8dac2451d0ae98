"""LiteRT interpreters: made, kept and lent out, each to one call at a time.

An interpreter computes for one caller at a time and has its number of threads for life; each holds working memory and
its own rearranged copy of the weights, while the file's bytes are shared. So a pool grows only when all its
interpreters are busy, or when it is told to before serving: making one holds Python's interpreter lock, 100 ms for a
network of 100 MB. What must stay true: an interpreter that failed is never used again, one that waits for an
interpreter gets one as soon as any call ends, however it ends, and interpreters' own threads have ordinary priority.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tensorhost.core.errors import InternalError, RuntimeMissingError
from tensorhost.runtimes.litert.errors import LITERT_ERRORS, load_error
from tensorhost.runtimes.noise import without_noise

_ordinary = ThreadPoolExecutor(1, thread_name_prefix="litert interpreters")
_greeted = threading.Event()
"""Set when the first interpreter of the process was made, which is when LiteRT says that it has started."""


def prepare() -> None:
    """Import LiteRT and start the thread on which interpreters are made. Only the first call does anything.

    Models load in a thread of low priority, and an interpreter's threads would inherit that for life. So a server
    calls this from an ordinary thread before it starts loading. Programs that do not care need not.

    Raises RuntimeMissingError where LiteRT is not installed.
    """
    litert_module()
    _ordinary.submit(int).result()


def litert_module() -> Any:
    """The ``ai_edge_litert.interpreter`` module. Raises RuntimeMissingError when it is not installed."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise RuntimeMissingError(
            "This model needs LiteRT: pip install 'tensorhost[litert]'.", log_detail=str(error)
        ) from error


class Lane:
    """One interpreter, with what is known about its state.

    Attributes:
        interpreter: LiteRT's.
        shapes: those of the main graph's inputs that memory was last planned for; None before.
        runners: callers of the file's own signatures, by name.
        problem: why memory could not be planned for the file's shapes; None where it was.
    """

    __slots__ = ("interpreter", "problem", "runners", "shapes")

    def __init__(self, interpreter: Any) -> None:
        self.interpreter = interpreter
        self.shapes: list[tuple[int, ...]] | None = None
        self.runners: dict[str, Any] = {}
        self.problem: Exception | None = None

    def runner(self, signature: str) -> Any:
        """LiteRT's caller of one of the file's own signatures."""
        found = self.runners.get(signature)
        if found is None:
            found = self.runners[signature] = self.interpreter.get_signature_runner(signature)
        return found


def lane_maker(litert: Any, data: bytes, threads: int) -> Callable[[], Lane]:
    """Makes lanes on the model in ``data``, with ``threads`` threads inside operations.

    What it returns raises TensorhostError for a model that LiteRT refuses.
    """
    return lambda: _ordinary.submit(_new_lane, litert, data, threads).result()


def _new_lane(litert: Any, data: bytes, threads: int) -> Lane:
    if _greeted.is_set():
        return _make_lane(litert, data, threads)
    with without_noise():
        lane = _make_lane(litert, data, threads)
    _greeted.set()
    return lane


def _make_lane(litert: Any, data: bytes, threads: int) -> Lane:
    try:
        lane = Lane(litert.Interpreter(model_content=data, num_threads=threads))
    except LITERT_ERRORS as error:
        raise load_error(error) from error
    try:
        lane.interpreter.allocate_tensors()  # which also starts the threads
    except LITERT_ERRORS as error:
        lane.problem = error
    return lane


def _refuse() -> Lane:
    raise InternalError("The model was closed.")


class Pool:
    """Lanes of one model, at most ``limit``, made when a call finds none idle.

    Args:
        make: makes one; called without the lock, since it takes long.
        limit: the most at once.
        reusable: whether a lane may serve a second call.
    """

    def __init__(self, make: Callable[[], Lane], limit: int, *, reusable: bool = True) -> None:
        self._make = make
        self._limit = limit
        self._reusable = reusable
        self._idle: list[Lane] = []
        self._count = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def size(self) -> int:
        """How many lanes there are, idle and in use."""
        return self._count

    def take(self) -> Lane:
        """A lane for one call, to be given back or discarded; waits while all are in use.

        Raises what ``make`` raises.
        """
        with self._lock:
            while not self._idle:
                if self._count < self._limit:
                    self._count += 1
                    break
                self._waiting += 1
                try:
                    self._changed.wait()
                finally:
                    self._waiting -= 1
            else:
                return self._idle.pop()
        try:
            return self._make()
        except BaseException:
            self._forget()
            raise

    def reserve(self, count: int) -> None:
        """Make lanes until there are ``count``, at most ``limit``, so that as many calls at once need make none.

        For when no call is running. Does nothing where no lane serves twice. Raises what ``make`` raises.
        """
        if self._reusable:
            for lane in [self.take() for _ in range(count)]:
                self.give(lane)

    def give(self, lane: Lane) -> None:
        """The call is done and the lane as good as before."""
        if not self._reusable:
            self._forget()
            return
        with self._lock:
            self._idle.append(lane)
            if self._waiting:
                self._changed.notify()

    def discard(self) -> None:
        """The call failed; nobody may use its lane again."""
        self._forget()

    def close(self) -> None:
        """Let go of the idle lanes and of the model they were made from. No call may follow."""
        with self._lock:
            self._count -= len(self._idle)
            self._idle.clear()
            self._make = _refuse

    def _forget(self) -> None:
        with self._lock:
            self._count -= 1
            if self._waiting:
                self._changed.notify()
