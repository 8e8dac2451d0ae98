"""What is on disk: models, their versions, and whether a version is whole.

A look, not a watch: ``scan`` reads the directory tree once and returns what it saw; the manager calls it again. It
loads nothing and never raises for what it finds: a folder that is no model becomes a problem to report.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tensorhost.core.errors import InvalidRequestError, ModelFailedError
from tensorhost.core.ids import is_valid_name
from tensorhost.models.config import FILE_NAME, ModelConfig, loading_digest, read_config
from tensorhost.models.listed import ListedModel
from tensorhost.models.sightings import Sightings
from tensorhost.runtimes.base import ModelFormat
from tensorhost.runtimes.formats import detect_format, locate_model, missing_files

UNVERSIONED = "1"
"""The version of a model that lies in the repository without a version folder."""

_VERSION_NAME = re.compile(r"[vV]?\d+([._-]\w+)*")
_MODEL_FILE_SUFFIXES = frozenset({".keras", ".h5", ".hdf5", ".tflite", ".pb"})
_NAMELESS_FILES = frozenset({"model", "saved_model"})
"""Files with these stems are named by their folder."""

_TFLITE = "model.tflite"

_BAD_NAME = "A model's name may have letters, digits, '.', '_' and '-' only."

_MOST_SKEW_S = 60.0

UNREADABLE = (OSError, ValueError, RuntimeError)
"""What hostile or changing files raise: no permission, a failing disk; cut short while mapped; a loop of links."""


@dataclass(frozen=True, slots=True)
class VersionOnDisk:
    """One version's files. ``problem`` says why it cannot be loaded yet; empty when it can."""

    version: str
    path: Path
    format: ModelFormat | None
    size_bytes: int
    changed_at: float
    """When any of its files last changed, seconds since the epoch."""
    problem: str = ""
    settling: bool = False
    """Whole, but changed a moment ago: to be looked at again soon."""
    settings: str = ""
    """``loading_digest`` of the model's settings; empty when it has none that can be read."""

    @property
    def fingerprint(self) -> tuple[str, int, float, str]:
        """Differs when the files differ, or the settings that a version is loaded with."""
        return (str(self.path), self.size_bytes, self.changed_at, self.settings)


