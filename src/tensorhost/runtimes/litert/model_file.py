"""A ``.tflite`` file as plain records: what the FlatBuffer says, read in full and within bounds.

Knows the schema's field numbers, and nothing about what makes a model sensible (``consistency`` does). Needs neither
LiteRT nor TensorFlow. What must stay true: every table, vector and string that LiteRT will follow has been followed
here first, so that a damaged file is refused here, with a reason, whether this version of LiteRT checks it or not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.detection import TFLITE_MAGIC
from tensorhost.runtimes.litert.errors import damaged
from tensorhost.runtimes.litert.flatbuffer import Document, Table
from tensorhost.runtimes.litert.operators import (
    CALLED_SUBGRAPHS,
    CASE_OPTIONS,
    CUSTOM,
    OPTION_VECTORS,
    OUTPUT_COUNTS,
    builtin_name,
)

MAX_FILE_BYTES = 2**31 - 1
_METADATA = "TFLITE_METADATA"
_SERVING_METADATA = "signature_defs_metadata"
_BLOCKWISE, _MULTI_AXIS = 2, 3
_SPARSE_INDEX_FORMATS = {1: "i", 2: "H", 3: "B"}


class TensorRecord(NamedTuple):
    """One tensor. ``type`` is the schema's number, ``signature`` the shape with -1 where any size is allowed."""

    name: str
    type: int
    shape: tuple[int, ...]
    signature: tuple[int, ...] | None
    buffer: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    is_variable: bool
    is_sparse: bool
    scale_tensors: tuple[int, ...]


class OperatorRecord(NamedTuple):
    """One operation.

    Attributes:
        code, name: its number and name.
        inputs, outputs, intermediates: tensors by index, -1 for none.
        calls: the subgraphs that it runs.
        has_custom_options: whether a custom operation's options are there.
        output_count: how many outputs its options promise; None where they do not tell.
    """

    code: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    calls: tuple[int, ...]
    has_custom_options: bool
    output_count: int | None


class SubgraphRecord(NamedTuple):
    """One graph of operations, in the order they run."""

    tensors: list[TensorRecord]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[OperatorRecord]


class SignatureRecord(NamedTuple):
    """One named call: the tensors of a subgraph by public name."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    subgraph: int


class ModelFile(NamedTuple):
    """Everything read.

    Attributes:
        data: the file.
        subgraphs: the first is the main one.
        signatures: in the order of the file.
        buffers: where each one's content lies, (position, size in bytes); None for one without content.
        metadata: what is stored under the name TFLITE_METADATA; empty where there is none.
        serving_signatures: the same under the name signature_defs_metadata.
    """

    data: bytes
    subgraphs: list[SubgraphRecord]
    signatures: list[SignatureRecord]
    buffers: list[tuple[int, int] | None]
    metadata: bytes
    serving_signatures: bytes

    def content(self, tensor: TensorRecord) -> tuple[int, int] | None:
        """Where a constant's values lie; None for a tensor that is computed. The buffer's index was checked."""
        return self.buffers[tensor.buffer] if tensor.buffer else None


def read_model_file(path: Path) -> bytes:
    """The bytes of the file at ``path``.

    Raises ModelFailedError where it cannot be read, is no TensorFlow Lite file, or is larger than 2 GB.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UnsupportedModelError("The .tflite file is larger than 2 GB, which a FlatBuffer cannot be.")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFailedError("The .tflite file cannot be read.", log_detail=str(error)) from error
    if data[4:8] != TFLITE_MAGIC:
        raise damaged("it does not begin as one")
    return data


def parse_model(data: bytes) -> ModelFile:
    """Read the bytes of a ``.tflite`` file.

    Raises ModelFailedError for bytes that are no whole FlatBuffer of this schema, UnsupportedModelError for weights
    that lie in other files.
    """
    document = Document(data)
    root = document.root()
    if any(root.tables(8)) or any(root.tables(9)):
        raise UnsupportedModelError("The model keeps weights in other files; convert it to a single .tflite file.")
    codes = root.each(1, _operator_code)
    buffers = [_buffer(document, table) for table in root.tables(4)]
    root.text(3)
    root.numbers(5, "i")
    subgraphs = [_subgraph(document, table, codes) for table in root.tables(2)]
    metadata = dict(root.each(6, lambda table: (table.text(0), table.number(1, "I"))))
    signatures = root.each(7, _signature)
    described, serving = (_stored(data, buffers, metadata.get(name)) for name in (_METADATA, _SERVING_METADATA))
    return ModelFile(data, subgraphs, signatures, buffers, described, serving)


