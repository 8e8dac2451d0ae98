from __future__ import annotations

import contextlib
import json
import random

import pytest
from tfjs_graph_models import dense_model

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.tfjs import model_json
from tensorhost.runtimes.tfjs.model_json import Quantization, WeightGroup, WeightSpec, read_model_json


def write(tmp_path, document):
    path = tmp_path / "model.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def manifest(*weights, paths=("a.bin",)):
    return {
        "modelTopology": {"node": []},
        "weightsManifest": [{"paths": list(paths), "weights": list(weights)}],
    }


def weight(**changes):
    return {"name": "w", "dtype": "float32", "shape": [2]} | changes


def refused(tmp_path, document):
    with pytest.raises(ModelFailedError) as caught:
        read_model_json(write(tmp_path, document))
    assert str(tmp_path) not in caught.value.message
    assert "dict" not in caught.value.message
    return caught.value.message


def test_reads_topology_and_manifest(tmp_path):
    affine = {"dtype": "uint8", "scale": 0.5, "min": -1, "original_dtype": "int32"}
    document = manifest(
        weight(),
        weight(name="q", dtype="int32", shape=["3", 0], quantization=affine),
        weight(name="h", quantization={"dtype": "float16"}),
        weight(name="m", group="optimizer"),
        paths=("a.bin", "sub/./b.bin"),
    )
    model = read_model_json(write(tmp_path, document))
    assert model.path == tmp_path / "model.json"
    assert model.topology == {"node": []}
    assert model.document == document
    assert model.manifest == (
        WeightGroup(
            ("a.bin", "sub/./b.bin"),
            (
                WeightSpec("w", "float32", (2,), None, optimizer=False),
                WeightSpec("q", "int32", (3, 0), Quantization("uint8", 0.5, -1.0), optimizer=False),
                WeightSpec("h", "float32", (2,), Quantization("float16"), optimizer=False),
                WeightSpec("m", "float32", (2,), None, optimizer=True),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("topology", "is_graph"),
    [
        ({"node": [], "class_name": "x"}, True),
        ({"model_config": {}}, False),
        ({"class_name": "Sequential", "config": {}}, False),
    ],
)
def test_the_topology_tells_the_kind_of_model(tmp_path, topology, is_graph):
    document = {"modelTopology": topology, "format": "says something else", "weightsManifest": None}
    model = read_model_json(write(tmp_path, document))
    assert model.is_graph is is_graph
    assert model.manifest == ()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "not valid JSON"),
        ('{"modelTopology": NaN}', "not valid JSON"),
        ('"text"', "must hold a JSON object"),
        ('{"weightsManifest": []}', "no modelTopology"),
        ('{"modelTopology": null, "weightsManifest": []}', "no modelTopology"),
        ('{"modelTopology": []}', "modelTopology must be"),
        ('{"modelTopology": {"nodes": []}}', "modelTopology must be"),
        ('[{"weights": [], "paths": []}]', "bare list of weights, as face-api"),
        ('{"modelTopology": {"node": []}, "weightsManifest": {"a": 1}}', "weightsManifest must be a list"),
        ('{"modelTopology": {"node": []}, "weightsManifest": [1]}', "weightsManifest[0] must be an object"),
        ('{"modelTopology": {"node": []}, "weightsManifest": [{}]}', "weightsManifest[0].paths must be a list"),
    ],
)
def test_what_is_no_model_is_refused_with_the_field(tmp_path, document, words):
    assert words in refused(tmp_path, document)