@dataclass(frozen=True, slots=True)
class ModelOnDisk:
    """One model. ``problem`` concerns the whole model: a broken model.toml, no version at all.

    ``readable`` is False when its folder could not be read: then nothing is known about its versions. ``listed`` is
    what a list of models says of it, where it comes from one.
    """

    name: str
    folder: Path
    config: ModelConfig = field(default_factory=ModelConfig)
    versions: dict[str, VersionOnDisk] = field(default_factory=dict)
    problem: str = ""
    readable: bool = True
    listed: ListedModel | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look saw. ``problems`` maps names that cannot be models to the reason."""

    readable: bool = True
    """False when the model path itself could not be read: then nothing is known about what is there."""
    models: dict[str, ModelOnDisk] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def scan(
    root: Path,
    *,
    now: float,
    settle_s: float,
    seen: Sightings[ModelOnDisk] | None = None,
    prefer_tflite: bool = False,
) -> Scan:
    """Look at ``root``: a repository root, one model's folder, one version's folder, or one model file.

    Args:
        root: the model path.
        now, settle_s, prefer_tflite: see ``Look``.
        seen: what the looks before saw of this root, but for the time in the same way; brought up to date.
    """
    look = Look(now, settle_s, prefer_tflite)
    try:
        if not root.exists():
            return Scan(readable=False)
        root = root.absolute()
        if root.is_file() or _is_single_model(root):
            return _single(look.model(*_locate_single(root)))
        if _is_model_folder(root):
            return _single(look.model(root.name, root, _version_paths(root)))
        return _scan_root(look, root, seen or Sightings())
    except UNREADABLE:
        return Scan(readable=False)


def version_folder(path: Path) -> Path:
    """The folder of the version whose model lies at ``path``: itself, but where a file in it was preferred."""
    return path.parent if path.name == _TFLITE else path


def describe_path(path: Path, *, now: float, settle_s: float, prefer_tflite: bool = False) -> ModelOnDisk:
    """The single model at ``path``, for loading by path. Raises InvalidRequestError where there is not exactly one."""
    found = scan(path, now=now, settle_s=settle_s, prefer_tflite=prefer_tflite)
    if len(found.models) != 1:
        raise InvalidRequestError("The path must name one model: its folder, a version's folder, or a model file.")
    return next(iter(found.models.values()))


def _single(model: ModelOnDisk) -> Scan:
    if not is_valid_name(model.name):
        return Scan(problems={_printable(model.name): _BAD_NAME})
    return Scan(models={model.name: model})


def _scan_root(look: Look, root: Path, seen: Sightings[ModelOnDisk]) -> Scan:
    found = Scan()
    seen.begin()
    for child in children(root):
        is_folder = os.path.isdir(child)  # noqa: PTH112 - Path.is_dir raises where it may not look
        if not is_folder and child.suffix.lower() not in _MODEL_FILE_SUFFIXES:
            continue
        name = child.name if is_folder else child.stem
        if not is_valid_name(name):
            found.problems[_printable(name)] = _BAD_NAME
        elif name in found.models:
            found.problems[child.name] = f"There is already a model '{name}' in this repository."
        else:
            read = partial(_look_at, look, name, child, is_folder=is_folder)
            found.models[name] = seen.find(child, look.now, read, _is_sound)
    seen.end()
    return found


def _is_sound(model: ModelOnDisk) -> bool:
    """Whether nothing about the model depends on when it is looked at, or on anything outside its files."""
    return model.readable and not model.problem and not any(version.problem for version in model.versions.values())


def _look_at(look: Look, name: str, path: Path, *, is_folder: bool) -> ModelOnDisk:
    try:
        if not is_folder:
            return look.model(name, None, {UNVERSIONED: path})
        if detect_format(path) is not None:
            return look.model(name, path, {UNVERSIONED: path})
        return look.model(name, path, _version_paths(path))
    except UNREADABLE:
        return ModelOnDisk(name, path, problem="The model's files cannot be read.", readable=False)


def _is_single_model(folder: Path) -> bool:
    """Whether ``folder`` is itself a model, and not a repository that happens to hold one model file."""
    found = locate_model(folder)
    return found is not None and (
        found[0] == folder
        or found[0].stem in _NAMELESS_FILES
        or found[1] is ModelFormat.TFJS  # a JSON file is no model of a repository, and its folder holds the weights
        or _VERSION_NAME.fullmatch(folder.name) is not None
        or (folder / FILE_NAME).is_file()
    )


def _is_model_folder(folder: Path) -> bool:
    if (folder / FILE_NAME).is_file():
        return True
    models = [child for child in children(folder) if child.is_dir() and detect_format(child) is not None]
    return bool(models) and all(_VERSION_NAME.fullmatch(child.name) for child in models)


def _version_paths(folder: Path) -> dict[str, Path]:
    """Version folders: those that hold a model, and those named like a version that may yet come to hold one."""
    return {
        child.name: child
        for child in children(folder)
        if child.is_dir() and (detect_format(child) is not None or _VERSION_NAME.fullmatch(child.name))
    }


def _locate_single(path: Path) -> tuple[str, Path | None, dict[str, Path]]:
    """Name, folder of the settings and version of the one model at ``path``."""
    if path.is_file() and path.stem not in _NAMELESS_FILES:
        return path.stem, None, {UNVERSIONED: path}
    if path.is_file() and path.stem == "saved_model":
        path = path.parent
    folder = path.parent if path.is_file() else path
    if _VERSION_NAME.fullmatch(folder.name):
        return folder.parent.name, folder.parent, {folder.name: path}
    return folder.name, folder, {UNVERSIONED: path}


def children(folder: Path) -> list[Path]:
    """What is in ``folder``, in the order of names. Raises OSError."""
    # Hidden entries are another program's: ".tmp" of a copy, "..data" of a mounted volume, ".git".
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _printable(name: str) -> str:
    # A name on disk may be no valid text; it is shown to clients.
    return name.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class Look:
    """One look at models on disk: when, and how.

    Attributes:
        now: seconds since the epoch.
        settle_s: a version whose files changed more recently than this is still being copied.
        prefer_tflite: a version's ``model.tflite`` counts, whatever else is in its folder.
    """

    now: float
    settle_s: float
    prefer_tflite: bool = False

    def model(
        self, name: str, folder: Path | None, paths: Mapping[str, Path], read: ReadVersion | None = None
    ) -> ModelOnDisk:
        """A model and its versions.

        Args:
            name: the model.
            folder: where its model.toml may be; None for nowhere.
            paths: where its versions lie.
            read: reads a version instead of ``version``.
        """
        problem = settings = ""
        config = ModelConfig()
        if folder is not None:
            try:
                config = read_config(folder)
                settings = loading_digest(config, folder)
            except ModelFailedError as error:
                problem = error.message
        read = read or self.version
        versions = {version: read(version, path, settings) for version, path in paths.items() if is_valid_name(version)}
        if not versions:
            problem = problem or "There is no version in the model's folder."
        return ModelOnDisk(name, folder or paths[UNVERSIONED].parent, config, versions, problem)

    def version(self, version: str, path: Path, settings: str) -> VersionOnDisk:
        """The version that lies at ``path``; ``settings`` is the digest of its model's."""
        if self.prefer_tflite and (path / _TFLITE).is_file():
            path = path / _TFLITE
        model_format = detect_format(path)
        # The weights of a TensorFlow.js model lie beside the file that names it.
        whole = path.parent if model_format is ModelFormat.TFJS and path.is_file() else path
        size_bytes, changed_at = _measure(whole)
        problem = _incompleteness(path, model_format)
        # What changed after the look began is in the future too; but a clock that runs behind the file server's must
        # not hold a version back for ever.
        age_s = self.now - changed_at
        settling = not problem and self.settle_s > 0 and -_MOST_SKEW_S < age_s < self.settle_s
        if settling:
            problem = "The files were changed a moment ago (still being copied?)."
        return VersionOnDisk(
            version, path, model_format, size_bytes, changed_at, _printable(problem), settling, settings
        )


ReadVersion = Callable[[str, Path, str], VersionOnDisk]
"""``Look.version``, or what stands in for it."""


def _incompleteness(path: Path, model_format: ModelFormat | None) -> str:
    if model_format is None:
        return "There are no model files in the version's folder (yet)."
    missing = missing_files(path, model_format)
    return f"Files are missing (or still being copied): {', '.join(missing)}." if missing else ""


def _measure(path: Path) -> tuple[int, float]:
    """Bytes of all files, and the last change of any file or folder, by inode change time (copies cannot set it)."""
    size_bytes = 0
    changed_at = 0.0
    for entry in (path, *_walk(path)):
        try:
            status = entry.stat()
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            size_bytes += status.st_size
        changed_at = max(changed_at, status.st_ctime if os.name == "posix" else status.st_mtime)
    return size_bytes, changed_at


def _walk(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield Path(folder, name)
