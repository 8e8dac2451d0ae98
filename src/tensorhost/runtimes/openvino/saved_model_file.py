"""The signatures of a SavedModel, read off its bytes without TensorFlow, and the operations in its graph.

Only as much of the format as a server without TensorFlow needs. What must stay true: a damaged file is an error of the
file's, and the graph read here is the one that OpenVINO reads: the first tagged ``serve``, else the only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.core.ids import version_key
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Shape, TensorSpec
from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.contents import Contents, most_frequent_first, shown
from tensorhost.runtimes.wire_format import LENGTH_DELIMITED, VARINT, fields

_FILE = "saved_model.pb"
_MAX_BYTES = 2**31 - 1
_HIDDEN = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
_SERVE = b"serve"

# Numbers of fields in TensorFlow's public .proto files, by message.
_SAVED_MODEL_META_GRAPHS = 2
_META_INFO, _META_GRAPH_DEF, _META_SIGNATURES = 1, 2, 5
_INFO_TAGS = 4
_GRAPH_NODES, _GRAPH_LIBRARY = 1, 2
_LIBRARY_FUNCTIONS, _FUNCTION_SIGNATURE, _FUNCTION_NODES, _SIGNATURE_NAME = 1, 1, 3, 1
_NODE_NAME, _NODE_OPERATION, _NODE_INPUT, _NODE_ATTRIBUTES = 1, 2, 3, 5
_ATTRIBUTE_TYPE, _ATTRIBUTE_FUNCTION, _CALL_NAME = 6, 10, 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_METHOD = 1, 2, 3
_INFO_NAME, _INFO_DTYPE, _INFO_SHAPE = 1, 2, 3
_SHAPE_DIMENSIONS, _SHAPE_UNKNOWN_RANK = 2, 3
_DIMENSION_SIZE = 1

_ASSIGNS = ("Assign", "ResourceScatter", "ScatterUpdate", "VarIsInitialized")
_WIDE = frozenset({DType.INT64, DType.UINT32, DType.UINT64, DType.FLOAT64})
_NO_ARITHMETIC = frozenset(
    {"Cast", "ConcatV2", "Const", "ExpandDims", "Fill", "Gather", "GatherV2", "Identity", "Pack", "Reshape", "Squeeze"}
) | {"StridedSlice", "Tile", "Transpose"}
"""Operations that move values or make positions of them."""

_DTYPES = {
    1: DType.FLOAT32,
    2: DType.FLOAT64,
    3: DType.INT32,
    4: DType.UINT8,
    5: DType.INT16,
    6: DType.INT8,
    7: DType.STRING,
    8: DType.COMPLEX64,
    9: DType.INT64,
    10: DType.BOOL,
    14: DType.BFLOAT16,
    17: DType.UINT16,
    18: DType.COMPLEX128,
    19: DType.FLOAT16,
    22: DType.UINT32,
    23: DType.UINT64,
}
"""TensorFlow's numbers of element types."""


def read_signatures(folder: Path) -> list[Signature]:
    """The signatures of the SavedModel in ``folder``, the default one first.

    Inputs and outputs are in natural order of their names, as where TensorFlow reads them.

    Raises:
        ModelFailedError: the file is damaged, or nothing in it can be called.
        UnsupportedModelError: it is in a form that is not read here.
    """
    meta_graph = _meta_graph(folder)
    try:
        entries = [_entry(value) for value in _values(meta_graph, _META_SIGNATURES)]
        found = {name: _signature(name, value) for name, value in entries if name not in _HIDDEN}
    except (ValueError, KeyError) as error:
        raise _damaged(error) from error
    signatures = [signature for signature in found.values() if signature is not None]
    if not signatures:
        raise ModelFailedError("The model has no signature that can be served without TensorFlow.")
    return sorted(signatures, key=lambda each: (each.name != DEFAULT_SIGNATURE, version_key(each.name)))


