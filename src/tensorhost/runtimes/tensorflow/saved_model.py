"""Loading SavedModels, those of TensorFlow 1 and 2 alike, by the graph and checkpoint they hold.

The graph is restored into a Session as TensorFlow's own C++ servers do, which is faster than rebuilding Python objects
and reads both generations. It is then frozen (variables become constants) unless that could change an answer. The
order of attempts is in ``_attempts``; each is tested. What must stay true: files are trusted as programs (a SavedModel
may read and write files), so only paths the operator allows may come here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.tensorflow.errors import first_line, is_out_of_memory, load_error
from tensorhost.runtimes.tensorflow.example_features import features_by_signature
from tensorhost.runtimes.tensorflow.frozen_graph import FrozenModel, nothing_to_serve, serve_frozen
from tensorhost.runtimes.tensorflow.function_calls import load_functions
from tensorhost.runtimes.tensorflow.graph_freeze import FrozenGraph, freeze
from tensorhost.runtimes.tensorflow.graph_import import empty_like, import_in_pieces
from tensorhost.runtimes.tensorflow.graph_rewrite import (
    forget_cluster_devices,
    keep_functional_control_flow,
    keep_only,
    pad_pointwise_convolutions,
    stop_fusing_in_calls,
)
from tensorhost.runtimes.tensorflow.graph_scan import (
    REF_VARIABLE_OPS,
    Reached,
    changes_more_than,
    changes_state,
    node_name,
    parameter_bytes,
    reached_from,
    refuse_endless_recursion,
    variables_in,
)
from tensorhost.runtimes.tensorflow.meta_graph import initialiser_of, read_meta_graph
from tensorhost.runtimes.tensorflow.object_checkpoint import restore_left_out
from tensorhost.runtimes.tensorflow.op_packages import refuse_unknown_operations
from tensorhost.runtimes.tensorflow.process import (
    DEFAULT_EXECUTOR,
    SINGLE_THREADED,
    new_session,
    session_config,
    tensorflow,
)
from tensorhost.runtimes.tensorflow.session import SessionRuntime, prepare_calls
from tensorhost.runtimes.tensorflow.signature_defs import Bindings, bind_signatures

MAX_FROZEN_BYTES = 1_900_000_000
"""Most parameter bytes in a frozen graph: a protocol buffer ends at 2 GB."""

_log = logging.getLogger(__name__)

Rebind = Callable[[Bindings], Bindings]


class _Model(NamedTuple):
    """A parsed SavedModel, its graph rewritten, and what was read off it."""

    path: Path
    meta_graph: Any
    bindings: Bindings
    init_op: str | None
    reached: Reached


class _Attempt(NamedTuple):
    """One way to load: how the graph is kept, and which executor runs it."""

    frozen: bool
    executor: str


def load_saved_model(path: Path, options: LoadOptions, rebind: Rebind | None = None) -> Runtime:
    """Load the SavedModel in the folder ``path``.

    Args:
        path: the folder with ``saved_model.pb``.
        options: thread counts.
        rebind: changes the signatures as read, before they are prepared; for formats that become SavedModels.

    Raises:
        ModelFailedError: the files are damaged or incomplete, or no signature can be served.
        RuntimeMissingError: TensorFlow is not installed.
        OutOfMemoryError: the model does not fit.
    """
    tf = tensorflow(options)
    model = _read(tf, path, options, rebind)
    if not options.remapping:
        stop_fusing_in_calls(model.meta_graph.graph_def)
    reason: Exception | None = None
    attempts = list(_attempts(model))
    for attempt in attempts:
        try:
            return _load(tf, model, options, attempt, last=attempt is attempts[-1])
        except TensorhostError:
            raise
        except Exception as error:  # the border of a load attempt: the next one may do
            if is_out_of_memory(tf, error) or isinstance(error, tf.errors.NotFoundError | tf.errors.DataLossError):
                raise load_error(tf, error) from error
            _log.debug("attempt %s at %s failed: %s", attempt, path, error)
            reason = error
    try:
        tags = model.meta_graph.meta_info_def.tags
        return load_functions(tf, path, tags, model.bindings, parameter_bytes(model.reached))
    except Exception as error:  # the border of a load attempt: a damaged file raises anything
        raise load_error(tf, reason or error) from error


def _attempts(model: _Model) -> Iterator[_Attempt]:
    graph_def = model.meta_graph.graph_def
    state = changes_state(reached_from(graph_def, _roots(model.bindings, None)))
    if state is None and model.init_op is not None:
        state = changes_more_than(reached_from(graph_def, [model.init_op]), _initialiser_variables(model))
    if state is None and parameter_bytes(model.reached) <= MAX_FROZEN_BYTES:
        yield _Attempt(frozen=True, executor=SINGLE_THREADED)
        yield _Attempt(frozen=True, executor=DEFAULT_EXECUTOR)
    else:
        _log.info("graph not frozen: %s", f"{state} may change state" if state else "too large")
    if not any(node.op in REF_VARIABLE_OPS for node in graph_def.node):
        yield _Attempt(frozen=False, executor=SINGLE_THREADED)
    yield _Attempt(frozen=False, executor=DEFAULT_EXECUTOR)


def _initialiser_variables(model: _Model) -> frozenset[str]:
    """Variables that the initialiser uses and no signature does: TensorFlow 2 keeps paths of assets in such."""
    if model.init_op is None:
        return frozenset()
    graph_def = model.meta_graph.graph_def
    used = variables_in(reached_from(graph_def, _roots(model.bindings, None)))
    return variables_in(reached_from(graph_def, [model.init_op])) - used


def _read(tf: Any, path: Path, options: LoadOptions, rebind: Rebind | None) -> _Model:
    meta_graph = read_meta_graph(tf, path, options.tags)
    bindings = bind_signatures(meta_graph.signature_def)
    if rebind is not None:
        bindings = rebind(bindings)
    for name, reason in bindings.refused.items():
        _log.warning("signature '%s' is left out: %s", name, reason)
    if not bindings.bound:
        raise nothing_to_serve(bindings.refused)
    graph_def = meta_graph.graph_def
    keep_functional_control_flow(graph_def)
    forget_cluster_devices(graph_def)
    pad_pointwise_convolutions(graph_def)
    init_op = initialiser_of(meta_graph)
    reached = reached_from(graph_def, _roots(bindings, init_op))
    refuse_unknown_operations(reached)
    refuse_endless_recursion(reached)
    return _Model(path, meta_graph, bindings, init_op, reached)


def _roots(bindings: Bindings, init_op: str | None) -> list[str]:
    names = {node_name(fetch) for bound in bindings.bound for fetch in bound.fetches}
    names |= {node_name(feed) for bound in bindings.bound for feed in bound.feeds}
    return sorted(names | ({init_op} if init_op else set()))


def _load(tf: Any, model: _Model, options: LoadOptions, attempt: _Attempt, *, last: bool) -> Runtime:
    if attempt.frozen:
        session = _restore(tf, model, options, DEFAULT_EXECUTOR, plain=True)
        try:
            frozen = _freeze(tf, model, session)
        finally:
            session.close()
        bound = FrozenModel(frozen, model.bindings, _initialiser(tf, model), parameter_bytes(model.reached))
        return serve_frozen(tf, bound, options, attempt.executor, last=last)
    session = _restore(tf, model, options, attempt.executor, plain=False)
    try:
        calls, refused = prepare_calls(
            tf, session, model.bindings, "graph with variables", attempt.executor, skip_refused=last
        )
        refused |= model.bindings.refused
        if not calls:
            raise nothing_to_serve(refused)
    except BaseException:
        session.close()
        raise
    initialise = _initialiser(tf, model)
    weights_bytes = parameter_bytes(model.reached)
    features = features_by_signature(model.meta_graph.graph_def, model.bindings)
    return SessionRuntime(tf, [session], calls, refused, weights_bytes, model.bindings, initialise, features)


def _restore(tf: Any, model: _Model, options: LoadOptions, executor: str, *, plain: bool) -> Any:
    """A Session with the model's graph, its variables restored and its tables filled; if ``plain``, not optimised."""
    config = session_config(options, executor)
    config.graph_options.rewrite_options.disable_meta_optimizer = plain
    session = new_session(tf, tf.Graph(), config)
    try:
        with session.graph.as_default():
            saver = _import(tf, model)
            if (model.path / "variables" / "variables.index").is_file():
                if saver is not None:
                    prefix = str(model.path / "variables" / "variables")
                    saver.restore(session, prefix)
                    restore_left_out(tf, session, model.meta_graph, prefix, variables_in(model.reached))
            elif variables_in(model.reached) - _initialiser_variables(model):
                raise ModelFailedError("The SavedModel's file variables/variables.index is missing.")
        _initialiser(tf, model)(session)
    except BaseException:
        session.close()
        raise
    return session


