"""Reading the weights of a TensorFlow.js model from its shards, the quantised ones made whole as TensorFlow.js does.

TensorFlow.js computes ``stored * scale + min`` in float64; the result is stored as float32, or rounded with halves
upwards and stored as int32, modulo 2 to the 32nd. What must stay true: nothing is allocated before the files were
found to be as large as the manifest promises, and no shard is held in memory beside the weights made of it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.tensors import Array, element_count
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tfjs.model_json import ModelJson, Quantization, WeightGroup, WeightSpec

_LENGTH_BYTES = 4
_MOST_LISTED = 20
_CHUNK_ELEMENTS = 2**18
_STORED = {name: np.dtype(name).newbyteorder("<") for name in ("float32", "int32", "complex64", "uint8", "uint16")}
_STORED |= {"float16": np.dtype("<f2"), "bool": np.dtype(np.uint8)}


class _Shard(NamedTuple):
    name: str
    path: Path
    size: int


def read_weights(model: ModelJson) -> dict[str, Array]:
    """Every weight of ``model`` by name, in the order of the manifest; those of the optimizer left out.

    The arrays have the dtype and the shape of their ``WeightSpec``; strings are object arrays of bytes.

    Raises:
        ModelFailedError: a shard is missing, or the shards are not as large as the weights; the message names the
            shard, the bytes expected and the bytes there.
    """
    groups = [(group, _shards(model.path.parent, group)) for group in model.manifest]
    for group, shards in groups:
        _check_sizes(group, shards)
    return {name: array for group, shards in groups for name, array in _read_group(group, shards)}


def _shards(folder: Path, group: WeightGroup) -> list[_Shard]:
    return [_Shard(name, folder / name, _file_size(folder / name, name)) for name in group.paths]


def _file_size(path: Path, name: str) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelFailedError(f"The weight file '{shown(name)}' is missing.", log_detail=str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelFailedError(f"The weight file '{shown(name)}' is not a file.")
    return status.st_size


def _check_sizes(group: WeightGroup, shards: Sequence[_Shard]) -> None:
    """Compare what the manifest promises with what is there. Of strings only their least size is known yet."""
    promised = sum(_least_bytes(spec) for spec in group.weights)
    present = sum(shard.size for shard in shards)
    is_exact = all(spec.dtype != "string" for spec in group.weights)
    if present < promised or (is_exact and present > promised):
        raise _wrong_size(shards, promised, at_least=not is_exact)


def _least_bytes(spec: WeightSpec) -> int:
    if spec.dtype == "string":
        return element_count(spec.shape) * _LENGTH_BYTES
    return element_count(spec.shape) * _stored_dtype(spec).itemsize


def _stored_dtype(spec: WeightSpec) -> np.dtype[np.generic]:
    return _STORED[spec.quantization.dtype if spec.quantization else spec.dtype]


def _wrong_size(shards: Sequence[_Shard], promised: int, *, at_least: bool) -> ModelFailedError:
    """The error for shards that hold another number of bytes together than the manifest promises.

    All shards but the last are usually equally large, which tells the wrong one.
    """
    words = "at least " if at_least else ""
    if not shards:
        return ModelFailedError(f"The weights manifest promises {promised} bytes of weights and names no file.")
    whole = max(shard.size for shard in shards[:-1]) if len(shards) > 1 else 0
    expected = [whole] * (len(shards) - 1) + [promised - whole * (len(shards) - 1)]
    wrong = [pair for pair in zip(shards, expected, strict=True) if pair[0].size != pair[1]]
    if len(wrong) == 1 and expected[-1] > 0:
        shard, size = wrong[0]
        return ModelFailedError(
            f"The weight file '{shown(shard.name)}' has {shard.size} bytes; the manifest promises {words}{size}.",
            details={"file": shard.name, "expected": size, "actual": shard.size},
        )
    names = ", ".join(f"'{shown(shard.name)}' ({shard.size})" for shard in shards[:_MOST_LISTED])
    present = sum(shard.size for shard in shards)
    return ModelFailedError(
        f"The weight files have {present} bytes together; the manifest promises {words}{promised}: {names}.",
        details={
            "files": [shown(shard.name) for shard in shards[:_MOST_LISTED]],
            "expected": promised,
            "actual": present,
        },
    )


def _read_group(group: WeightGroup, shards: Sequence[_Shard]) -> Iterator[tuple[str, Array]]:
    with ExitStack() as stack:
        reader = _Reader([(stack.enter_context(_opened(shard)), shard) for shard in shards])
        for spec in group.weights:
            array = _read_weight(reader, spec)
            if not spec.optimizer:
                yield spec.name, array
        if reader.left:
            promised = sum(shard.size for shard in shards) - reader.left
            raise _wrong_size(shards, promised, at_least=False)


def _opened(shard: _Shard) -> BinaryIO:
    try:
        return shard.path.open("rb")
    except OSError as error:
        raise ModelFailedError(
            f"The weight file '{shown(shard.name)}' cannot be read.", log_detail=str(error)
        ) from error


class _Reader:
    """The shards of a group as one stream of bytes."""

    def __init__(self, files: Sequence[tuple[BinaryIO, _Shard]]) -> None:
        self._files = list(reversed(files))
        self._in_file = files[0][1].size if files else 0
        self.left = sum(shard.size for _, shard in files)

    def fill(self, array: Array) -> None:
        """Read as many bytes as ``array`` has, which must be contiguous."""
        if array.size:
            self._fill(array.reshape(-1).view(np.uint8).data)

    def read(self, size: int) -> bytes:
        """``size`` bytes."""
        piece = bytearray(size)
        self._fill(memoryview(piece))
        return bytes(piece)

    def _fill(self, view: memoryview) -> None:
        if len(view) > self.left:
            raise ModelFailedError("The strings among the weights are longer than the weight files.")
        while view:
            view = view[self._read_part(view) :]

    def _read_part(self, view: memoryview) -> int:
        while not self._in_file:
            self._files.pop()
            self._in_file = self._files[-1][1].size
        file, shard = self._files[-1]
        count = file.readinto(view[: self._in_file])  # type: ignore[attr-defined]  # typeshed leaves it out of BinaryIO
        if not count:
            raise ModelFailedError(f"The weight file '{shown(shard.name)}' became shorter while it was read.")
        self._in_file -= count
        self.left -= count
        return int(count)


def _read_weight(reader: _Reader, spec: WeightSpec) -> Array:
    if spec.dtype == "string":
        return _read_strings(reader, spec)
    if spec.quantization is not None:
        return _read_quantized(reader, spec, spec.quantization)
    array: Array = np.empty(spec.shape, _stored_dtype(spec))
    reader.fill(array)
    return array != 0 if spec.dtype == "bool" else array


def _read_quantized(reader: _Reader, spec: WeightSpec, quantization: Quantization) -> Array:
    array: Array = np.empty(spec.shape, _STORED[spec.dtype])
    values = array.reshape(-1)
    for start in range(0, values.size, _CHUNK_ELEMENTS):
        part = values[start : start + _CHUNK_ELEMENTS]
        stored: Array = np.empty(part.shape, _stored_dtype(spec))
        reader.fill(stored)
        with np.errstate(over="ignore"):  # beyond float32 is infinite, there as here
            part[:] = _whole(stored, quantization, spec.dtype)
    return array


def _whole(stored: Array, quantization: Quantization, dtype: str) -> Array:
    if quantization.dtype == "float16":
        return stored
    values = stored.astype(np.float64) * quantization.scale + quantization.minimum
    if dtype != "int32":
        return values
    below = np.floor(values)
    rounded = below + (values - below >= 0.5)
    wrapped: Array = np.mod(rounded, 2.0**32).astype(np.uint32).view(np.int32)
    return wrapped


def _read_strings(reader: _Reader, spec: WeightSpec) -> Array:
    """Each element is its length in 4 bytes, then its bytes."""
    array: Array = np.empty(spec.shape, object)
    values = array.reshape(-1)
    for index in range(values.size):
        length = int.from_bytes(reader.read(_LENGTH_BYTES), "little")
        if length > reader.left:
            raise ModelFailedError(f"A string of the weight '{shown(spec.name)}' is longer than the weight files.")
        values[index] = reader.read(length)
    return array
