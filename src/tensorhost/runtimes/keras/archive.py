"""Looking into a ``.keras`` archive before Keras does: is it whole, would it swamp the memory.

What must stay true: nothing here runs what the archive holds, and no member is unpacked before its size is known.
"""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorhost.core.errors import ModelFailedError

_MAX_TEXT_BYTES = 64 * 2**20
_MAX_EXPANSION = 20
_FREE_BYTES = 64 * 2**20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The ``.keras`` file at ``path``, with the sizes of its members checked.

    Raises ModelFailedError: damaged, or unpacking to far more than a model can. So does whatever reading it raises
    within the ``with`` block.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path.stat().st_size)
            yield archive
    except _DAMAGED as error:
        raise ModelFailedError("The .keras file is damaged or incomplete.", log_detail=str(error)) from error


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member of text.

    Raises:
        ModelFailedError: there is no such member.
        ValueError: it is larger than 64 MiB.
    """
    if name not in archive.namelist():
        raise ModelFailedError(f"The .keras file holds no {name}, so it is no Keras model.")
    if archive.getinfo(name).file_size > _MAX_TEXT_BYTES:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def unpack_member(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    """Write a member to the file ``target``.

    Raises:
        ModelFailedError: there is no such member.
        OSError: the disk is full, or the like.
    """
    if name not in archive.namelist():
        raise ModelFailedError(f"The .keras file holds no {name}, so it is not whole.")
    with archive.open(name) as member, target.open("wb") as file:
        shutil.copyfileobj(member, file, 2**20)


def _check_sizes(archive: zipfile.ZipFile, archive_bytes: int) -> None:
    """Weights hardly compress, so an archive that claims to unpack to many times its size is no model."""
    unpacked_bytes = sum(member.file_size for member in archive.infolist())
    if unpacked_bytes > _FREE_BYTES + _MAX_EXPANSION * archive_bytes:
        raise ModelFailedError(
            f"The .keras file of {archive_bytes} bytes would unpack to {unpacked_bytes} bytes, which no model does.",
            details={"archive_bytes": archive_bytes, "unpacked_bytes": unpacked_bytes},
        )