def _import(tf: Any, model: _Model) -> Any:
    """Import what signatures, initialiser and restoring need into the default graph; a Saver, or None without one."""
    has_saver = model.meta_graph.HasField("saver_def")
    if not has_saver and variables_in(model.reached):
        return tf.compat.v1.train.import_meta_graph(model.meta_graph)
    saver_def = model.meta_graph.saver_def
    names = _roots(model.bindings, model.init_op)
    if has_saver:
        names += [node_name(name) for name in (saver_def.restore_op_name, saver_def.filename_tensor_name)]
    names += [f"{name}/Read/ReadVariableOp" for name in sorted(variables_in(model.reached))]  # freezing reads these
    graph_def = model.meta_graph.graph_def
    reached = reached_from(graph_def, names)
    part = empty_like(graph_def)
    part.node.extend(reached.nodes)
    part.library.CopyFrom(graph_def.library)
    keep_only(part, reached)
    import_in_pieces(tf, part, model.meta_graph.meta_info_def.stripped_op_list)
    return tf.compat.v1.train.Saver(saver_def=saver_def) if has_saver else None


def _initialiser(tf: Any, model: _Model) -> Callable[[Any], None]:
    """Runs the model's own initialiser in a Session, assets fed by their paths. Holds nothing of the model's graph."""
    from tensorflow.python.saved_model import loader_impl

    init_op = model.init_op
    assets = {} if init_op is None else loader_impl.get_asset_tensors(str(model.path), model.meta_graph)

    def initialise(session: Any) -> None:
        if init_op is None:
            return
        known = {name: asset for name, asset in assets.items() if _has_node(session.graph, node_name(name))}
        try:
            session.run(session.graph.get_operation_by_name(init_op), feed_dict=known)
        except tf.errors.NotFoundError as error:
            raise ModelFailedError(
                f"A file the model needs is missing: {first_line(error)}", log_detail=str(error)
            ) from error

    return initialise


def _has_node(graph: Any, name: str) -> bool:
    try:
        graph.get_operation_by_name(name)
    except KeyError:
        return False
    return True


def _freeze(tf: Any, model: _Model, session: Any) -> FrozenGraph:
    """The part of the graph that signatures and the initialiser reach, with constants for variables."""
    return freeze(tf, session, _roots(model.bindings, model.init_op), _initialiser_variables(model))
