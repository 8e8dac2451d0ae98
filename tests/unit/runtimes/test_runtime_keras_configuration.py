from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import pytest

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.base import ModelFormat
from tensorhost.runtimes.keras.configuration import read_configuration, read_saved

CONFIGURATION = {"class_name": "Sequential", "config": {"name": "m", "layers": []}}


def h5_file(path, **attributes):
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, value in members.items():
            file.writestr(f"{name}.json", json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("version", "is_legacy"), [("2.0.5", True), ("2.15.0", True), (b"2.2.4", True), ("3.15.1", False), (None, True)]
)
def test_an_h5_file_tells_who_wrote_it(tmp_path, version, is_legacy):
    attributes = {"model_config": json.dumps(CONFIGURATION)} | ({"keras_version": version} if version else {})
    file = h5_file(tmp_path / "m.h5", **attributes)
    assert read_configuration(file, ModelFormat.KERAS_H5) == CONFIGURATION
    assert read_saved(file, ModelFormat.KERAS_H5).is_legacy is is_legacy


@pytest.mark.parametrize(
    ("members", "is_legacy"),
    [
        ({"metadata": {"keras_version": "2.15.0"}}, True),
        ({"metadata": {"keras_version": "3.0.0"}}, False),
        ({"metadata": {"keras_version": "3.0.0"}, "config": {**CONFIGURATION, "module": "tf_keras.src"}}, True),
        ({"metadata": {"keras_version": "3.0.0"}, "config": {**CONFIGURATION, "module": "tf_kerasimposter"}}, False),
        ({}, False),
    ],
)
def test_an_archive_tells_who_wrote_it(tmp_path, members, is_legacy):
    members = {"config": CONFIGURATION, **members}
    file = archive(tmp_path / "m.keras", **members)
    assert read_configuration(file, ModelFormat.KERAS) == members["config"]
    assert read_saved(file, ModelFormat.KERAS).is_legacy is is_legacy


def test_weights_alone_are_no_model(tmp_path):
    file = h5_file(tmp_path / "w.h5", layer_names=np.array([b"dense"]), keras_version="2.3.1")
    with pytest.raises(ModelFailedError, match="only the weights of a model"):
        read_configuration(file, ModelFormat.KERAS_H5)


def test_any_other_hdf5_file_is_no_model(tmp_path):
    with pytest.raises(ModelFailedError, match="holds no Keras model"):
        read_configuration(h5_file(tmp_path / "data.h5", title="rain"), ModelFormat.KERAS_H5)


@pytest.mark.parametrize("content", ["{", "[]", "3", "[" * 100_000, "\ud800"])
def test_what_is_no_object_is_damaged(tmp_path, content):
    h5 = h5_file(tmp_path / "m.h5", model_config=content.encode("utf-8", "surrogatepass"))
    keras = tmp_path / "m.keras"
    with zipfile.ZipFile(keras, "w") as file:
        file.writestr("config.json", content.encode("utf-8", "surrogatepass"))
    for path, model_format in ((h5, ModelFormat.KERAS_H5), (keras, ModelFormat.KERAS)):
        with pytest.raises(ModelFailedError, match="damaged or incomplete"):
            read_configuration(path, model_format)


@pytest.mark.parametrize("value", [np.zeros((3, 3)), 7, np.array(["a", "b"], object)])
def test_a_configuration_of_another_kind_is_damaged(tmp_path, value):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = value
    with pytest.raises(ModelFailedError, match="damaged or incomplete"):
        read_configuration(path, ModelFormat.KERAS_H5)


@pytest.mark.parametrize("kept", [0, 8, 100, 0.5, 0.9])
def test_a_cut_file_is_damaged(tmp_path, kept):
    path = h5_file(tmp_path / "m.h5", model_config=json.dumps(CONFIGURATION), keras_version="2.0.5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept if kept < 1 else kept)])
    with pytest.raises(ModelFailedError, match="damaged or incomplete"):
        read_configuration(path, ModelFormat.KERAS_H5)


def test_an_object_reached_twice_is_looked_at_once_and_circles_end(tmp_path):
    path = h5_file(tmp_path / "m.h5", model_config=json.dumps(CONFIGURATION), keras_version="3.0.0")
    with h5py.File(path, "r+") as file:
        group = file.create_group("model_weights")
        group["again"] = group
        file["weights"] = np.zeros(10)
        file["same"] = file["weights"]
    assert read_configuration(path, ModelFormat.KERAS_H5) == CONFIGURATION


def test_an_unknown_way_of_packing_is_refused(tmp_path):
    path = h5_file(tmp_path / "m.h5", model_config=json.dumps(CONFIGURATION))
    with h5py.File(path, "r+") as file:
        file.create_dataset("packed", data=np.arange(64, dtype="i4"), chunks=(64,), scaleoffset=0)
    with pytest.raises(ModelFailedError, match="damaged or incomplete"):
        read_configuration(path, ModelFormat.KERAS_H5)


def test_a_name_written_many_times_does_not_multiply(tmp_path):
    """Texts of any length share one place in the file, however often an attribute names it."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = json.dumps(CONFIGURATION)
        file.attrs["long"] = "x" * 2**20
        file.attrs.create("layer_names", np.full(20_000, "a", object), dtype=h5py.string_dtype())
    with pytest.raises(ModelFailedError, match="damaged or incomplete") as caught:
        read_configuration(path, ModelFormat.KERAS_H5)
    assert "too many names" in (caught.value.log_detail or "")


def test_a_large_model_with_many_layers_is_no_such_file(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(CONFIGURATION)
        file.create_group("model_weights").attrs["layer_names"] = [f"layer_{index}" for index in range(2000)]
        file["weights"] = np.zeros((16, 2**20), "f4")
    assert read_configuration(path, ModelFormat.KERAS_H5) == CONFIGURATION
