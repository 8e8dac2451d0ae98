"""Looking into a ``.keras`` archive before Keras does: is it whole, is it Keras 3, would it swamp the memory.

What must stay true: nothing here runs or unpacks what the archive holds, apart from reading two small JSON members.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError

_MAX_CONFIG_BYTES = 64 * 2**20
_MAX_EXPANSION = 20
_FREE_BYTES = 64 * 2**20


def check_archive(path: Path) -> None:
    """Raise ModelFailedError unless the file at ``path`` is a whole archive of a Keras 3 model of a sane size."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path.stat().st_size)
            config = _read_json(archive, "config.json")
            metadata = _read_json(archive, "metadata.json") if "metadata.json" in archive.namelist() else {}
    except KeyError as error:
        raise ModelFailedError("The .keras file holds no config.json, so it is no Keras model.") from error
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelFailedError("The .keras file is damaged or incomplete.", log_detail=str(error)) from error
    version = str(metadata.get("keras_version", ""))
    if str(config.get("module", "")).startswith("tf_keras") or version.startswith("2."):
        raise ModelFailedError(
            "This model was saved by legacy Keras (Keras 2), which this version of tensorhost does not execute; "
            "export it as a SavedModel.",
            details={"keras_version": version},
        )


def _check_sizes(archive: zipfile.ZipFile, archive_bytes: int) -> None:
    """Weights hardly compress, so an archive that claims to unpack to many times its size is no model."""
    unpacked_bytes = sum(member.file_size for member in archive.infolist())
    if unpacked_bytes > _FREE_BYTES + _MAX_EXPANSION * archive_bytes:
        raise ModelFailedError(
            f"The .keras file of {archive_bytes} bytes would unpack to {unpacked_bytes} bytes, which no model does.",
            details={"archive_bytes": archive_bytes, "unpacked_bytes": unpacked_bytes},
        )


def _read_json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"{name} is too large")
    content = json.loads(archive.read(name))
    if not isinstance(content, dict):
        raise ValueError(f"{name} is not an object")  # noqa: TRY004  # the file is wrong, not the program
    return content
