"""Keras files taken apart and put together again otherwise."""

from __future__ import annotations

import json
import shutil
import zipfile

import h5py


def rewrite(source, target, changes):
    """A copy of an archive with members replaced, added, or (None) left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if changes.get(name, b"") is not None:
                new.writestr(name, changes.get(name) or old.read(name))
        for name in changes.keys() - set(old.namelist()):
            new.writestr(name, changes[name])
    return target


def with_configuration(source, target, change):
    """A copy of a ``.keras`` or ``.h5`` file whose configuration went through ``change``."""
    if source.suffix == ".keras":
        with zipfile.ZipFile(source) as archive:
            configuration = json.loads(archive.read("config.json"))
        change(configuration)
        return rewrite(source, target, {"config.json": json.dumps(configuration).encode()})
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        configuration = json.loads(file.attrs["model_config"])
        change(configuration)
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(configuration)
    return target


def with_weights(source, target, change):
    """A copy whose HDF5 file of weights went through ``change``."""
    if source.suffix == ".h5":
        shutil.copy(source, target)
        with h5py.File(target, "r+") as file:
            change(file)
        return target
    weights = target.with_suffix(".weights")
    with zipfile.ZipFile(source) as archive:
        weights.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        change(file)
    return rewrite(source, target, {"model.weights.h5": weights.read_bytes()})


def layers_of(value, class_name):
    """Every object of a class in a configuration."""
    if isinstance(value, dict):
        if value.get("class_name") == class_name:
            yield value
        for item in value.values():
            yield from layers_of(item, class_name)
    elif isinstance(value, list):
        for item in value:
            yield from layers_of(item, class_name)


def first_dataset(group):
    """The name of some dataset of numbers in a file."""
    found = []
    group.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim else None)
    return found[0]
