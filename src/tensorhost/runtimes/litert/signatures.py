"""Which calls a ``.tflite`` file offers, and by which names.

Names come from the first of these that has them: the file's signatures; signatures in its metadata for TensorFlow
Serving; TensorFlow Lite metadata; the tensors themselves, a tensor's name being shortened (``serving_default_x:0`` to
``x``, ``dense/Relu;dense/BiasAdd`` to ``dense/Relu``) as long as names stay distinct. A file without signatures has
one, ``serving_default``, of its main graph. What must stay true: a signature gives every input of its graph a value,
since LiteRT would compute with whatever lay in memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Shape, TensorSpec
from tensorhost.runtimes.litert.metadata import metadata_names
from tensorhost.runtimes.litert.model_file import ModelFile, SignatureRecord, TensorRecord
from tensorhost.runtimes.litert.quantization import Quantization
from tensorhost.runtimes.litert.serving_metadata import serving_signatures
from tensorhost.runtimes.litert.tensor_types import TENSOR_TYPES

_INDEX = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output.

    Attributes:
        spec: what clients see.
        tensor: the tensor's index in its graph.
        quantization: how values are converted; None for not at all.
        is_quantised: whether the tensor's numbers stand for real values, converted or not.
    """

    spec: TensorSpec
    tensor: int
    quantization: Quantization | None
    is_quantised: bool


@dataclass(frozen=True, slots=True)
class BoundSignature:
    """A signature and the tensors behind it.

    Attributes:
        signature: what clients see.
        subgraph: the graph it runs.
        inputs, outputs: in the order of the signature.
    """

    signature: Signature
    subgraph: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def with_free_rows(self) -> BoundSignature:
        """The same with any number of rows allowed in every input and output."""
        inputs = tuple(map(_free_rows, self.inputs))
        outputs = tuple(map(_free_rows, self.outputs))
        signature = Signature(self.signature.name, _specs(inputs), _specs(outputs))
        return replace(self, signature=signature, inputs=inputs, outputs=outputs)


def bind_signatures(model: ModelFile, *, dequantize: bool) -> tuple[list[BoundSignature], dict[str, str]]:
    """The signatures that can be served, the default one first, and the others by name with the reason.

    Args:
        model: a consistent model.
        dequantize: quantised inputs and outputs become float32.
    """
    records = model.signatures or serving_signatures(model) or [_main_graph(model)]
    bound: list[BoundSignature] = []
    refused: dict[str, str] = {}
    for record in sorted(records, key=lambda record: record.key != DEFAULT_SIGNATURE):
        reason = _refusal(model, record)
        if reason:
            refused[record.key] = reason
        else:
            bound.append(_bind(model, record, dequantize=dequantize))
    return bound, refused


def _main_graph(model: ModelFile) -> SignatureRecord:
    graph = model.subgraphs[0]
    inputs, outputs = metadata_names(model.metadata)
    return SignatureRecord(
        DEFAULT_SIGNATURE,
        dict(zip(_public_names(graph.inputs, graph.tensors, inputs, "input"), graph.inputs, strict=True)),
        dict(zip(_public_names(graph.outputs, graph.tensors, outputs, "output"), graph.outputs, strict=True)),
        0,
    )


def _public_names(
    indices: Sequence[int], tensors: Sequence[TensorRecord], described: Sequence[str], kind: str
) -> list[str]:
    """Distinct names: those described, else the tensors' shortened, else the tensors', else numbered."""
    full = [tensors[index].name for index in indices]
    whole = [name.partition(";")[0].removeprefix(f"{DEFAULT_SIGNATURE}_") for name in full]
    bare = [_INDEX.sub("", name) for name in whole]
    for names in (described, bare, whole, full):
        if len(names) == len(indices) == len(set(names)) and all(names):
            return list(names)
    return [f"{kind}_{position}" for position in range(len(indices))]


def _refusal(model: ModelFile, record: SignatureRecord) -> str:
    graph = model.subgraphs[record.subgraph]
    given = set(record.inputs.values())
    if not record.key or not all((*record.inputs, *record.outputs)):
        return "it, or one of its inputs or outputs, has no name"
    if given - set(graph.inputs) or set(record.outputs.values()) - set(graph.outputs):
        return "it names a tensor that is no input or output of its graph"
    if any(index not in given and not graph.tensors[index].is_variable for index in graph.inputs):
        return "it leaves an input of its graph without a value"
    if len(given) != len(record.inputs):
        return "two of its inputs are one tensor"
    if not record.outputs:
        return "it has no outputs"
    for kind, ports in (("input", record.inputs), ("output", record.outputs)):
        for name, index in ports.items():
            found = TENSOR_TYPES[graph.tensors[index].type]
            if found.dtype is None:
                return f"{kind} '{name}' has the element type {found.name}, which no request can carry"
    return ""


def _bind(model: ModelFile, record: SignatureRecord, *, dequantize: bool) -> BoundSignature:
    tensors = model.subgraphs[record.subgraph].tensors
    inputs, outputs = (
        tuple(_port(name, index, tensors[index], dequantize=dequantize) for name, index in ports.items())
        for ports in (record.inputs, record.outputs)
    )
    signature = Signature(record.key, _specs(inputs), _specs(outputs))
    return BoundSignature(signature, record.subgraph, inputs, outputs)


def _specs(ports: Sequence[Port]) -> Mapping[str, TensorSpec]:
    return {port.spec.name: port.spec for port in ports}


def _port(name: str, index: int, tensor: TensorRecord, *, dequantize: bool) -> Port:
    dtype = TENSOR_TYPES[tensor.type].dtype
    quantization = Quantization.of(tensor) if dequantize else None
    assert dtype is not None  # such signatures are refused
    spec = TensorSpec(name, dtype if quantization is None else DType.FLOAT32, _shape(tensor))
    return Port(spec, index, quantization, is_quantised=bool(tensor.scales))


def _shape(tensor: TensorRecord) -> Shape:
    """The shape, free where the file's second one says so. An unknown rank looks like a scalar's in files."""
    public = tensor.signature or tensor.shape
    return tuple(None if free < 0 or size < 0 else size for size, free in zip(tensor.shape, public, strict=True))


def _free_rows(port: Port) -> Port:
    shape = port.spec.shape
    return replace(port, spec=replace(port.spec, shape=(None, *shape[1:]) if shape else shape))
