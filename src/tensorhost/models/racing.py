"""The race itself, in the child process: write a signature for each entrant, compare its answers, time it.

Every heat is run in turns with the model's own runtime, on inputs that suit the signature, at the batch sizes that
will be used. What must stay true: a heat that fails says why and ends nobody else's; who wins is not decided here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tensorhost.core.closeness import agree
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Tensors
from tensorhost.models.comparison import OutputDifference, SignatureComparison, compare
from tensorhost.models.race_messages import RaceOrder
from tensorhost.models.warmup import WarmupOptions, sample_sizes
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Precision, Runtime
from tensorhost.runtimes.engine_files import EngineFile, engine_signature
from tensorhost.runtimes.race.entrants import entrants, open_engine, write_engine
from tensorhost.runtimes.race.twins import twins
from tensorhost.runtimes.race.verdict import Entrant, Heat

TOLERANCE = 1e-5
"""Largest difference, relative to a value and to an output's largest value, that counts as float32 rounding."""

_TOLERANCES = {DType.FLOAT64: 1e-9, DType.FLOAT16: 2e-3}
_TURNS = 5
_CALLS_A_TURN = 3
_LONG_CALL_S = 0.1
"""No further call in a turn follows one that took longer: spinning is nothing to it."""

_LONGEST_S = 0.4
"""No further turn at a batch size begins after this."""


def race(
    native: Runtime,
    model: Path,
    model_format: ModelFormat,
    examples: Mapping[str, Sequence[Tensors]],
    warmup: WarmupOptions,
    options: LoadOptions,
    order: RaceOrder,
    announce: Callable[[str, Entrant], None],
) -> Iterator[Heat]:
    """Run the heats of every signature, the default one's first. Signatures that are the same graph share theirs.

    Args:
        native: the model in its own runtime.
        model, model_format: its file or folder, and what that is.
        examples: inputs shipped with the model, by signature.
        warmup: which batch sizes will be used.
        options: how models are loaded, and who may enter.
        order: where to write, when to stop, what to leave out.
        announce: called before a heat is run.
    """
    started = time.monotonic()
    same = twins(native)
    for name, signature in native.signatures.items():
        if name in same:
            continue
        names = [name, *(other for other, first in same.items() if first == name)]
        for entrant in entrants(model_format, options):
            if (name, entrant.label) in order.skip:
                continue
            if time.monotonic() - started > order.begin_s:
                why = "There was no time left to try it (race_timeout_s)."
                heat = Heat(name, entrant, refused=why, transient=True)
            else:
                announce(name, entrant)
                heat = _Heat(native, model, signature, entrant, options, order.folder).run(
                    examples.get(name, ()), warmup
                )
            yield from (replace(heat, signature=each) for each in names)


class _Heat:
    """One entrant on one signature."""

    def __init__(
        self,
        native: Runtime,
        model: Path,
        signature: Signature,
        entrant: Entrant,
        options: LoadOptions,
        folder: Path,
    ) -> None:
        self._native = native
        self._model = model
        self._signature = signature
        self._entrant = entrant
        self._options = options
        self._folder = folder

    def run(self, examples: Sequence[Tensors], warmup: WarmupOptions) -> Heat:
        heat = Heat(self._signature.name, self._entrant)
        try:
            engine = write_engine(
                self._entrant, self._native, self._model, self._signature.name, self._folder, self._options
            )
            heat = replace(heat, engine=engine)
            runtime = self._open(engine)
            try:
                return self._judged(heat, runtime, examples, warmup)
            finally:
                runtime.close()
        except TensorhostError as error:
            return replace(heat, refused=error.message)

    def _open(self, engine: EngineFile) -> Runtime:
        located = engine_signature(self._folder, engine, self._signature)
        return open_engine(self._entrant, located, self._native.weights_bytes, self._options)

    def _judged(self, heat: Heat, runtime: Runtime, examples: Sequence[Tensors], warmup: WarmupOptions) -> Heat:
        compared = compare(
            self._native, runtime, self._signature, examples, self._tolerance(), warmup.ranges, edges=True
        )
        worst = _worst(compared)
        heat = replace(heat, difference=worst.largest, scale=worst.scale, calls=compared.calls)
        if compared.note:
            return replace(heat, refused=_sentence(compared.note))
        samples = sample_sizes(self._native, self._signature, warmup, examples)
        if not samples:
            raise ModelFailedError("There is nothing to time it with.")
        for each in (self._native, runtime):
            each.tune(self._signature.name, list(samples.values()))
        return replace(heat, call_s={rows: self._times(runtime, sample) for rows, sample in samples.items()})

    def _times(self, runtime: Runtime, inputs: Tensors) -> tuple[float, float]:
        """Seconds of a call on the model's own runtime and on ``runtime``: the least of several, taken in turns.

        A turn is several calls: threads of the runtime whose turn has ended spin for a while, and would be counted
        against the other.
        """
        best = [math.inf, math.inf]
        spent = [0.0, 0.0]
        name = self._signature.name
        answers: list[Tensors] = [{}, {}]
        for turn in range(_TURNS):
            for lane, each in enumerate((self._native, runtime)):
                for _ in range(_CALLS_A_TURN):
                    before = time.perf_counter()
                    answers[lane] = each.run(name, inputs)
                    took = time.perf_counter() - before
                    best[lane] = min(best[lane], took)
                    spent[lane] += took
                    if took > _LONG_CALL_S:
                        break
            if not turn:
                self._check_size(*answers)
            if turn and sum(spent) > _LONGEST_S:
                break
        return best[0], best[1]

    def _check_size(self, expected: Tensors, actual: Tensors) -> None:
        """Runtimes choose other kernels for other sizes. Raises ModelFailedError where they disagree at this one."""
        tolerance = self._tolerance()
        for name, array in expected.items():
            same_shape = array.shape == actual[name].shape
            if not same_shape or (tolerance is not None and not agree(array, actual[name], tolerance)):
                rows = len(array) if array.ndim else 1
                raise ModelFailedError(f"The result differs from the model in output '{name}' of {rows} rows.")

    def _tolerance(self) -> float | None:
        """None for a precision that the operator accepts as it is."""
        if self._entrant.precision is not Precision.FLOAT32:
            return None
        specs = (*self._signature.inputs.values(), *self._signature.outputs.values())
        return min(_TOLERANCES.get(spec.dtype, TOLERANCE) for spec in specs)


def _worst(compared: SignatureComparison) -> OutputDifference:
    """The output that is farthest off, relative to its scale."""
    return max(
        compared.outputs.values(),
        key=lambda each: each.largest / each.scale if each.scale else each.largest,
        default=OutputDifference(),
    )


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."