@pytest.mark.parametrize("document", ['[{"weights": [], "paths": []}]', '{"weightsManifest": []}'])
def test_weights_without_a_model_are_refused_for_good(tmp_path, document):
    with pytest.raises(UnsupportedModelError):
        read_model_json(write(tmp_path, document))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, ".name must be a string, not nothing"),
        ({"name": ""}, ".name must be a string"),
        ({"dtype": "float64"}, ".dtype must be one of"),
        ({"dtype": ["float32"]}, ".dtype must be one of"),
        ({"shape": None}, ".shape must be a list"),
        ({"shape": [-1]}, ".shape[0] must be a whole number from 0 on, not -1"),
        ({"shape": [2.0]}, ".shape[0] must be a whole number"),
        ({"shape": [1, True]}, ".shape[1] must be a whole number"),
        ({"shape": ["1e3"]}, ".shape[0] must be a whole number"),
        ({"shape": ["²"]}, ".shape[0] must be a whole number"),
        ({"shape": ["9" * 5000]}, ".shape[0] must be a whole number"),
        ({"shape": [1] * 33}, ".shape must be at most 32 dimensions"),
        ({"shape": [2**40]}, ".shape must be at most 2147483647 elements"),
        ({"shape": [2**20, 2**20]}, ".shape must be at most 2147483647 elements"),
        ({"shape": [0, 2**40]}, ".shape must be at most 2147483647 elements"),
        ({"quantization": None}, ".quantization must be an object"),
        ({"quantization": {"dtype": "int8"}}, ".quantization.dtype must be one of uint8, uint16, float16"),
        ({"quantization": {"dtype": "uint8", "min": 0}}, ".quantization.scale must be a finite number, not nothing"),
        ({"quantization": {"dtype": "uint8", "scale": 1, "min": "0"}}, ".quantization.min must be a finite number"),
        ({"quantization": {"dtype": "uint8", "scale": 1e301, "min": 0}}, ".quantization.scale must be a finite"),
        ({"dtype": "int32", "quantization": {"dtype": "float16"}}, "may hold a weight of type int32"),
        ({"dtype": "bool", "quantization": {"dtype": "uint8"}}, "may hold a weight of type bool"),
    ],
)
def test_a_wrong_weight_is_refused_with_the_field(tmp_path, changes, words):
    message = refused(tmp_path, manifest(weight(name="fine"), weight(**changes)))
    assert f"weightsManifest[0].weights[1]{words}" in message or words in message
    assert len(message) < 250


def test_names_are_distinct_but_for_those_of_the_optimizer(tmp_path):
    assert "the weight 'w' twice" in refused(tmp_path, manifest(weight(), weight()))
    read_model_json(write(tmp_path, manifest(weight(), weight(group="optimizer"))))


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "/etc/passwd",
        "../secret.bin",
        "a/../../secret.bin",
        "a\\b.bin",
        "a\0b",
        "https://example.org/a.bin",
        "C:a.bin",
        "loop",
        "outside/a.bin",
        "link.bin",
        "x" * 5000,
    ],
)
def test_a_path_out_of_the_folder_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "a.bin").write_bytes(b"")
    (folder / "outside").symlink_to(tmp_path)
    (folder / "link.bin").symlink_to(tmp_path / "a.bin")
    (folder / "loop").symlink_to(folder / "loop")
    path = write(folder, manifest(paths=(name,)))
    if name in {"loop", "x" * 5000}:  # leads nowhere: refused here or, as missing, when weights are read
        try:
            read_model_json(path)
        except ModelFailedError:
            return
        from tensorhost.runtimes.tfjs.weights import read_weights

        with pytest.raises(ModelFailedError, match="is missing"):
            read_weights(read_model_json(path))
        return
    assert "weightsManifest[0].paths[0]" in refused(folder, manifest(paths=(name,)))


def test_links_inside_the_folder_are_followed(tmp_path):
    folder = tmp_path / "..data"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"")
    (tmp_path / "a.bin").symlink_to(folder / "a.bin")
    assert read_model_json(write(tmp_path, manifest())).manifest[0].paths == ("a.bin",)


def test_a_folder_that_is_a_link_itself_is_fine(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    write(folder, manifest())
    (tmp_path / "link").symlink_to(folder)
    assert read_model_json(tmp_path / "link" / "model.json").manifest[0].paths == ("a.bin",)


@pytest.mark.parametrize("depth", [200, 900, 100_000])
def test_deep_nesting_is_refused(tmp_path, depth):
    nested = '{"a":' * depth + "1" + "}" * depth
    message = refused(tmp_path, '{"modelTopology": {"node": [], "x": ' + nested + "}}")
    assert "nests" in message or "not valid JSON" in message


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(model_json, "MAX_JSON_BYTES", 100)
    assert "has 200 bytes; at most 100 are read" in refused(tmp_path, " " * 200)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelFailedError, match="cannot be read"):
        read_model_json(tmp_path / "model.json")


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    text = dense_model().write(tmp_path).read_text()
    for end in range(0, len(text), 37):
        refused(tmp_path, text[:end])


def test_random_damage_raises_nothing_else(tmp_path):
    text = dense_model().write(tmp_path).read_text()
    start = text.index('"weightsManifest"')
    chance = random.Random(3)
    for _ in range(500):
        position = chance.randrange(start, len(text))
        damaged = text[:position] + chance.choice('01-"[]{},:e.xnt\\') + text[position + 1 :]
        with contextlib.suppress(ModelFailedError):
            read_model_json(write(tmp_path, damaged))
