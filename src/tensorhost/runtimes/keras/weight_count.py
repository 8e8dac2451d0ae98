"""How many numbers a Keras file holds as weights, by the shapes that the file states. No weight is read.

What must stay true: a damaged or hostile file costs no more than its size, and gives None.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from tensorhost.runtimes.base import ModelFormat
from tensorhost.runtimes.contents import MAX_PARAMETERS

_MOST_OBJECTS = 200_000
_MOST_UNPACKED_BYTES = 256 * 2**20
_LOCAL_HEADER_BYTES = 30
_WEIGHTS_SUFFIX = ".weights.h5"
_NO_WEIGHTS = frozenset({"optimizer", "optimizer_weights", "seed_generator"})
"""Groups that hold the state of training and of random numbers."""


def count_parameters(path: Path, model_format: ModelFormat) -> int | None:
    """Numbers in the weights of the Keras file at ``path``; None where the file does not tell."""
    try:
        if model_format is ModelFormat.KERAS_H5:
            return _count(path, "model_weights")
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(_WEIGHTS_SUFFIX)]
            counts = [_count(_opened(archive, path, member), "/") for member in members]
    except (OSError, ValueError, RuntimeError, KeyError, NotImplementedError, EOFError, zipfile.BadZipFile, TypeError):
        return None
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def stored_numbers(group: Any) -> int:
    """Numbers in the weights within an open HDF5 file or group."""
    import h5py

    return sum(prod(shape) for shape in _shapes(h5py, group))


def _opened(archive: zipfile.ZipFile, path: Path, member: zipfile.ZipInfo) -> Any:
    """The member as a file that can be read from anywhere."""
    if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
        return _Window(path, member.header_offset, member.file_size)
    if member.file_size > _MOST_UNPACKED_BYTES:
        raise ValueError("too large")
    return io.BytesIO(archive.read(member))


def _count(file: Any, group: str) -> int | None:
    import h5py

    with h5py.File(file, "r") as opened:
        if group not in opened:
            return None
        total = stored_numbers(opened[group])
    return total if total < MAX_PARAMETERS else None


def _shapes(h5py: Any, group: Any) -> Iterator[tuple[int, ...]]:
    """Shapes of the numeric arrays in ``group``, each once. Links to other places or files are not followed."""
    seen: set[int] = set()
    waiting = [group]
    while waiting:
        current = waiting.pop()
        for name in current:
            if name in _NO_WEIGHTS or not isinstance(current.get(name, getlink=True), h5py.HardLink):
                continue
            child = current[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise ValueError("too many objects")
            if isinstance(child, h5py.Group):
                waiting.append(child)
            elif isinstance(child, h5py.Dataset) and child.shape is not None and child.dtype.kind in "fiubc":
                yield child.shape


class _Window(io.RawIOBase):
    """The content of an uncompressed member of a zip archive, read where it lies."""

    def __init__(self, path: Path, header_offset: int, size_bytes: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._file.seek(header_offset)
        header = self._file.read(_LOCAL_HEADER_BYTES)
        name_bytes, extra_bytes = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        self._start = header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        self._size = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the member."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as the member goes; the number of bytes."""
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view)
        self._position += count
        return count

    def close(self) -> None:
        """Close the archive's file."""
        self._file.close()
        super().close()
