"""One signature called on an interpreter: shapes fitted, inputs set, run, outputs copied out.

Where all signatures are of the main graph it is called step by step, and memory is planned anew only when a shape
differs from the last call's (0.15 ms for a small convolution network). Otherwise LiteRT's own callers do the same for
a microsecond more; they and the steps do not go together on one interpreter. What must stay true: no output shares
memory with the interpreter, and a call starts from the state in the file, whatever ran before.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.litert.errors import LITERT_ERRORS, run_error, shape_error
from tensorhost.runtimes.litert.interpreter import Lane
from tensorhost.runtimes.litert.signatures import BoundSignature, Port


class SignatureCall:
    """How one signature is called.

    Args:
        bound: the signature and its tensors.
        has_state: whether the model has tensors that keep values between runs.
        by_steps: whether to call the main graph step by step.
    """

    __slots__ = ("_by_steps", "_feeds", "_has_state", "_outputs", "_quantised", "bound", "sequential_rows")

    def __init__(self, bound: BoundSignature, *, has_state: bool, by_steps: bool) -> None:
        self.bound = bound
        self.sequential_rows = 0
        self._has_state = has_state
        self._by_steps = by_steps
        # In the order of the graph, which signatures on the same one share.
        self._feeds = tuple(sorted(((port.spec.name, port.tensor) for port in bound.inputs), key=itemgetter(1)))
        self._outputs = tuple((port.spec.name, port) for port in bound.outputs)
        self._quantised = {port.spec.name: port.quantization for port in bound.inputs if port.quantization is not None}

    def with_free_rows(self) -> SignatureCall:
        """The same with any number of rows allowed."""
        return SignatureCall(self.bound.with_free_rows(), has_state=self._has_state, by_steps=self._by_steps)

    def prepare(self, inputs: Tensors) -> Tensors:
        """The inputs as the model takes them. Raises InvalidRequestError for values without a quantised form."""
        if not self._quantised:
            return inputs
        quantised = {name: by.quantize(name, inputs[name]) for name, by in self._quantised.items()}
        return {**inputs, **quantised}

    def rows(self, inputs: Tensors) -> int:
        """How many rows a call has: the size of the first input's first dimension, 1 where it has none."""
        if not self._feeds:
            return 1
        shape = inputs[self._feeds[0][0]].shape
        return shape[0] if shape else 1

    def run(self, lane: Lane, inputs: Tensors) -> dict[str, Array]:
        """Call it. After any error the lane is good for nothing.

        Raises:
            InvalidRequestError: the model refused shapes or values.
            OutOfMemoryError: the call does not fit in memory.
            ModelFailedError: any other failure.
        """
        if not self._by_steps:
            return self._run_by_name(lane, inputs)
        interpreter = lane.interpreter
        shapes = [inputs[name].shape for name, _ in self._feeds]
        if shapes != lane.shapes:
            self._fit(lane, shapes)
        try:
            if self._has_state:
                interpreter.reset_all_variables()
            for name, tensor in self._feeds:
                interpreter.set_tensor(tensor, inputs[name])
            interpreter.invoke()
            return {name: _settle(_read(interpreter, port, 0), port) for name, port in self._outputs}
        except LITERT_ERRORS as error:
            raise run_error(error) from error

    def _fit(self, lane: Lane, shapes: list[tuple[int, ...]]) -> None:
        try:
            for (_, tensor), shape in zip(self._feeds, shapes, strict=True):
                lane.interpreter.resize_tensor_input(tensor, shape)
            lane.interpreter.allocate_tensors()
        except LITERT_ERRORS as error:
            raise shape_error(error) from error
        lane.shapes = shapes

    def _run_by_name(self, lane: Lane, inputs: Tensors) -> dict[str, Array]:
        interpreter, subgraph = lane.interpreter, self.bound.subgraph
        try:
            if self._has_state:
                interpreter.reset_all_variables()
            try:
                values: Mapping[str, Any] = lane.runner(self.bound.signature.name)(**inputs)
            except ValueError as error:
                if not _has_empty(error):
                    raise
                values = {name: _read(interpreter, port, subgraph) for name, port in self._outputs}
            return {name: _settle(values[name], port) for name, port in self._outputs}
        except LITERT_ERRORS as error:
            raise run_error(error) from error


def _read(interpreter: Any, port: Port, subgraph: int) -> Any:
    """An output's value, copied. LiteRT refuses to give one that came out without elements."""
    try:
        return interpreter.get_tensor(port.tensor, subgraph)
    except ValueError as error:
        if not _has_empty(error):
            raise
        details = interpreter.get_tensor_details(subgraph)
        shape = next(tuple(detail["shape"]) for detail in details if detail["index"] == port.tensor)
        if 0 not in shape:
            raise
        dtype = port.spec.dtype if port.quantization is None else port.quantization.dtype
        return np.empty(shape, dtype.numpy)


def _has_empty(error: ValueError) -> bool:
    return "Invalid tensor size" in str(error)


def _settle(value: Any, port: Port) -> Array:
    """The value as the caller's to keep: an array, converted where it should be, read-only."""
    array: Array = np.asarray(value, dtype=port.spec.dtype.numpy if port.quantization is None else None)
    if port.quantization is not None:
        array = port.quantization.dequantize(array)
    array.flags.writeable = False
    return array
