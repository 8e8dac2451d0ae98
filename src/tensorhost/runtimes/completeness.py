"""What a model's files promise and is not there: tells a half-copied version from a whole one without a runtime.

It finds what is absent, cut short or not begun as its suffix says, not what is wrong; a complete but broken model fails
when it is loaded. What must stay true: no model that loads is reported incomplete, nothing found on disk raises, names
are relative.
"""

from __future__ import annotations

import mmap
import re
import struct
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath

import orjson

from tensorhost.runtimes.base import ModelFormat
from tensorhost.runtimes.detection import HDF5_MAGIC, TFLITE_MAGIC, locate_model
from tensorhost.runtimes.wire_format import fields

_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_INDEX = "variables/variables.index"
_TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_VARIABLE_OPS = (b"VarHandleOp", b"VariableV2")
_MOST_SHARDS = 10_000
_DAMAGED = "(damaged or incomplete)"


def missing_files(path: Path, model_format: ModelFormat) -> list[str]:
    """What the model at ``path`` still lacks, each as ``name`` or ``name (reason)``; empty when it is complete.

    Args:
        path: the folder or file that was detected.
        model_format: what ``detect_format`` said.
    """
    found = locate_model(path)
    if found is None or found[1] is not model_format:
        return [f"{path.name} (no longer a {model_format} model)"]
    location = found[0]
    try:
        return list(_CHECKS[model_format](location))
    except OSError:
        return [f"{location.name} (cannot be read)"]


def _saved_model(folder: Path) -> Iterator[str]:
    graph = folder / "saved_model.pb"
    uses_variables = False
    if graph.is_file():
        if not _is_whole_message(graph):
            yield "saved_model.pb (cut short)"
            return
        uses_variables = _mentions_any(graph, _VARIABLE_OPS)
    variables = folder / "variables"
    if uses_variables or (variables.is_dir() and any(variables.iterdir())):
        yield from _checkpoint(variables)


def _checkpoint(variables: Path) -> Iterator[str]:
    index = variables / "variables.index"
    names = {file.name for file in variables.iterdir()} if variables.is_dir() else set()
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    if not index.is_file():
        yield _INDEX
    elif not _ends_with(index, _TABLE_MAGIC):
        yield f"{_INDEX} (cut short)"
    if not shards:
        yield "variables/variables.data-*"
    for count in sorted({int(match[2]) for match in shards}):
        for number in range(min(count, _MOST_SHARDS)):
            if (name := f"variables.data-{number:05d}-of-{count:05d}") not in names:
                yield f"variables/{name}"


def _keras(file: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        yield f"{file.name} {_DAMAGED}"
        return
    if "config.json" not in names:
        yield f"{file.name}/config.json"
    if not any(name.startswith("model.weights") for name in names):
        yield f"{file.name}/model.weights.h5"


def _keras_h5(file: Path) -> Iterator[str]:
    """Compare the end-of-file address in the superblock with the file's size (HDF5 specification, II.A)."""
    with file.open("rb") as opened:
        superblock = opened.read(52)
    begins_well = len(superblock) == 52 and superblock.startswith(HDF5_MAGIC)
    end_at = {0: 40, 1: 44, 2: 28, 3: 28}.get(superblock[8]) if begins_well else None
    if end_at is None or struct.unpack_from("<Q", superblock, end_at)[0] > file.stat().st_size:
        yield f"{file.name} {_DAMAGED}"


def _tfjs(file: Path) -> Iterator[str]:
    try:
        manifest = orjson.loads(file.read_bytes())["weightsManifest"]
        paths = list(chain.from_iterable(group["paths"] for group in manifest))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        yield f"{file.name} (cut short)"
        return
    for name in paths:
        if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield f"{file.name} (names a weight file outside its folder)"
        elif not (file.parent / name).is_file():
            yield name


def _graph_def(file: Path) -> Iterator[str]:
    if not _is_whole_message(file):
        yield f"{file.name} (cut short)"


def _tflite(file: Path) -> Iterator[str]:  # a flatbuffer does not tell its own length
    with file.open("rb") as opened:
        head = opened.read(16)
    if len(head) < 16 or head[4:8] != TFLITE_MAGIC:
        yield f"{file.name} {_DAMAGED}"


_CHECKS = {
    ModelFormat.SAVED_MODEL: _saved_model,
    ModelFormat.KERAS: _keras,
    ModelFormat.KERAS_H5: _keras_h5,
    ModelFormat.TFJS: _tfjs,
    ModelFormat.TFLITE: _tflite,
    ModelFormat.GRAPH_DEF: _graph_def,
}


def _is_whole_message(file: Path) -> bool:
    """Whether the top-level fields of a protocol buffer end exactly where the file ends."""
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for _ in fields(data):
                pass
        except ValueError:
            return False
    return True


def _ends_with(file: Path, ending: bytes) -> bool:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - len(ending)))
        return opened.read() == ending


def _mentions_any(file: Path, words: tuple[bytes, ...]) -> bool:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(word) >= 0 for word in words)
