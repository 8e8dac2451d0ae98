"""What a Keras file says its model is made of, read without Keras.

What must stay true: sizes are checked before anything is read, nothing the file holds is executed or imported, and what
comes back is what Keras itself would be given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.base import ModelFormat
from tensorhost.runtimes.keras.archive import opened_archive, read_member
from tensorhost.runtimes.keras.hdf5 import opened, text

H5_SHOWN = "The HDF5 file"
_ARCHIVE_SHOWN = "The .keras file"
_LEGACY_PACKAGE = "tf_keras"


class Saved(NamedTuple):
    """A model's configuration and who wrote it.

    Attributes:
        configuration: ``{"class_name", "config"}`` and what else Keras keeps with them.
        version: of the Keras that wrote the file; empty where it does not say, as Keras 1.
    """

    configuration: dict[str, Any]
    version: str

    @property
    def is_legacy(self) -> bool:
        """Whether Keras 2 or Keras 1 wrote it."""
        module = self.configuration.get("module")
        by_package = isinstance(module, str) and module.partition(".")[0] == _LEGACY_PACKAGE
        return by_package or not self.version or self.version.partition(".")[0] in ("0", "1", "2")


def read_configuration(path: Path, model_format: ModelFormat) -> dict[str, Any]:
    """The configuration of the model in a Keras file: ``{"class_name", "config"}`` and what else Keras keeps there.

    Args:
        path: a ``.keras`` or an HDF5 file.
        model_format: which of the two.

    Raises:
        ModelFailedError: the file is damaged, far too large unpacked, leads to other files, or holds weights only.
        RuntimeMissingError: h5py is not installed, for an HDF5 file.
    """
    return read_saved(path, model_format).configuration


def read_saved(path: Path, model_format: ModelFormat) -> Saved:
    """The same with the version of Keras that wrote the file. Raises as ``read_configuration`` does."""
    return _from_hdf5(path) if model_format is ModelFormat.KERAS_H5 else _from_archive(path)


def _from_archive(path: Path) -> Saved:
    with opened_archive(path) as archive:
        configuration = _object(read_member(archive, "config.json"), _ARCHIVE_SHOWN)
        has_metadata = "metadata.json" in archive.namelist()
        metadata = _object(read_member(archive, "metadata.json"), _ARCHIVE_SHOWN) if has_metadata else {}
    version = str(metadata.get("keras_version", "3" if not has_metadata else ""))
    return Saved(configuration, version)


def _from_hdf5(path: Path) -> Saved:
    with opened(path, H5_SHOWN) as file:
        configuration = text(file, "model_config")
        version = text(file, "keras_version") or ""
        holds_weights = "layer_names" in file.attrs or "layer_names0" in file.attrs
    if configuration is None:
        what = "holds only the weights of a model, not the model" if holds_weights else "holds no Keras model"
        raise ModelFailedError(f"{H5_SHOWN} {what}. Save the whole model, with model.save(...).")
    return Saved(_object(configuration, H5_SHOWN), version)


def _object(content: str | bytes, shown: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFailedError(f"{shown} is damaged or incomplete.", log_detail=str(error)) from error
    if not isinstance(value, dict):
        raise ModelFailedError(f"{shown} is damaged or incomplete.", log_detail="a configuration is no object")
    return value
