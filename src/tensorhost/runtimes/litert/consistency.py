"""Whether a ``.tflite`` file that reads well also makes sense: LiteRT checks much of this late, or not at all.

What must stay true: no model that LiteRT runs is refused, and of a model that passes, every index names something,
every constant is as large as its shape says, every operation's inputs are there when it runs, and subgraphs do not
call themselves. What operations do with the values of their constants and options remains LiteRT's to check.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise
from math import prod

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.runtimes.litert.errors import damaged
from tensorhost.runtimes.litert.model_file import ModelFile, OperatorRecord, SubgraphRecord, TensorRecord
from tensorhost.runtimes.litert.operators import LITERT_CUSTOM, NEED_OUTPUT_COUNT, needed_inputs
from tensorhost.runtimes.litert.tensor_types import TENSOR_TYPES

_LARGEST_TENSOR_BYTES = 2**32
_MOST_DIMENSIONS = 64
_DEEPEST_CALL = 64
"""LiteRT prepares called graphs within the calling one, on the stack."""

_NONE = -1
_QUANTISED = (DType.INT8, DType.UINT8, DType.INT16)
_STRING = 5


def check_model(model: ModelFile) -> None:
    """Raise ModelFailedError for the first thing that is wrong, named by its numbers in the file."""
    if not model.subgraphs:
        raise damaged("it holds no graph")
    for number, subgraph in enumerate(model.subgraphs):
        for index, tensor in enumerate(subgraph.tensors):
            _check_tensor(model, subgraph, tensor, f"tensor {index} of graph {number}")
        _check_indices(subgraph.inputs, subgraph, f"an input of graph {number}")
        _check_indices(subgraph.outputs, subgraph, f"an output of graph {number}")
        _check_operators(model, subgraph, number)
    _check_calls(model)
    for signature in model.signatures:
        where = f"signature '{signature.key}'"
        if signature.subgraph >= len(model.subgraphs):
            raise damaged(f"{where} belongs to graph {signature.subgraph}, which is not there")
        ports = (*signature.inputs.values(), *signature.outputs.values())
        _check_indices(ports, model.subgraphs[signature.subgraph], where)


def weights_bytes(model: ModelFile) -> int:
    """Bytes of the constants that tensors use, each buffer once."""
    buffers = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    return sum(span[1] for index in buffers if index and (span := model.buffers[index]) is not None)


def element_count(tensor: TensorRecord) -> int:
    """Number of elements of a constant."""
    return prod(tensor.shape)


def _check_tensor(model: ModelFile, subgraph: SubgraphRecord, tensor: TensorRecord, where: str) -> None:
    if not 0 <= tensor.type < len(TENSOR_TYPES):
        raise damaged(f"{where} has the unknown element type {tensor.type}")
    if tensor.buffer >= len(model.buffers):
        raise damaged(f"{where} refers to buffer {tensor.buffer}, which is not there")
    _check_shape(tensor, where)
    _check_quantization(tensor, where)
    _check_indices((index for index in tensor.scale_tensors if index > 0), subgraph, where)
    content = model.content(tensor)
    if content is None or tensor.is_sparse or tensor.is_variable:
        return
    bits = TENSOR_TYPES[tensor.type].bits
    if tensor.type == _STRING:
        _check_strings(model.data[content[0] : sum(content)], tensor, where)
    elif bits and content[1] != -(-element_count(tensor) * bits // 8):
        raise damaged(f"{where} has {content[1]} bytes of values, which do not fit its shape")


def _check_shape(tensor: TensorRecord, where: str) -> None:
    shape, signature = tensor.shape, tensor.signature
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < _NONE:
        raise damaged(f"{where} has an impossible shape")
    if signature and (len(signature) != len(shape) or min(signature) < _NONE):
        raise damaged(f"{where} has two shapes that do not fit each other")
    elements = prod(max(size, 1) for size in shape)
    if elements * max(TENSOR_TYPES[tensor.type].bits, 8) > 8 * _LARGEST_TENSOR_BYTES:
        raise damaged(f"{where} would have {elements} elements")


def _check_quantization(tensor: TensorRecord, where: str) -> None:
    dtype = TENSOR_TYPES[tensor.type].dtype
    if dtype in _QUANTISED:
        limits = np.iinfo(dtype.numpy)
        if not all(limits.min <= zero_point <= limits.max for zero_point in tensor.zero_points):
            raise damaged(f"{where} has a zero point outside its element type")


def _check_strings(content: bytes, tensor: TensorRecord, where: str) -> None:
    """A count, the offset of each string and of the end, then the strings."""
    count = struct.unpack_from("<i", content)[0] if len(content) >= 4 else -1
    if count < element_count(tensor) or len(content) < 4 * (count + 2):
        raise damaged(f"{where} does not hold its strings")
    offsets = struct.unpack_from(f"<{count + 1}i", content, 4)
    ordered = all(first <= second for first, second in pairwise(offsets))
    if not ordered or offsets[0] < 4 * (count + 2) or offsets[-1] > len(content):
        raise damaged(f"{where} does not hold its strings")


def _check_indices(indices: Iterable[int], subgraph: SubgraphRecord, where: str) -> None:
    for index in indices:
        if not 0 <= index < len(subgraph.tensors):
            raise damaged(f"{where} refers to tensor {index}, which is not there")


def _check_operators(model: ModelFile, subgraph: SubgraphRecord, number: int) -> None:
    """Every operation reads what is there when it runs, and writes what nothing else has written."""
    given = {
        index
        for index, tensor in enumerate(subgraph.tensors)
        if tensor.is_variable or model.content(tensor) is not None or _is_empty(tensor)
    }
    constant = {index for index in given if not _is_empty(subgraph.tensors[index])}
    given.update(subgraph.inputs)
    written = constant | set(subgraph.inputs)
    for position, operator in enumerate(subgraph.operators):
        where = f"operation {position} of graph {number} ({operator.name})"
        present = [index for index in operator.inputs if index != _NONE]
        _check_indices((*present, *operator.outputs), subgraph, where)
        _check_indices((index for index in operator.intermediates if index != _NONE), subgraph, where)
        _check_kind(operator, where)
        for index in present:
            if index not in given:
                raise damaged(f"{where} reads tensor {index} before it is computed")
        for index in operator.outputs:
            if index in written:
                raise damaged(f"{where} writes tensor {index}, which something else gives")
        given.update(operator.outputs)
        written.update(operator.outputs)
    for index in subgraph.outputs:
        if index not in given:
            raise damaged(f"nothing computes output tensor {index} of graph {number}")


def _check_kind(operator: OperatorRecord, where: str) -> None:
    needed = needed_inputs(operator.code, operator.name, len(operator.inputs))
    if len(operator.inputs) < needed or _NONE in operator.inputs[:needed]:
        raise damaged(f"{where} lacks an input")
    if operator.output_count is None and operator.name in NEED_OUTPUT_COUNT:
        raise damaged(f"{where} has no options")
    if operator.output_count not in (None, len(operator.outputs)):
        raise damaged(f"{where} promises {operator.output_count} outputs and has {len(operator.outputs)}")
    if operator.name in LITERT_CUSTOM and not operator.has_custom_options:
        raise damaged(f"{where} has no options")


def _is_empty(tensor: TensorRecord) -> bool:
    """Whether a constant without content is complete: it has no elements."""
    return 0 in tensor.shape


def _check_calls(model: ModelFile) -> None:
    """Subgraphs that operations call are there, and none calls itself, through others or directly."""
    calls = [{index for operator in graph.operators for index in operator.calls} for graph in model.subgraphs]
    for number, called in enumerate(calls):
        # -1 stands for an optional subgraph that is absent.
        for index in called:
            if not _NONE <= index < len(calls):
                raise damaged(f"graph {number} calls graph {index}, which is not there")
    finished, waiting = {_NONE}, set(range(len(calls)))
    for _ in range(_DEEPEST_CALL):
        ready = {number for number in waiting if calls[number] <= finished}
        finished |= ready
        waiting -= ready
        if not ready or not waiting:
            break
    if waiting:
        raise damaged(f"its graphs call each other in a circle, or more than {_DEEPEST_CALL} deep")