def refuse_unlike(folder: Path, signature: Signature) -> None:
    """Raise UnsupportedModelError where OpenVINO would compute a signature of the SavedModel in ``folder`` in another
    way than TensorFlow, without a word: state that a call changes, float64, whole numbers of more than 32 bits."""
    for name, spec in (*signature.inputs.items(), *signature.outputs.items()):
        if spec.dtype is DType.FLOAT64:
            raise UnsupportedModelError(f"OpenVINO computes in float32, and '{name}' is float64.")
    try:
        nodes = list(_reached(_meta_graph(folder), signature.name))
    except (ValueError, KeyError) as error:
        raise _damaged(error) from error
    for operation, dtypes in nodes:
        if operation.startswith(_ASSIGNS):
            raise UnsupportedModelError("The model keeps variables that a call changes, which needs TensorFlow.")
        if operation not in _NO_ARITHMETIC and not dtypes.isdisjoint(_WIDE):
            raise UnsupportedModelError(f"{operation} computes with 64 bits, of which OpenVINO keeps 32.")


def _reached(meta_graph: bytes, signature: str) -> Iterator[tuple[str, frozenset[DType]]]:
    """Operation and element types (attributes ``T`` and ``DstT``) of each node that a signature executes."""
    [graph] = list(_values(meta_graph, _META_GRAPH_DEF))[-1:]
    functions: dict[str, list[bytes]] = {}
    for library in _values(graph, _GRAPH_LIBRARY):
        for function in _values(library, _LIBRARY_FUNCTIONS):
            name = _text(next(_values(function, _FUNCTION_SIGNATURE)), _SIGNATURE_NAME)
            functions[name] = list(_values(function, _FUNCTION_NODES))
    nodes = {_text(node, _NODE_NAME): node for node in _values(graph, _GRAPH_NODES)}
    definition = dict(_entry(value) for value in _values(meta_graph, _META_SIGNATURES))[signature]
    infos = [_entry(value)[1] for value in _values(definition, _SIGNATURE_OUTPUTS)]
    waiting = [_node_name(_text(info, _INFO_NAME)) for info in infos]
    seen: set[str] = set()
    bodies: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            waiting += [_node_name(source.decode("utf-8")) for source in _values(nodes[name], _NODE_INPUT)]
            yield _described(nodes[name])
            bodies += _called(nodes[name])
    entered: set[str] = set()
    while bodies:
        name = bodies.pop()
        if name in functions and name not in entered:
            entered.add(name)
            for node in functions[name]:
                yield _described(node)
                bodies += _called(node)


def _described(node: bytes) -> tuple[str, frozenset[DType]]:
    types = {key: _number(value, _ATTRIBUTE_TYPE) for key, value in _attributes(node) if key in ("T", "DstT")}
    return _text(node, _NODE_OPERATION), frozenset(_DTYPES[number] for number in types.values() if number in _DTYPES)


def _called(node: bytes) -> list[str]:
    """Functions that the node's attributes name."""
    named = [call for _, value in _attributes(node) for call in _values(value, _ATTRIBUTE_FUNCTION)]
    return [_text(call, _CALL_NAME) for call in named]


def _attributes(node: bytes) -> list[tuple[str, bytes]]:
    return [_entry(value) for value in _values(node, _NODE_ATTRIBUTES)]


def _text(message: bytes, number: int) -> str:
    return b"".join(list(_values(message, number))[-1:]).decode("utf-8")


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def examine_without_tensorflow(folder: Path, options: LoadOptions) -> Contents:
    """What is in the SavedModel in ``folder``. Raises as ``read_signatures`` does.

    There are no findings: OpenVINO executes what it has translated, and translates no operation that touches files,
    runs Python or opens sockets; it refuses a graph that needs one.
    """
    del options  # nothing is imported
    meta_graph = _meta_graph(folder)
    try:
        counts = Counter(shown(name) for name in _operations(meta_graph))
    except ValueError as error:
        raise _damaged(error) from error
    return Contents(most_frequent_first(counts), None, ())


