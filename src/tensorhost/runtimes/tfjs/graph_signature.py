"""What a client may call in a TensorFlow.js graph model: names, types and shapes of inputs and outputs.

They come from ``userDefinedMetadata.signature``, else from ``signature``, as in TensorFlow.js; where these say nothing,
the placeholders are the inputs and the nodes that nobody reads the outputs. In the order of the file. The public name
of a tensor is its key there, without a ``:0`` at its end where names stay distinct without it;
``userDefinedMetadata.structuredOutputKeys`` names outputs instead. There is no second spelling of any name.

What must stay true: every input is a placeholder, with the placeholder's own type, and its shape where that is known;
every placeholder that an answer depends on is an input.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Shape, TensorSpec
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.graph_scan import Reached, node_name, shape_of
from tensorhost.runtimes.tensorflow.signature_defs import Bindings, BoundSignature
from tensorhost.runtimes.tfjs.graph_json import parse_message
from tensorhost.runtimes.tfjs.operations import WITHOUT_OUTPUT

_NOT_ANSWERS = WITHOUT_OUTPUT | {"Const", "Placeholder"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One input or output: public name, tensor, and what the file tells about it; None where it does not."""

    name: str
    tensor: str
    dtype: int | None
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Inputs and outputs of the one signature."""

    inputs: tuple[Endpoint, ...]
    outputs: tuple[Endpoint, ...]

    @property
    def nodes(self) -> list[str]:
        """The nodes behind them."""
        return [node_name(endpoint.tensor) for endpoint in (*self.inputs, *self.outputs)]


def declared_signature(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``inputs`` and ``outputs`` of the signature in the file; empty where there is none.

    Raises:
        ModelFailedError: it is not made as a signature is.
    """
    metadata = _object(document.get("userDefinedMetadata"), "userDefinedMetadata")
    field = "userDefinedMetadata.signature" if metadata.get("signature") else "signature"
    signature = _object(metadata.get("signature") or document.get("signature"), field)
    return {
        kind: {
            key: _object(info, f"{field}.{kind}.{shown(key)}")
            for key, info in _object(signature.get(kind), f"{field}.{kind}").items()
        }
        for kind in ("inputs", "outputs")
    }


def find_endpoints(graph_def: Any, document: Mapping[str, Any]) -> Endpoints:
    """Inputs and outputs of the graph; entries of the signature whose node was pruned away are left out.

    Raises:
        ModelFailedError: the signature is damaged, names an input that is no placeholder, or there is no output.
    """
    signature = declared_signature(document)
    nodes = {node.name: node for node in graph_def.node}
    placeholders = [node.name for node in graph_def.node if node.op.startswith("Placeholder")]
    given = {key: info for key, info in signature["inputs"].items() if info.get("resourceId") is None}
    inputs = _listed(given, nodes) or {name: _Told(f"{name}:0") for name in placeholders}
    for key, told in inputs.items():
        if node_name(told.tensor) not in placeholders:
            raise ModelFailedError(f"The signature's input '{shown(key)}' is not a placeholder of the graph.")
    outputs = _listed(signature["outputs"], nodes) or {name: _Told(f"{name}:0") for name in _unread(graph_def)}
    if not outputs:
        raise ModelFailedError("The graph has no output.")
    names = _structured_names(document, len(outputs)) or _public_names(outputs)
    return Endpoints(
        tuple(
            _input(name, told, nodes[node_name(told.tensor)])
            for name, told in zip(_public_names(inputs), inputs.values(), strict=True)
        ),
        tuple(
            Endpoint(name, told.tensor, told.dtype, told.shape)
            for name, told in zip(names, outputs.values(), strict=True)
        ),
    )


def check_fed(endpoints: Endpoints, reached: Reached) -> None:
    """Raise ModelFailedError where an answer depends on a placeholder that is no input."""
    fed = {node_name(endpoint.tensor) for endpoint in endpoints.inputs}
    for node in reached.nodes:
        if node.op == "Placeholder" and node.name not in fed:
            raise ModelFailedError(
                f"The graph needs the input '{shown(node.name)}', which its signature does not list."
            )


