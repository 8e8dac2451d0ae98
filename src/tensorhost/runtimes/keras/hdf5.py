"""Reading HDF5 files that anybody may have made.

An HDF5 file may name other files, on this machine, and have their content read in its place; it may declare arrays
larger than any memory; it may compress next to nothing into very much. What must stay true: a file is looked through as
a whole before anything is read from it, nothing in it leads outside of it, and what it unpacks to is bounded by its
own size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.core.errors import ModelFailedError, RuntimeMissingError
from tensorhost.core.tensors import Array

_FREE_BYTES = 64 * 2**20
_MAX_EXPANSION = 20
_MAX_OBJECTS = 1_000_000
_MAX_TEXT_BYTES = 64 * 2**20
_MAX_NAMES_BYTES = 16 * 2**30  # no more than a guess: all names of a list may be one text, and it as long as any
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_FILTERS = frozenset({_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF})


@contextmanager
def opened(path: Path, shown: str) -> Iterator[Any]:
    """The HDF5 file at ``path`` as an ``h5py.File``, looked through and safe to read by names.

    Args:
        path: the file.
        shown: what messages call it, such as ``The .h5 file``.

    Raises:
        ModelFailedError: damaged, or it has what no model needs: links, data in other files, far too large arrays.
            So does whatever h5py raises within the ``with`` block.
        RuntimeMissingError: h5py is not installed.
    """
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            _look_through(h5py, file, path.stat().st_size, shown)
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, UnicodeDecodeError) as error:
        raise ModelFailedError(
            f"{shown} is damaged or incomplete.", log_detail=f"{type(error).__name__}: {error}"
        ) from error


def text(owner: Any, name: str) -> str | None:
    """The attribute ``name`` of a file or group as text, None where there is none.

    Raises ValueError for one that is no text, or longer than 64 MiB.
    """
    if name not in owner.attrs:
        return None
    identity = owner.attrs.get_id(name)
    if identity.shape != () or identity.get_storage_size() > _MAX_TEXT_BYTES:
        raise ValueError(f"the attribute {name} is no text")
    value = owner.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not isinstance(value, str) or len(value) > _MAX_TEXT_BYTES:
        raise ValueError(f"the attribute {name} is no text")
    return value


def names(group: Any, name: str) -> list[str]:
    """The list of names in the attribute ``name`` of a group; long lists lie in ``name0``, ``name1`` and so on."""
    if name in group.attrs:
        return _names(group, name)
    found: list[str] = []
    part = 0
    while f"{name}{part}" in group.attrs:
        found += _names(group, f"{name}{part}")
        part += 1
    return found


def array(dataset: Any) -> Array:
    """The values of a dataset of numbers.

    Raises ValueError for a dataset of anything else.
    """
    if dataset.dtype.kind not in "fiub":
        raise ValueError(f"{dataset.name} holds no numbers")
    return np.asarray(dataset[()])


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise RuntimeMissingError("Reading a Keras model needs h5py: pip install 'tensorhost[tensorflow]'.") from error
    return h5py


def _names(group: Any, name: str) -> list[str]:
    values = np.asarray(group.attrs[name]).ravel().tolist()
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def _look_through(h5py: Any, file: Any, file_bytes: int, shown: str) -> None:
    """Visit every object once; see the module's description for what is refused."""
    seen: set[Any] = set()
    pending = [file]
    unpacked_bytes = stored_bytes = most_names = 0
    while pending:
        found = pending.pop()
        identity = h5py.h5o.get_info(found.id).addr
        if identity in seen:
            continue
        seen.add(identity)
        if len(seen) > _MAX_OBJECTS:
            raise ValueError("too many objects")
        most_names = max(most_names, _checked_names(found, file_bytes))
        if isinstance(found, h5py.Dataset):
            stored_bytes += found.id.get_storage_size()
            unpacked_bytes += _checked_bytes(found, shown)
            if unpacked_bytes > _FREE_BYTES + _MAX_EXPANSION * file_bytes:
                raise ModelFailedError(
                    f"{shown} of {file_bytes} bytes would unpack to more than {unpacked_bytes} bytes, which no model "
                    "does.",
                    details={"file_bytes": file_bytes, "unpacked_bytes": unpacked_bytes},
                )
        elif isinstance(found, h5py.Group):
            pending += _members(h5py, found, shown)
    if most_names * (file_bytes - stored_bytes) > _MAX_NAMES_BYTES:
        raise ValueError("too many names")


def _members(h5py: Any, group: Any, shown: str) -> Iterator[Any]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ModelFailedError(
                f"{shown} holds a link to another place or file ('{name[:100]}'), which no model needs.",
                details={"link": name[:100]},
            )
        yield group[name]


def _checked_bytes(dataset: Any, shown: str) -> int:
    if dataset.external or dataset.is_virtual:
        raise ModelFailedError(
            f"{shown} takes data from other files ('{dataset.name[:100]}'), which no model needs.",
            details={"dataset": dataset.name[:100]},
        )
    settings = dataset.id.get_create_plist()
    for index in range(settings.get_nfilters()):
        if settings.get_filter(index)[0] not in _FILTERS:
            raise ValueError(f"{dataset.name} is packed in an unknown way")
    if dataset.shape is None:
        return 0
    elements = max(math.prod(dataset.shape), math.prod(dataset.chunks or ()))
    return int(elements) * int(dataset.dtype.itemsize)


def _checked_names(owner: Any, file_bytes: int) -> int:
    """The length of the longest list of texts among the attributes, none of which can be larger than the file."""
    most = 0
    for name in owner.attrs:
        identity = owner.attrs.get_id(name)
        count = math.prod(identity.shape or ())
        if count * identity.dtype.itemsize > file_bytes:
            raise ValueError(f"the attribute {name} is larger than the file")
        if identity.dtype.kind == "O" and identity.shape:
            most = max(most, count)
    return most
