from __future__ import annotations

import importlib.util
import shutil
import struct
import zipfile

import pytest

from tensorhost.core.errors import ModelFailedError, RuntimeMissingError
from tensorhost.runtimes import ModelFormat, detect_format, load, missing_files
from tensorhost.runtimes.tensorflow import process as tensorflow_process

HDF5 = b"\x89HDF\r\n\x1a\n"
TFJS = b'{"modelTopology": {"node": []}, "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": []}]}'
INDEX_END = struct.pack("<Q", 0xDB4775248B80FB57)
GRAPH = b"\x08\x01\x12\x0bVarHandleOp"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def archive(path, *names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "{}")
    return path


def hdf5(version, end):
    at = {0: 40, 1: 44, 2: 28, 3: 28}[version]
    block = bytearray(64)
    block[:9] = HDF5 + bytes([version])
    struct.pack_into("<Q", block, at, end)
    return bytes(block)


def test_each_format_is_told_by_content(tmp_path):
    write(tmp_path / "saved" / "saved_model.pb", b"")
    write(tmp_path / "text" / "saved_model.pbtxt", b"")
    assert detect_format(tmp_path / "saved") is ModelFormat.SAVED_MODEL
    assert detect_format(tmp_path / "text") is ModelFormat.SAVED_MODEL
    assert detect_format(archive(tmp_path / "any.name", "config.json")) is ModelFormat.KERAS
    assert detect_format(write(tmp_path / "x.bin", hdf5(0, 64))) is ModelFormat.KERAS_H5
    assert detect_format(write(tmp_path / "y.json", TFJS)) is ModelFormat.TFJS
    assert detect_format(write(tmp_path / "z", b"\0\0\0\0TFL3....")) is ModelFormat.TFLITE


@pytest.mark.parametrize("content", [b"", b"PK", b"{}", b'{"modelTopology": 1}', b"TFL3TFL4", bytes(100)])
@pytest.mark.parametrize("name", ["model.json", "model.bin", "notes.txt"])
def test_other_files_are_no_model(tmp_path, name, content):
    assert detect_format(write(tmp_path / name, content)) is None


DAMAGED = {
    "m.keras": ModelFormat.KERAS,
    "m.KERAS": ModelFormat.KERAS,
    "m.h5": ModelFormat.KERAS_H5,
    "m.hdf5": ModelFormat.KERAS_H5,
    "m.tflite": ModelFormat.TFLITE,
}


@pytest.mark.parametrize("content", [b"", b"PK", b"{}", b"TFL3TFL4", bytes(100)])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_told_by_its_suffix_and_is_not_whole(tmp_path, name, content):
    file = write(tmp_path / "v" / name, content)
    for path in (file, file.parent):
        assert detect_format(path) is DAMAGED[name]
        assert missing_files(path, DAMAGED[name]) == [f"{name} (damaged or incomplete)"]


def test_content_goes_before_suffix(tmp_path):
    assert detect_format(write(tmp_path / "m.keras", hdf5(0, 64))) is ModelFormat.KERAS_H5
    write(tmp_path / "broken.tflite", b"")
    assert detect_format(tmp_path) is ModelFormat.KERAS_H5


def test_the_suffix_of_a_hidden_a_second_or_a_stray_file_tells_nothing(tmp_path):
    write(tmp_path / ".m.keras", b"")
    assert detect_format(tmp_path) is None
    write(tmp_path / "m.keras", b"")
    assert detect_format(tmp_path) is ModelFormat.KERAS
    (tmp_path / "1").mkdir()
    assert detect_format(tmp_path) is None
    (tmp_path / "1").rmdir()
    write(tmp_path / "n.keras", b"")
    assert detect_format(tmp_path) is None


def test_other_archives_and_absent_paths_are_no_model(tmp_path):
    assert detect_format(archive(tmp_path / "code.zip", "main.py")) is None
    assert detect_format(tmp_path / "absent") is None
    assert detect_format(tmp_path) is None


def test_a_folder_of_one_model_file_is_that_model(tmp_path):
    write(tmp_path / "model.json", TFJS)
    write(tmp_path / "labels.json", b'["a"]')
    write(tmp_path / "a.bin", b"1")
    assert detect_format(tmp_path) is ModelFormat.TFJS
    archive(tmp_path / "model.keras", "config.json")
    assert detect_format(tmp_path) is None


def test_nothing_found_says_what_was_looked_for(tmp_path, options):
    with pytest.raises(ModelFailedError, match=r"expected a SavedModel folder \(saved_model.pb\)") as caught:
        load(tmp_path, options)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("name", ["saved_model.pb", "model.keras"])
