"""SignatureDefs and default inputs, read without TensorFlow, against what TensorFlow reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from serving_models import DEFAULT_SCALE, DEFAULT_WORD, write_repository

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.saved_signatures import input_defaults, read_signature_defs


@pytest.fixture(scope="module")
def serving(tf, tmp_path_factory):
    root = tmp_path_factory.mktemp("serving")
    write_repository(tf, root)
    return root


def parsed(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def folders(*roots):
    return [file.parent for root in roots for file in sorted(root.rglob("saved_model.pb"))]


def test_they_are_those_that_tensorflow_reads(serving, models, tf1_models):
    seen = 0
    for folder in folders(serving, models, tf1_models):
        if folder.name == "no_serve" or folder.name == "two_tags":
            continue
        [graph] = parsed(folder).meta_graphs
        found = read_signature_defs(folder)
        assert found.keys() == graph.signature_def.keys()
        for key, definition in graph.signature_def.items():
            assert type(definition).FromString(found[key]) == definition
        seen += "__saved_model_init_op" in found
    assert seen > 5


def test_the_graph_is_chosen_by_its_tags(tf1_models):
    assert read_signature_defs(tf1_models / "train_only").keys() == {"serving_default"}
    assert read_signature_defs(tf1_models / "two_tags").keys() == {"serving_default"}
    assert read_signature_defs(tf1_models / "no_serve", ["eval"]).keys() == {"serving_default"}
    with pytest.raises(ModelFailedError, match="None of the model's 2 graphs is tagged 'serve'"):
        read_signature_defs(tf1_models / "no_serve")


def test_tags_and_no_others_come_first(tf1_models, tmp_path):
    saved = parsed(tf1_models / "two_tags")
    saved.meta_graphs[0].meta_info_def.tags[:] = ["serve", "gpu"]
    saved.meta_graphs[1].meta_info_def.tags[:] = ["serve"]
    for number, graph in enumerate(saved.meta_graphs):
        graph.signature_def["serving_default"].method_name = f"graph {number}"
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert b"graph 1" in read_signature_defs(tmp_path)["serving_default"]
    assert b"graph 0" in read_signature_defs(tmp_path, ["gpu", "serve"])["serving_default"]


def test_text_form(serving, tmp_path):
    from google.protobuf import text_format

    saved = parsed(serving / "half_plus_two" / "00000123")
    (tmp_path / "saved_model.pbtxt").write_text(text_format.MessageToString(saved), encoding="utf-8")
    found = read_signature_defs(tmp_path)
    assert found.keys() == saved.meta_graphs[0].signature_def.keys()
    (tmp_path / "saved_model.pbtxt").write_text("meta_graphs { nonsense: 1 }", encoding="utf-8")
    with pytest.raises(ModelFailedError, match="damaged"):
        read_signature_defs(tmp_path)


def test_default_inputs(serving):
    found, problems = input_defaults(read_signature_defs(serving / "defaults" / "1"))
    assert not problems
    assert found.keys() == {"serving_default"}
    assert found["serving_default"].keys() == {"scale", "word"}
    np.testing.assert_array_equal(found["serving_default"]["scale"], DEFAULT_SCALE, strict=True)
    np.testing.assert_array_equal(found["serving_default"]["word"], DEFAULT_WORD, strict=True)
    assert input_defaults(read_signature_defs(serving / "mixed" / "1")) == ({}, {})


def test_a_default_that_cannot_be_read_is_left_out_and_costs_no_other(serving):
    saved = parsed(serving / "defaults" / "1")
    definition = saved.meta_graphs[0].signature_def["serving_default"]
    definition.defaults["word"].tensor_shape.dim.add().size = -5
    found, problems = input_defaults({"serving_default": definition.SerializeToString()})
    assert found["serving_default"].keys() == {"scale"}
    assert problems == {"serving_default.word": "tensor parsing error: word"}


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x12\x7f", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"])
def test_damaged_files(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ModelFailedError, match="damaged"):
        read_signature_defs(tmp_path)


def test_any_cut_or_changed_byte_is_an_error_of_the_files_or_none(serving, tmp_path):
    content = (serving / "defaults" / "1" / "saved_model.pb").read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(content[: rng.integers(1, len(content))])
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        (tmp_path / "saved_model.pb").write_bytes(damaged)
        try:
            input_defaults(read_signature_defs(tmp_path))
        except (ModelFailedError, ValueError):
            continue


def test_tensorflow_is_not_imported(serving):
    program = f"""
        import sys
        from pathlib import Path
        from tensorhost.runtimes.saved_signatures import input_defaults, read_signature_defs
        assert input_defaults(read_signature_defs(Path({str(serving / "defaults" / "1")!r})))[0]
        assert "tensorflow" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_a_missing_file(serving, tmp_path):
    shutil.copytree(serving / "half_plus_three" / "1" / "variables", tmp_path / "variables")
    with pytest.raises(ModelFailedError, match="damaged"):
        read_signature_defs(tmp_path)
