"""Serving a frozen graph: into Sessions, its tables filled, each signature prepared to be called.

Where SavedModels, TensorFlow.js graph models and bare GraphDefs meet. What must stay true: the order of attempts is
the cheapest call first, and a graph that one executor refuses is given to the other before it is given up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.cores import usable_cores
from tensorhost.runtimes.tensorflow.errors import is_out_of_memory, load_error
from tensorhost.runtimes.tensorflow.example_features import features_by_signature
from tensorhost.runtimes.tensorflow.graph_freeze import FrozenGraph, import_frozen
from tensorhost.runtimes.tensorflow.graph_outline import GraphOutline
from tensorhost.runtimes.tensorflow.graph_rewrite import stop_fusing_in_calls
from tensorhost.runtimes.tensorflow.loose_calls import UP_TO_BYTES, LooseCalls
from tensorhost.runtimes.tensorflow.process import (
    DEFAULT_EXECUTOR,
    SINGLE_THREADED,
    new_session,
    session_config,
    stop_optimising,
)
from tensorhost.runtimes.tensorflow.session import SessionRuntime, prepare_calls
from tensorhost.runtimes.tensorflow.signature_defs import Bindings

FRUGAL_FROM_BYTES = 64 * 2**20
"""Models with at least this many parameter bytes run for so long that sparing memory costs them nothing."""

SEQUENTIAL_UP_TO_BYTES = 8 * 2**20
"""Most parameter bytes of a model that is also prepared to run in one thread: it holds the parameters twice."""

_log = logging.getLogger(__name__)


class FrozenModel(NamedTuple):
    """A frozen graph and what makes it a model.

    Attributes:
        graph: nodes, functions and weights.
        bindings: signatures and the tensors behind them.
        initialise: fills tables and other resources in a Session of the graph; called once for each Session.
        weights_bytes: bytes of the parameters.
    """

    graph: FrozenGraph
    bindings: Bindings
    initialise: Callable[[Any], None]
    weights_bytes: int


def load_frozen(tf: Any, model: FrozenModel, options: LoadOptions) -> Runtime:
    """Serve ``model`` with the cheapest executor that takes it.

    Raises:
        ModelFailedError: TensorFlow refuses the graph, or no signature can be served.
        OutOfMemoryError: it does not fit.
    """
    try:
        return serve_frozen(tf, model, options, SINGLE_THREADED, last=False)
    except TensorhostError:
        raise
    except Exception as error:  # border of a load attempt: the other executor may do
        if is_out_of_memory(tf, error):
            raise load_error(tf, error) from error
        _log.debug("single-threaded executor failed: %s", error)
    try:
        return serve_frozen(tf, model, options, DEFAULT_EXECUTOR, last=True)
    except TensorhostError:
        raise
    except Exception as error:  # border of a load attempt: a damaged graph raises anything
        raise load_error(tf, error) from error


def serve_frozen(tf: Any, model: FrozenModel, options: LoadOptions, executor: str, *, last: bool) -> Runtime:
    """Serve ``model`` with one executor.

    Args:
        tf: the ``tensorflow`` module.
        model: what to serve.
        options: thread counts.
        executor: SINGLE_THREADED or DEFAULT_EXECUTOR.
        last: leave out signatures that TensorFlow refuses; otherwise one of them fails all.

    Raises:
        ModelFailedError: no signature is left.
        Exception: what TensorFlow raises.
    """
    if not options.remapping:
        stop_fusing_in_calls(model.graph.graph_def)
    sessions: list[Any] = []
    try:
        sessions.extend(_sessions(tf, model, options, executor))
        calls, refused = prepare_calls(
            tf,
            sessions[0],
            model.bindings,
            "frozen graph",
            executor,
            skip_refused=last,
            sequential=sessions[1] if len(sessions) > 1 else None,
        )
        refused |= model.bindings.refused
        if not calls:
            raise nothing_to_serve(refused)
    except BaseException:
        for session in sessions:
            session.close()
        raise
    loose = _loose_calls(tf, model, options, sessions[0].graph)
    features = features_by_signature(model.graph.graph_def, model.bindings)
    return SessionRuntime(
        tf, sessions, calls, refused, model.weights_bytes, model.bindings, model.initialise, features, loose
    )


def nothing_to_serve(refused: Any) -> ModelFailedError:
    """The error of a model none of whose signatures can be served; ``refused`` maps them to the reasons."""
    if not refused:
        return ModelFailedError("The model has no signature, so there is nothing to call.")
    reasons = "; ".join(f"'{name}': {reason}" for name, reason in refused.items())
    return ModelFailedError(f"No signature can be served: {reasons}.", details={"refused": dict(refused)})


def _sessions(tf: Any, model: FrozenModel, options: LoadOptions, executor: str) -> Iterator[Any]:
    """One Session with as many threads as asked for, for small models another with one."""
    session = _session(tf, options, executor, tf.Graph(), frugal=model.weights_bytes >= FRUGAL_FROM_BYTES)
    yield session
    with session.graph.as_default():
        import_frozen(tf, model.graph)
    model.initialise(session)
    if options.intra_op_threads == 0 and usable_cores() > 1 and model.weights_bytes <= SEQUENTIAL_UP_TO_BYTES:
        sequential = _session(tf, replace(options, intra_op_threads=1), executor, session.graph, frugal=False)
        yield sequential
        model.initialise(sequential)


def _loose_calls(tf: Any, model: FrozenModel, options: LoadOptions, graph: Any) -> LooseCalls | None:
    """What takes undeclared shapes; None for models too large to hold their weights once more for these."""
    if model.weights_bytes > UP_TO_BYTES:
        return None
    initialise = model.initialise

    def open_session() -> Any:
        config = session_config(replace(options, xla=False), DEFAULT_EXECUTOR)
        stop_optimising(config)
        session = new_session(tf, graph, config)
        try:
            initialise(session)
        except BaseException:
            session.close()
            raise
        return session

    return LooseCalls(tf, GraphOutline(tf, model.graph), open_session)


def _session(tf: Any, options: LoadOptions, executor: str, graph: Any, *, frugal: bool) -> Any:
    return new_session(tf, graph, session_config(options, executor, frugal=frugal))