def _stored(data: bytes, buffers: list[tuple[int, int] | None], index: int | None) -> bytes:
    """What a buffer holds; nothing where there is no such buffer."""
    span = buffers[index] if index is not None and index < len(buffers) else None
    return data[span[0] : sum(span)] if span else b""


def _operator_code(table: Table) -> tuple[int, str]:
    """Number and name. Numbers over 127 stand in a field of their own; older files have only the small one."""
    code = max(table.number(0, "b"), table.number(3, "i"))
    custom = table.text(1)
    return code, (custom or "unnamed") if code == CUSTOM else builtin_name(code)


def _buffer(document: Document, table: Table) -> tuple[int, int] | None:
    span = table.span(0)
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset > 1 and size > 0:  # beyond the tables, where files of more than 2 GB keep weights
        document.check(offset, size)
        return offset, size
    return span if span is None or span[1] else None


def _subgraph(document: Document, table: Table, codes: list[tuple[int, str]]) -> SubgraphRecord:
    table.text(4)
    return SubgraphRecord(
        table.each(0, _tensor),
        table.numbers(1, "i"),
        table.numbers(2, "i"),
        table.each(3, lambda operator: _operator(document, operator, codes)),
    )


def _tensor(table: Table) -> TensorRecord:
    if table.number(10, "I"):
        raise UnsupportedModelError("The model keeps weights in other files; convert it to a single .tflite file.")
    for variant in table.tables(9):
        variant.numbers(0, "i")
    scales, zero_points, scale_tensors = _quantization(table.table(4))
    return TensorRecord(
        name=table.text(3),
        type=table.number(1, "b"),
        shape=table.numbers(0, "i"),
        signature=table.numbers_or_none(7, "i"),
        buffer=table.number(2, "I"),
        scales=scales,
        zero_points=zero_points,
        is_variable=bool(table.number(5, "B")),
        is_sparse=_is_sparse(table.table(6)),
        scale_tensors=scale_tensors,
    )


def _quantization(table: Table | None) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]:
    """Scales, zero points, and the tensors that hold scales where there are some for each block."""
    if table is None:
        return (), (), ()
    table.floats(0)
    table.floats(1)
    kind, details = table.number(4, "B"), table.table(5)
    scale_tensors: tuple[int, ...] = ()
    if details is not None and kind in (_BLOCKWISE, _MULTI_AXIS):
        details.span(3, 4)
        scale_tensors = (details.number(0, "i"), details.number(1, "i"))
    elif details is not None:
        details.span(0)
    return table.floats(2), table.numbers(3, "q"), scale_tensors


def _is_sparse(table: Table | None) -> bool:
    if table is None:
        return False
    table.numbers(0, "i")
    table.numbers(1, "i")
    for dimension in table.tables(2):
        for kind_field in (2, 4):
            form = _SPARSE_INDEX_FORMATS.get(dimension.number(kind_field, "B"))
            values = dimension.table(kind_field + 1)
            if form is not None and values is not None:
                values.numbers(0, form)
    return True


def _operator(document: Document, table: Table, codes: list[tuple[int, str]]) -> OperatorRecord:
    index = table.number(0, "I")
    if index >= len(codes):
        raise damaged("an operation has no kind")
    code, name = codes[index]
    table.span(7)
    custom = table.span(5) or (table.number(9, "Q"), table.number(10, "Q"))
    document.check(*custom)
    kind, options = table.number(3, "B"), table.table(4)
    calls = (*_options(1, kind, options), *_options(2, table.number(11, "B"), table.table(12)))
    return OperatorRecord(
        code=code,
        name=name,
        inputs=table.numbers(1, "i"),
        outputs=table.numbers(2, "i"),
        intermediates=table.numbers(8, "i"),
        calls=calls,
        has_custom_options=custom[1] > 0,
        output_count=options.number(0, "i") if options is not None and kind in OUTPUT_COUNTS else None,
    )


def _options(union: int, kind: int, options: Table | None) -> tuple[int, ...]:
    """Follow the options' vectors, and return the subgraphs that they name."""
    if options is None:
        return ()
    for field, width in OPTION_VECTORS[union].get(kind, {}).items():
        options.span(field, width)
    if union == 2 and kind == CASE_OPTIONS:
        return options.numbers(0, "i")
    return tuple(options.number(field, "i") for field in CALLED_SUBGRAPHS[union].get(kind, ()))


def _signature(table: Table) -> SignatureRecord:
    return SignatureRecord(
        key=table.text(2),
        inputs=dict(table.each(0, _tensor_map)),
        outputs=dict(table.each(1, _tensor_map)),
        subgraph=table.number(4, "I"),
    )


def _tensor_map(table: Table) -> tuple[str, int]:
    return table.text(0), table.number(1, "I")
