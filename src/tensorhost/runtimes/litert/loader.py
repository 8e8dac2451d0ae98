"""Loading ``.tflite`` files.

The file is read once, checked, and the same bytes given to LiteRT, so what was checked is what runs, and a file that is
replaced meanwhile changes nothing. Before the model counts as loaded, LiteRT has prepared its main graph. What must
stay true: TensorFlow is never imported here.

State: a model's variables start from the file's values in every call, so that no request sees another's. Where they
are tensors LiteRT can reset them; where they are resources that calls assign to, every call gets an interpreter of its
own, which costs about a millisecond and more for large models.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.cores import usable_cores
from tensorhost.runtimes.litert.calls import SignatureCall
from tensorhost.runtimes.litert.consistency import check_model, weights_bytes
from tensorhost.runtimes.litert.errors import load_error
from tensorhost.runtimes.litert.free_rows import rows_are_free
from tensorhost.runtimes.litert.interpreter import Pool, lane_maker, litert_module
from tensorhost.runtimes.litert.model_file import ModelFile, parse_model, read_model_file
from tensorhost.runtimes.litert.operators import ASSIGN_VARIABLE, CALL_ONCE
from tensorhost.runtimes.litert.runtime import CALLS_AT_ONCE, LiteRTRuntime, run_on
from tensorhost.runtimes.litert.signatures import BoundSignature, bind_signatures

SEQUENTIAL_UP_TO_BYTES = 8 * 2**20
"""Most weights of a model that is also prepared to run in one thread: its interpreters hold them once more."""

_log = logging.getLogger(__name__)


def load_tflite(path: Path, options: LoadOptions) -> Runtime:
    """Load the ``.tflite`` file at ``path``.

    Raises:
        ModelFailedError: the file is damaged, needs operations that LiteRT does not have, or no signature is left.
        RuntimeMissingError: ai-edge-litert is not installed.
        OutOfMemoryError: the model does not fit.
    """
    litert = litert_module()
    model = parse_model(read_model_file(path))
    check_model(model)
    bound, refused = bind_signatures(model, dequantize=options.dequantize)
    for name, reason in refused.items():
        _log.warning("signature '%s' is left out: %s", name, reason)
    if not bound:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in refused.items())
        raise ModelFailedError(f"No signature can be served: {reasons}.", details={"refused": refused})
    return _serve(litert, model, bound, refused, options)


def _serve(
    litert: Any, model: ModelFile, bound: list[BoundSignature], refused: dict[str, str], options: LoadOptions
) -> Runtime:
    threads = options.intra_op_threads or usable_cores()
    reusable = not _assigns_variables(model)
    at_once = max(usable_cores(), CALLS_AT_ONCE)
    pool = Pool(lane_maker(litert, model.data, threads), at_once, reusable=reusable)
    _meet(pool, bound)
    weights = weights_bytes(model)
    sequential = None
    if options.intra_op_threads == 0 and threads > 1 and weights <= SEQUENTIAL_UP_TO_BYTES:
        sequential = Pool(lane_maker(litert, model.data, 1), at_once, reusable=reusable)
    has_state = any(tensor.is_variable for subgraph in model.subgraphs for tensor in subgraph.tensors)
    by_steps = all(signature.subgraph == 0 for signature in bound)
    calls = [SignatureCall(signature, has_state=has_state, by_steps=by_steps) for signature in bound]
    path = _describe(threads, reusable=reusable)
    return LiteRTRuntime([_freed(pool, call) for call in calls], refused, pool, sequential, path, weights)


def _meet(pool: Pool, bound: list[BoundSignature]) -> None:
    """Make the first interpreter; raise where LiteRT refuses the model, unless it may only want a call's shapes."""
    lane = pool.take()
    pool.give(lane)
    if lane.problem is not None:
        failure = load_error(lane.problem)
        if isinstance(failure, UnsupportedModelError) or not _needs_shapes(bound):
            raise failure from lane.problem


def _needs_shapes(bound: list[BoundSignature]) -> bool:
    """Whether a call's shapes may make the main graph's memory fit where the file's do not."""
    inputs = [port.spec for signature in bound if signature.subgraph == 0 for port in signature.inputs]
    return any(spec.shape and None in spec.shape for spec in inputs)


def _freed(pool: Pool, call: SignatureCall) -> SignatureCall:
    """The call, with any number of rows where the model turns out to take them."""
    free = rows_are_free(call.bound, lambda inputs: run_on(pool, call, call.prepare(inputs)))
    return call.with_free_rows() if free else call


def _assigns_variables(model: ModelFile) -> bool:
    """Whether a call may change what the next one on the same interpreter finds, beyond initialising it."""
    initialisers = {
        index
        for subgraph in model.subgraphs
        for operator in subgraph.operators
        if operator.code == CALL_ONCE
        for index in operator.calls
    }
    return any(
        operator.code == ASSIGN_VARIABLE
        for number, subgraph in enumerate(model.subgraphs)
        if number not in initialisers
        for operator in subgraph.operators
    )


def _describe(threads: int, *, reusable: bool) -> str:
    kept = "interpreter" if reusable else "new interpreter for each call"
    return f"LiteRT {kept}, {threads} thread{'s' if threads > 1 else ''}"
