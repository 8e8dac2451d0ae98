"""Which format of model lies at a path, told by content; by suffix only where no content is recognised.

Imports no runtime. What must stay true: detection reads a bounded number of bytes except for JSON files, never
follows what a file says, and never raises for what it finds.
"""

from __future__ import annotations

import mmap
import zipfile
from pathlib import Path

from tensorhost.runtimes.base import ModelFormat

_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"
TFLITE_MAGIC = b"TFL3"
_GRAPH_DEF_START = b"\x0a"  # field 1, a node; a SavedModel starts with its schema version, field 1 as a number
_TFJS_KEYS = (b'"modelTopology"', b'"weightsManifest"')
_SUFFIXES = {
    ".keras": ModelFormat.KERAS,
    ".h5": ModelFormat.KERAS_H5,
    ".hdf5": ModelFormat.KERAS_H5,
    ".tflite": ModelFormat.TFLITE,
}


def detect_format(path: Path) -> ModelFormat | None:
    """The format of the model at ``path`` (a file or a folder), or None where there is none.

    A folder that holds exactly one model file counts as that model. A half-copied file counts as the format it
    begins as, a damaged one as what its suffix says; ``missing_files`` tells that it is not whole.
    """
    found = locate_model(path)
    return found[1] if found else None


def locate_model(path: Path) -> tuple[Path, ModelFormat] | None:
    """The model at ``path``: the folder of a SavedModel or the one model file, and its format. None if not clear."""
    try:
        if path.is_file():
            file_format = _file_format(path) or _SUFFIXES.get(path.suffix.lower())
            return (path, file_format) if file_format else None
        if any((path / name).is_file() for name in _SAVED_MODEL_FILES):
            return path, ModelFormat.SAVED_MODEL
        children = sorted(path.iterdir())
        files = [(file, _file_format(file)) for file in children if file.is_file()]
    except OSError:
        return None
    models = [(file, file_format) for file, file_format in files if file_format]
    # A stray file beside version folders must not hide them.
    if not models and len(files) == len(children):
        models = _told_by_suffix(children)
    return models[0] if len(models) == 1 else None


def _told_by_suffix(files: list[Path]) -> list[tuple[Path, ModelFormat]]:
    visible = [file for file in files if not file.name.startswith(".")]
    return [(file, _SUFFIXES[file.suffix.lower()]) for file in visible if file.suffix.lower() in _SUFFIXES]


def _file_format(path: Path) -> ModelFormat | None:
    with path.open("rb") as file:
        head = file.read(8)
    if head == HDF5_MAGIC:
        return ModelFormat.KERAS_H5
    if head[4:8] == TFLITE_MAGIC:
        return ModelFormat.TFLITE
    if head.startswith(_ZIP_MAGIC):
        return ModelFormat.KERAS if path.suffix.lower() == ".keras" or _holds_keras_config(path) else None
    if path.suffix == ".pb" and path.name != "saved_model.pb" and head[:1] == _GRAPH_DEF_START:
        return ModelFormat.GRAPH_DEF
    if path.suffix == ".json" and _mentions_all(path, _TFJS_KEYS):
        return ModelFormat.TFJS
    return None


def _holds_keras_config(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _mentions_all(path: Path, keys: tuple[bytes, ...]) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return all(data.find(key) >= 0 for key in keys)