def test_without_tensorflow_the_extra_is_named(tmp_path, options, monkeypatch, name):
    if name == "model.keras":
        archive(tmp_path / name, "config.json")
    else:
        write(tmp_path / name, GRAPH)
    monkeypatch.setattr(tensorflow_process, "_prepared", type(tensorflow_process._prepared)())
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RuntimeMissingError) as caught:
        load(tmp_path, options)
    assert caught.value.message == "This model needs TensorFlow: pip install 'tensorhost[tensorflow]'."


def saved_model(root, graph=GRAPH, index=INDEX_END, shards=("variables.data-00000-of-00001",)):
    write(root / "saved_model.pb", graph)
    if index is not None:
        write(root / "variables" / "variables.index", index)
    for shard in shards:
        write(root / "variables" / shard, b"1")
    return root


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ({}, []),
        ({"graph": GRAPH[:-1]}, ["saved_model.pb (cut short)"]),
        ({"graph": b""}, ["saved_model.pb (cut short)"]),
        ({"graph": b"\xff" * 30}, ["saved_model.pb (cut short)"]),
        ({"index": None}, ["variables/variables.index"]),
        ({"index": b"12"}, ["variables/variables.index (cut short)"]),
        ({"shards": ()}, ["variables/variables.data-*"]),
        ({"index": None, "shards": ()}, ["variables/variables.index", "variables/variables.data-*"]),
        ({"shards": ("variables.data-00001-of-00003",)},
         ["variables/variables.data-00000-of-00003", "variables/variables.data-00002-of-00003"]),
        ({"graph": b"\x08\x01", "index": None, "shards": ()}, []),
    ],
)  # fmt: skip
def test_missing_parts_of_a_saved_model(tmp_path, parts, missing):
    assert missing_files(saved_model(tmp_path, **parts), ModelFormat.SAVED_MODEL) == missing


def test_real_models_are_complete(models, tf1_models, keras_models):
    paths = [path for root in (models, tf1_models, keras_models) for path in root.iterdir()]
    found = {path.name: missing_files(path, model_format) for path in paths if (model_format := detect_format(path))}
    assert len(found) > 20
    assert [name for name, missing in found.items() if missing] == []


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.999])
def test_half_copied_real_models_are_incomplete(models, keras_models, tmp_path, kept):
    for name in ("saved_model.pb", "variables/variables.index"):
        shutil.copytree(models / "half_plus_two", tmp_path / "m", dirs_exist_ok=True)
        file = tmp_path / "m" / name
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * kept)])
        assert missing_files(tmp_path / "m", ModelFormat.SAVED_MODEL) == [f"{name} (cut short)"]
    content = (keras_models / "fixed.keras").read_bytes()
    half = write(tmp_path / "half.keras", content[: int(len(content) * kept)])
    assert detect_format(half) is ModelFormat.KERAS
    assert missing_files(half, ModelFormat.KERAS) == ["half.keras (damaged or incomplete)"]


def test_missing_parts_of_other_formats(tmp_path):
    keras = archive(tmp_path / "m.keras", "config.json")
    assert missing_files(keras, ModelFormat.KERAS) == ["m.keras/model.weights.h5"]
    for version in range(4):
        assert missing_files(write(tmp_path / "m.h5", hdf5(version, 64)), ModelFormat.KERAS_H5) == []
        cut = write(tmp_path / "m.h5", hdf5(version, 65))
        assert missing_files(cut, ModelFormat.KERAS_H5) == ["m.h5 (damaged or incomplete)"]
    assert missing_files(write(tmp_path / "m.h5", HDF5), ModelFormat.KERAS_H5) == ["m.h5 (damaged or incomplete)"]
    web = write(tmp_path / "web" / "model.json", TFJS)
    assert missing_files(web, ModelFormat.TFJS) == ["a.bin", "b.bin"]
    write(tmp_path / "web" / "a.bin", b"1")
    assert missing_files(web.parent, ModelFormat.TFJS) == ["b.bin"]
    write(web, TFJS[:-1])
    assert missing_files(web.parent, ModelFormat.TFJS) == ["model.json (cut short)"]
    write(web, TFJS.replace(b"a.bin", b"../../a.bin"))
    assert missing_files(web, ModelFormat.TFJS)[0] == "model.json (names a weight file outside its folder)"
    lite = write(tmp_path / "m.tflite", b"\0\0\0\0TFL3")
    assert missing_files(lite, ModelFormat.TFLITE) == ["m.tflite (damaged or incomplete)"]
    assert missing_files(write(lite, b"\0\0\0\0TFL3" + bytes(20)), ModelFormat.TFLITE) == []


def test_a_model_that_went_away_is_incomplete(tmp_path):
    assert missing_files(tmp_path / "gone", ModelFormat.KERAS) == ["gone (no longer a keras model)"]
