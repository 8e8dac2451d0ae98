"""Keras configurations, archives and HDF5 files that were made to do harm."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contract_damage import SECRET, Attack, json_attack

UNITS = 1_500_000_000


def _layers(document: Any) -> list[Any]:
    document = document.get("modelTopology", document)
    document = document.get("model_config", document)
    config = document["config"]
    return config["layers"] if isinstance(config, dict) else config


def _first_with(document: Any, setting: str) -> dict[str, Any]:
    return next(layer["config"] for layer in _layers(document) if setting in layer["config"])


def _huge_layer(document: Any) -> None:
    _first_with(document, "units")["units"] = UNITS


def _unknown_layer(document: Any) -> None:
    _layers(document)[-1]["class_name"] = "Unheard"


def _lambda(document: Any) -> None:
    layer = _layers(document)[-1]
    layer.update(class_name="Lambda", module="keras.layers", config={"name": "code", "function": ["4wE=", None, None]})


def _any_function(document: Any) -> None:
    """What CVE-2025-1550 did: a configuration that names a function of any module."""
    layer = _layers(document)[-1]
    layer["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "getcwd",
        "registered_name": "getcwd",
    }


def _no_layers(document: Any) -> None:
    _layers(document).clear()


def _layers_that_are_texts(document: Any) -> None:
    _layers(document)[:] = ["a", 3, None]


def _itself(document: Any) -> None:
    """A model inside a model inside …, three hundred deep."""
    inner = json.loads(json.dumps(document.get("modelTopology", document).get("model_config", document)))
    for _ in range(300):
        inner = {"class_name": "Sequential", "config": {"name": "deep", "layers": [inner]}}
    _layers(document).append(inner)


CONFIGURATIONS: Mapping[str, Callable[[Any], None]] = {
    "a layer of many gigabytes": _huge_layer,
    "a layer nobody knows": _unknown_layer,
    "Python code in a layer": _lambda,
    "a function of any module": _any_function,
    "no layers": _no_layers,
    "layers that are texts": _layers_that_are_texts,
    "models in models in models": _itself,
}


# -- Keras archives --------------------------------------------------------------------------------------------------


def _members(change: Callable[[dict[str, bytes]], None]) -> Attack:
    def attack(model: Path) -> Path:
        with zipfile.ZipFile(model) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return model

    return attack


def _weights(write: Callable[[Any], None]) -> Attack:
    """Changes the HDF5 file of weights in an archive."""

    def attack(model: Path) -> Path:
        def change(members: dict[str, bytes]) -> None:
            scratch = model.parent / "weights.h5"
            scratch.write_bytes(members["model.weights.h5"])
            _hdf5(write)(scratch)
            members["model.weights.h5"] = scratch.read_bytes()
            scratch.unlink()

        return _members(change)(model)

    return attack


_KERAS = {
    "a bomb": _members(lambda members: members.update({"model.weights.h5": bytes(300 * 2**20)})),
    "a bomb beside": _members(lambda members: members.update({"assets/more.bin": bytes(300 * 2**20)})),
    "a member above the folder": _members(
        lambda members: members.update({f"../{SECRET}": b"x", f"../../{SECRET}": b"x"})
    ),
    "a member by absolute path": _members(
        lambda members: members.update({str(Path(tempfile.gettempdir(), SECRET)): b"x"})
    ),
    "no configuration": _members(lambda members: members.pop("config.json")),
    "no weights": _members(lambda members: members.pop("model.weights.h5")),
    "weights that are text": _members(lambda members: members.update({"model.weights.h5": b"no weights"})),
    "a configuration that is a list": _members(lambda members: members.update({"config.json": b"[]"})),
    "a bottomless configuration": _members(
        lambda members: members.update({"config.json": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"})
    ),
}


# -- HDF5 ------------------------------------------------------------------------------------------------------------


def _hdf5(write: Callable[[Any], None]) -> Attack:
    def attack(model: Path) -> Path:
        import h5py

        with h5py.File(model, "r+") as file:
            write(file)
        return model

    return attack


def _datasets(file: Any) -> list[str]:
    import h5py

    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _huge_dataset(file: Any) -> None:
    """Declares a terabyte and stores nothing of it."""
    name = _datasets(file)[0]
    del file[name]
    file.create_dataset(name, shape=(2**19, 2**19), dtype="float32", chunks=(1024, 1024), compression="gzip")


def _compressed_dataset(file: Any) -> None:
    """400 MB of zeros that take 400 KB."""
    import numpy as np

    name = _datasets(file)[0]
    del file[name]
    data = file.create_dataset(name, shape=(100, 2**20), dtype="float32", chunks=(1, 2**20), compression="gzip")
    for row in range(100):
        data[row] = np.zeros(2**20, np.float32)


def _linked_dataset(file: Any) -> None:
    import h5py

    name = _datasets(file)[0]
    del file[name]
    file[name] = h5py.ExternalLink(f"../{SECRET}", "/secret")


def _external_storage(file: Any) -> None:
    name = _datasets(file)[0]
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape=shape, dtype=dtype, external=[("/etc/passwd", 0, 2**20)])


def _circle(file: Any) -> None:
    import h5py

    group = file[_datasets(file)[0]].parent
    group["again"] = h5py.SoftLink(group.name)
    group["round"] = group


def _other_shape(file: Any) -> None:
    name = _datasets(file)[0]
    del file[name]
    file.create_dataset(name, shape=(1, 1), dtype="float32")


def _texts(file: Any) -> None:
    name = _datasets(file)[0]
    del file[name]
    file.create_dataset(name, data=[b"a", b"b"])


_HDF5: Mapping[str, Callable[[Any], None]] = {
    "weights of a terabyte": _huge_dataset,
    "weights that unpack a thousandfold": _compressed_dataset,
    "weights in another file": _linked_dataset,
    "weights stored in another file": _external_storage,
    "groups in a circle": _circle,
    "weights of another shape": _other_shape,
    "weights that are texts": _texts,
}


def _config_attribute(change: Callable[[Any], None]) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        document = json.loads(file.attrs["model_config"])
        change(document)
        file.attrs["model_config"] = json.dumps(document)

    return write


def _attribute(value: Any) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        file.attrs["model_config"] = value

    return write


_H5_ONLY = {
    "no configuration": _hdf5(lambda file: file.attrs.__delitem__("model_config")),
    "a configuration that is a number": _hdf5(_attribute(7)),
    "a configuration that is no JSON": _hdf5(_attribute("{")),
    "a configuration that is a list": _hdf5(_attribute("[]")),
    "weights only": _hdf5(lambda file: [file.attrs.__delitem__(name) for name in list(file.attrs)]),
}


KERAS: Mapping[str, Attack] = (
    _KERAS
    | {name: json_attack(change, "config.json") for name, change in CONFIGURATIONS.items()}
    | {name: _weights(write) for name, write in _HDF5.items()}
)
KERAS_H5: Mapping[str, Attack] = (
    _H5_ONLY
    | {name: _hdf5(_config_attribute(change)) for name, change in CONFIGURATIONS.items()}
    | {name: _hdf5(write) for name, write in _HDF5.items()}
)
LAYERS: Mapping[str, Attack] = {name: json_attack(change) for name, change in CONFIGURATIONS.items()}
"""The configuration of a TensorFlow.js layers model."""
