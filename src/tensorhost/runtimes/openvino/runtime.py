"""A model compiled by OpenVINO, ready to call.

An infer request computes for one caller at a time, so each call takes one that is idle, or makes one. What must stay
true: no output shares memory with a request, whose memory the next call overwrites; a request that failed is never
used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.openvino.process import OPENVINO_ERRORS, run_error

WIDE = frozenset({DType.INT64, DType.UINT32, DType.UINT64})
"""Whole numbers of which OpenVINO keeps 32 bits while it computes."""

_LARGEST = 2**31 - 1


class CompiledCall:
    """One signature, ready to call.

    Args:
        tensor: OpenVINO's class of tensors.
        compiled: the compiled model.
        signature: names and order of inputs and outputs.
        inputs, outputs: positions of the signature's tensors in the compiled model, in the signature's order.
    """

    __slots__ = ("_compiled", "_idle", "_inputs", "_narrowed", "_outputs", "_tensor", "signature")

    def __init__(
        self, tensor: Any, compiled: Any, signature: Signature, inputs: Sequence[int], outputs: Sequence[int]
    ) -> None:
        self.signature = signature
        self._tensor = tensor
        self._compiled = compiled
        self._inputs = tuple(zip(signature.inputs, inputs, strict=True))
        self._outputs = tuple(zip(signature.outputs, outputs, strict=True))
        self._narrowed = frozenset(name for name, spec in signature.inputs.items() if spec.dtype in WIDE)
        # Appending and popping are atomic; a call that finds none idle makes one of its own.
        self._idle: list[Any] = []

    def __call__(self, inputs: Tensors) -> dict[str, Array]:
        """Run once.

        Raises InvalidRequestError for whole numbers that OpenVINO would cut to 32 bits, ModelFailedError,
        OutOfMemoryError.
        """
        for name in self._narrowed:
            _refuse_large(name, inputs[name])
        # OpenVINO reads arrays where they lie and keeps none of them alive: whatever had to be copied is held here
        # until the call is done.
        arrays = [_readable(inputs[name]) for name, _ in self._inputs]
        try:
            try:
                request = self._idle.pop()
            except IndexError:
                request = self._compiled.create_infer_request()
            for array, (_, position) in zip(arrays, self._inputs, strict=True):
                request.set_input_tensor(position, self._tensor(array, shared_memory=True))
            request.infer()
            outputs = {name: _kept(request.get_output_tensor(position).data) for name, position in self._outputs}
        except OPENVINO_ERRORS as error:
            raise run_error(error) from error
        self._idle.append(request)
        return outputs


def _readable(array: Array) -> Array:
    """``array``, or a copy where OpenVINO would not take it: in order, and writable, though it is only read."""
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else array.copy(order="C")


def _refuse_large(name: str, array: Array) -> None:
    if array.size and (array.max() > _LARGEST or (array.dtype.kind == "i" and array.min() < -_LARGEST - 1)):
        raise InvalidRequestError(
            f"Input '{name}' has a value beyond 32 bits, with which OpenVINO does not compute.",
            details={"input": name, "largest": _LARGEST},
        )


def _kept(value: Array) -> Array:
    array = np.array(value)
    array.flags.writeable = False
    return array