def complete(endpoints: Endpoints, graph: Any) -> Endpoints:
    """Types and shapes of outputs, where the file does not tell them, from the imported ``graph``."""

    def completed(endpoint: Endpoint) -> Endpoint:
        if endpoint.dtype is not None and endpoint.shape is not None:
            return endpoint
        tensor = graph.get_tensor_by_name(endpoint.tensor)
        shape = endpoint.shape if endpoint.shape is not None else shape_of(tensor.shape.as_proto())
        return Endpoint(endpoint.name, endpoint.tensor, tensor.dtype.as_datatype_enum, shape)

    return Endpoints(endpoints.inputs, tuple(completed(output) for output in endpoints.outputs))


def is_complete(endpoints: Endpoints) -> bool:
    """Whether the file tells type and shape of every output."""
    return all(output.dtype is not None and output.shape is not None for output in endpoints.outputs)


def bind(endpoints: Endpoints) -> Bindings:
    """The signature and the tensors behind it.

    Raises:
        ModelFailedError: a tensor is of a type that no request can carry.
    """
    signature = Signature(
        DEFAULT_SIGNATURE,
        {endpoint.name: _spec("input", endpoint) for endpoint in endpoints.inputs},
        {endpoint.name: _spec("output", endpoint) for endpoint in endpoints.outputs},
    )
    feeds = tuple(endpoint.tensor for endpoint in endpoints.inputs)
    fetches = tuple(endpoint.tensor for endpoint in endpoints.outputs)
    return Bindings((BoundSignature(signature, feeds, fetches),), {})


@dataclass(frozen=True, slots=True)
class _Told:
    """What an entry of the signature says."""

    tensor: str
    dtype: int | None = None
    shape: Shape | None = None


def _listed(entries: Mapping[str, Mapping[str, Any]], nodes: Collection[str]) -> dict[str, _Told]:
    listed: dict[str, _Told] = {}
    for key, info in entries.items():
        name = info.get("name", key)
        if not isinstance(name, str):
            raise ModelFailedError(f"The signature's entry '{shown(key)}' names no tensor.")
        if node_name(name) in nodes:
            tensor = name if ":" in name else f"{name}:0"
            listed[key] = _Told(tensor, _dtype(info.get("dtype")), _shape(key, info.get("tensorShape")))
    return listed


def _dtype(value: Any) -> int | None:
    from tensorflow.core.framework import types_pb2

    try:
        return (types_pb2.DataType.Value(value) if isinstance(value, str) else int(value)) or None
    except (TypeError, ValueError):
        return None


def _shape(key: str, value: Any) -> Shape | None:
    from tensorflow.core.framework import tensor_shape_pb2

    if value is None:
        return None
    shape = tensor_shape_pb2.TensorShapeProto()
    parse_message(value, shape, f"signature entry {shown(key)}.tensorShape")
    return shape_of(shape)


def _input(name: str, told: _Told, placeholder: Any) -> Endpoint:
    shape = told.shape
    if "shape" in placeholder.attr:
        shape = _merge(shape_of(placeholder.attr["shape"].shape), told.shape)
    return Endpoint(name, told.tensor, placeholder.attr["dtype"].type, shape)


def _merge(own: Shape | None, told: Shape | None) -> Shape | None:
    """The placeholder's own shape, with the signature's sizes where it leaves them open."""
    if own is None or told is None or len(own) != len(told):
        return told if own is None else own
    return tuple(size if other is None else other for size, other in zip(told, own, strict=True))


def _unread(graph_def: Any) -> list[str]:
    read = {node_name(source) for node in graph_def.node for source in node.input if not source.startswith("^")}
    return [node.name for node in graph_def.node if node.name not in read and node.op not in _NOT_ANSWERS]


def _structured_names(document: Mapping[str, Any], wanted: int) -> Sequence[str] | None:
    keys = _object(document.get("userDefinedMetadata"), "userDefinedMetadata").get("structuredOutputKeys")
    if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
        return None
    return keys if len(keys) == len(set(keys)) == wanted else None


def _public_names(keys: Iterable[str]) -> Sequence[str]:
    keys = list(keys)
    bare = [key.removesuffix(":0") for key in keys]
    return bare if len(set(bare)) == len(bare) else keys


def _spec(kind: str, endpoint: Endpoint) -> TensorSpec:
    from tensorflow.python.framework import dtypes

    try:
        return TensorSpec(endpoint.name, DType(dtypes.as_dtype(endpoint.dtype).name), endpoint.shape)
    except (TypeError, ValueError) as error:
        raise ModelFailedError(
            f"The {kind} '{shown(endpoint.name)}' has an element type that no request can carry."
        ) from error


def _object(value: Any, field: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ModelFailedError(f"{field} must be an object.", details={"field": field})
    return value or {}