def _meta_graph(folder: Path) -> bytes:
    file = folder / _FILE
    if not file.is_file():
        raise UnsupportedModelError("Without TensorFlow a SavedModel is read from saved_model.pb only.")
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise UnsupportedModelError(f"{_FILE} is larger than 2 GB, which no graph can be.")
        graphs = list(_values(file.read_bytes(), _SAVED_MODEL_META_GRAPHS))
        serving = [graph for graph in graphs if _SERVE in _tags(graph)]
    except (OSError, ValueError) as error:
        raise _damaged(error) from error
    if not serving and len(graphs) != 1:
        raise ModelFailedError("None of the model's graphs is tagged 'serve'.")
    return (serving or graphs)[0]


def _damaged(error: Exception) -> ModelFailedError:
    return ModelFailedError(f"{_FILE} cannot be read: it is damaged.", log_detail=str(error))


def _tags(meta_graph: bytes) -> list[bytes]:
    return [tag for info in _values(meta_graph, _META_INFO) for tag in _values(info, _INFO_TAGS)]


def _operations(meta_graph: bytes) -> Iterator[str]:
    for graph in _values(meta_graph, _META_GRAPH_DEF):
        nodes: list[bytes] = list(_values(graph, _GRAPH_NODES))
        for library in _values(graph, _GRAPH_LIBRARY):
            for function in _values(library, _LIBRARY_FUNCTIONS):
                nodes.extend(_values(function, _FUNCTION_NODES))
        for node in nodes:
            yield from (name.decode("utf-8", "replace") for name in _values(node, _NODE_OPERATION))


def _signature(name: str, definition: bytes) -> Signature | None:
    """The signature, None where it has a part that cannot be carried or is not dense."""
    inputs = _specs(definition, _SIGNATURE_INPUTS)
    outputs = _specs(definition, _SIGNATURE_OUTPUTS)
    if inputs is None or not outputs:
        return None
    method = b"".join(_values(definition, _SIGNATURE_METHOD)).decode("utf-8", "replace")
    return Signature(name, inputs, outputs, method)


def _specs(definition: bytes, number: int) -> dict[str, TensorSpec] | None:
    infos = dict(_entry(value) for value in _values(definition, number))
    specs = {name: _spec(name, infos[name]) for name in sorted(infos, key=version_key)}
    known = {name: spec for name, spec in specs.items() if spec is not None}
    return known if len(known) == len(specs) else None


def _spec(name: str, info: bytes) -> TensorSpec | None:
    dtype = _DTYPES.get(_number(info, _INFO_DTYPE))
    if dtype is None or not any(_values(info, _INFO_NAME)):
        return None
    shapes = list(_values(info, _INFO_SHAPE))
    return TensorSpec(name, dtype, _shape(shapes[-1]) if shapes else ())


def _shape(shape: bytes) -> Shape | None:
    if _number(shape, _SHAPE_UNKNOWN_RANK):
        return None
    sizes = [_signed(_number(dimension, _DIMENSION_SIZE)) for dimension in _values(shape, _SHAPE_DIMENSIONS)]
    return tuple(None if size < 0 else size for size in sizes)


def _entry(value: bytes) -> tuple[str, bytes]:
    """Key and value of one entry of a map."""
    key = b"".join(list(_values(value, _ENTRY_KEY))[-1:])
    return key.decode("utf-8"), b"".join(list(_values(value, _ENTRY_VALUE))[-1:])


def _values(message: bytes, number: int) -> Iterator[bytes]:
    """The values of a field that holds bytes, text or messages, in their order."""
    for field in fields(message):
        if field.number == number and field.kind == LENGTH_DELIMITED:
            yield message[field.start : field.end]


def _number(message: bytes, number: int) -> int:
    """The last value of a field that holds a number; 0 where there is none."""
    value = 0
    for field in fields(message):
        if field.number == number and field.kind == VARINT:
            value = _varint(message[field.start : field.end])
    return value


def _varint(data: Sequence[int]) -> int:
    return sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(data))


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
