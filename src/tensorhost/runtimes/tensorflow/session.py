"""Calling signatures through a TensorFlow Session: the cheapest way TensorFlow offers, and its fallbacks.

A prepared callable on a frozen graph with the single-threaded executor takes 3 to 4 microseconds for a tiny model
where calling the signature takes 55 to 80; it runs in the caller's thread, releases the interpreter lock while the
model computes, and reads 64-byte aligned arrays in place. In front of it nobody checks: a wrong rank can abort the
process. What must stay true: callers check dtype and shape first, and no output shares memory with an input.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.base import ExampleFeature, LoadedModel
from tensorhost.runtimes.tensorflow.errors import first_line, run_error
from tensorhost.runtimes.tensorflow.process import SINGLE_THREADED
from tensorhost.runtimes.tensorflow.signature_defs import Bindings, BoundSignature

Run = Callable[..., Sequence[Any]]
"""A prepared callable."""

_CLEARLY_FASTER = 1.3
_RACE_TURNS = 9
_LONGEST_RACE_S = 0.2


class ServedGraph(NamedTuple):
    """What a runtime calls, for writing it to disk again.

    Attributes:
        session: holds the graph, its variables and tables.
        bindings: the signatures that are served and the tensors behind them.
        initialise: fills tables and other resources in a Session of the graph.
    """

    session: Any
    bindings: Bindings
    initialise: Callable[[Any], None]

    def bound(self, signature: str) -> BoundSignature:
        """One of the signatures, and its tensors."""
        return next(each for each in self.bindings.bound if each.signature.name == signature)

    def only(self, signature: str) -> ServedGraph:
        """The same with one of its signatures."""
        return self._replace(bindings=Bindings((self.bound(signature),), {}))


class LooseCalls(Protocol):
    """Makes calls with shapes that signatures do not declare."""

    def __call__(self, bound: BoundSignature, inputs: Tensors) -> dict[str, Array]:
        """One call. Raises InvalidRequestError where the graph does not take these shapes, and what TensorFlow does."""

    def close(self) -> None:
        """Let go of what the calls need."""


class SessionRuntime(LoadedModel):
    """A loaded model whose signatures are called through one Session, or two of the same graph. See ``Runtime``."""

    name = "tensorflow"

    def __init__(
        self,
        tf: Any,
        sessions: Sequence[Any],
        calls: Mapping[str, SessionCall],
        refused: Mapping[str, str],
        weights_bytes: int,
        bindings: Bindings,
        initialise: Callable[[Any], None],
        features: Mapping[str, Sequence[ExampleFeature]],
        loose: LooseCalls | None = None,
    ) -> None:
        """``sessions`` are owned by the runtime from now on; ``bindings`` and ``initialise`` belong to their graph.

        ``features`` are those that signatures parse out of strings, by signature, for those that do.
        ``loose`` makes calls with shapes that signatures do not declare; None where the model takes no others.
        """
        super().__init__({name: call.signature for name, call in calls.items()}, refused, weights_bytes)
        self._tf = tf
        self._sessions = list(sessions)
        bound = tuple(bound for bound in bindings.bound if bound.signature.name in calls)
        self._bindings = Bindings(bound, refused)
        self._initialise = initialise
        self._calls = dict(calls)
        self._features = features
        self._loose = loose

    def call_path(self, signature: str) -> str:
        """How this signature is called."""
        return self._calls[signature].describe()

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """Find out up to how many rows a call is better off in one thread; see ``Runtime.tune``."""
        try:
            self._calls[signature].tune(samples)
        except (self._tf.errors.OpError, MemoryError, ValueError, TypeError, RuntimeError) as error:
            raise run_error(self._tf, error) from error

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call; see ``Runtime.run``. The model refusing its input is InvalidRequestError."""
        try:
            return self._calls[signature](inputs)
        except (self._tf.errors.OpError, MemoryError, ValueError, TypeError, RuntimeError) as error:
            raise run_error(self._tf, error) from error

    def example_features(self, signature: str) -> Sequence[ExampleFeature]:
        """What is parsed out of the strings that a signature takes."""
        return self._features.get(signature, ())

    def run_loosely(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call with shapes that were not checked; see ``Runtime.run_loosely``."""
        if self._loose is None:
            return super().run_loosely(signature, inputs)
        try:
            return self._loose(self.served_graph.bound(signature), inputs)
        except self._tf.errors.UnimplementedError as error:
            # What an operation has no code for, with the declared shapes it would have failed at warm-up.
            refusal = f"The model refused the input: {first_line(error)}"
            raise InvalidRequestError(refusal, log_detail=f"{type(error).__name__}: {error}") from error
        except (self._tf.errors.OpError, MemoryError, ValueError, TypeError, RuntimeError) as error:
            raise run_error(self._tf, error) from error

    @property
    def served_graph(self) -> ServedGraph:
        """What is served, to be written to disk before the first call."""
        return ServedGraph(self._sessions[0], self._bindings, self._initialise)

    def close(self) -> None:
        """Close the Sessions and drop their graphs. No call may be running or follow."""
        self._calls.clear()
        if self._loose is not None:
            self._loose.close()
        while self._sessions:
            self._sessions.pop().close()


class SessionCall:
    """One signature, ready to call.

    Args:
        signature: names and order of inputs and outputs.
        run: takes the inputs' arrays in order, gives the outputs' values in order.
        path: how ``run`` calls, for the metadata.
        sequential: does the same with all of an operation's work in the calling thread. Splitting a small operation
            over threads takes longer than the operation; ``tune`` finds out where that ends.
    """

    __slots__ = ("_inputs", "_outputs", "_path", "_run", "_sequential", "_sequential_rows", "signature")

    def __init__(self, signature: Signature, run: Run, path: str, sequential: Run | None = None) -> None:
        self.signature = signature
        self._run = run
        self._path = path
        self._sequential = sequential
        self._sequential_rows = 0
        self._inputs = tuple(signature.inputs)
        self._outputs = tuple(signature.outputs)

    def __call__(self, inputs: Tensors) -> dict[str, Array]:
        """Run once. Raises what TensorFlow raises."""
        feeds = [inputs[name] for name in self._inputs]
        run = self._run
        if self._sequential is not None and _rows(feeds) <= self._sequential_rows:
            run = self._sequential
        values = run(*feeds)
        return {name: settle(value, feeds) for name, value in zip(self._outputs, values, strict=True)}

    def describe(self) -> str:
        """How it is called."""
        if not self._sequential_rows:
            return self._path
        return f"{self._path}, operations in one thread up to {self._sequential_rows} rows"

    def tune(self, samples: Sequence[Tensors]) -> None:
        """Keep to one thread up to the first sample that several threads serve clearly faster.

        Clearly, since one thread leaves the other cores to other requests.
        """
        self._sequential_rows = 0
        if self._sequential is None:
            return
        for sample in samples:
            feeds = [sample[name] for name in self._inputs]
            alone_s, together_s = _race(self._sequential, self._run, feeds)
            if alone_s > _CLEARLY_FASTER * together_s:
                break
            self._sequential_rows = _rows(feeds)


def _rows(feeds: Sequence[Array]) -> int:
    return feeds[0].shape[0] if feeds and feeds[0].ndim else 1


def _race(first: Run, second: Run, feeds: Sequence[Array]) -> tuple[float, float]:
    """Seconds that each takes, the least of several turns."""
    best = [math.inf, math.inf]
    started = time.perf_counter()
    for turn in range(_RACE_TURNS):
        for lane, run in enumerate((first, second)):
            before = time.perf_counter()
            run(*feeds)
            best[lane] = min(best[lane], time.perf_counter() - before)
        if turn and time.perf_counter() - started > _LONGEST_RACE_S:
            break
    return best[0], best[1]


def settle(value: Any, feeds: Sequence[Array]) -> Array:
    """A fetched value as an array that is the caller's to keep: read-only, sharing memory with none of ``feeds``.

    A fetched array lies on TensorFlow's own buffer. That buffer is an input's where the model hands an input
    through, and the model's own constant where it answers with one: hence the copy and the write protection.
    """
    if type(value) is not np.ndarray:
        value = np.asarray(value, dtype=object if isinstance(value, bytes | str) else None)
    for feed in feeds:
        if np.may_share_memory(value, feed):
            value = value.copy()
            break
    value.flags.writeable = False
    return value  # type: ignore[no-any-return]  # np.asarray of Any


def prepare_calls(
    tf: Any,
    session: Any,
    bindings: Bindings,
    graph_kind: str,
    executor: str,
    *,
    skip_refused: bool,
    sequential: Any = None,
) -> tuple[dict[str, SessionCall], dict[str, str]]:
    """A call per signature on ``session``, by name, and the signatures TensorFlow refused, with the reason.

    Args:
        tf: the ``tensorflow`` module.
        session: a Session whose variables and tables are initialised.
        bindings: the signatures and their tensors in the session's graph.
        graph_kind: ``frozen graph`` or ``graph with variables``, for ``call_path``.
        executor: the session's executor type, for ``call_path``.
        sequential: a Session of the same graph with one thread inside operations; None for none.
        skip_refused: leave out a signature that TensorFlow refuses instead of raising what it raised.
    """
    calls: dict[str, SessionCall] = {}
    refused: dict[str, str] = {}
    for bound in bindings.bound:
        try:
            run, prepared = _prepare(tf, session, bound)
            alone = None if sequential is None else _prepare(tf, sequential, bound)[0]
        except (tf.errors.OpError, KeyError, ValueError, TypeError) as error:
            if not skip_refused:
                raise
            refused[bound.signature.name] = first_line(error)
            continue
        threads = "single-threaded session" if executor == SINGLE_THREADED else "session"
        path = f"{graph_kind}, {threads}, {prepared}"
        calls[bound.signature.name] = SessionCall(bound.signature, run, path, alone)
    return calls, refused


def _prepare(tf: Any, session: Any, bound: BoundSignature) -> tuple[Run, str]:
    fetches = _fetchable(tf, session.graph, bound)
    make = getattr(session, "_make_callable_from_options", None)
    if make is None:
        tensors = session.graph.get_tensor_by_name
        feed_list = [tensors(name) for name in bound.feeds]
        return session.make_callable([tensors(name) for name in fetches], feed_list=feed_list), "callable"
    from tensorflow.core.protobuf import config_pb2

    return make(config_pb2.CallableOptions(feed=bound.feeds, fetch=fetches)), "prepared callable"


def _fetchable(tf: Any, graph: Any, bound: BoundSignature) -> list[str]:
    """The fetches, each distinct and none of them a feed: TensorFlow allows neither, a signature both."""
    taken = set(bound.feeds)
    fetches: list[str] = []
    for name in bound.fetches:
        if name in taken:
            with graph.as_default():
                name = tf.identity(graph.get_tensor_by_name(name)).name
        taken.add(name)
        fetches.append(name)
    return fetches
