"""Modules and operation libraries that the operator adds, and models that need them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from tensorhost.core.errors import MisconfiguredModelError, UnsupportedModelError
from tensorhost.runtimes import load
from tensorhost.runtimes.tensorflow import extensions
from tensorhost.runtimes.tensorflow.extensions import register_extensions
from tensorhost.runtimes.tensorflow.op_packages import package_of, unknown_operations


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported, and forgets it afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, code):
        file = tmp_path / Path(*name.split(".")).with_suffix(".py")
        for parent in reversed(file.relative_to(tmp_path).parents[:-1]):
            (tmp_path / parent).mkdir(exist_ok=True)
            (tmp_path / parent / "__init__.py").touch()
        file.write_text(textwrap.dedent(code), encoding="utf-8")
        return name

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_modules_are_imported_once_the_operators_first(tf, options, module, tmp_path):
    record = tmp_path / "record"
    code = f"with open({str(record)!r}, 'a') as file: file.write(__name__ + ' ')"
    chosen = replace(
        options, modules=(module("ext_first", code), module("ext_pack.second", code)), model_modules=("ext_own",)
    )
    module("ext_own", code)
    register_extensions(tf, chosen)
    register_extensions(tf, chosen)
    assert record.read_text().split() == ["ext_first", "ext_pack.second", "ext_own"]


@pytest.mark.parametrize("name", ["nosuch", "os.nosuch", "nosuch.below"])
@pytest.mark.parametrize(("field", "origin"), [("modules", "--import"), ("model_modules", "imports in model.toml")])
def test_a_module_that_is_not_installed(tf, options, name, field, origin):
    with pytest.raises(MisconfiguredModelError) as caught:
        register_extensions(tf, replace(options, **{field: (name,)}))
    assert caught.value.details == {"module": name}
    assert f"'{name}', given by {origin}, " in caught.value.message


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "a..b", "a b", "../a", "a/b", "a.py;x", "1a", "class", "a\nb", "x" * 201]
)
def test_what_is_no_name_is_never_imported(tf, options, name):
    with pytest.raises(MisconfiguredModelError, match="is not the name of a Python module"):
        register_extensions(tf, replace(options, modules=(name,)))


@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError('/secret/place')",
        "raise SystemExit(3)",
        "import sys; sys.exit()",
        "import ext_nothing_at_all",
        "def broken(:",
        "1 / 0",
    ],
)
def test_a_module_that_fails_costs_the_load_and_no_more(tf, options, module, code):
    name = module("ext_failing", code)
    with pytest.raises(MisconfiguredModelError) as caught:
        register_extensions(tf, replace(options, modules=(name,)))
    assert caught.value.message == (
        "The module 'ext_failing', given by --import, failed while it was imported; the log has its error."
    )
    assert caught.value.log_detail
    assert "ext_failing" not in sys.modules


def test_a_module_that_failed_is_tried_again(tf, options, module, tmp_path):
    chosen = replace(options, modules=(module("ext_late", "1 / 0"),))
    with pytest.raises(MisconfiguredModelError):
        register_extensions(tf, chosen)
    (tmp_path / "ext_late.py").write_text("value = 'now it works, and is longer'", encoding="utf-8")
    register_extensions(tf, chosen)
    assert sys.modules["ext_late"].value.startswith("now")


def test_no_folder_is_searched_that_was_not_searched_before(tf, options, module):
    before = list(sys.path)
    register_extensions(tf, replace(options, modules=(module("ext_plain", "x = 1"),)))
    assert sys.path == before


def test_a_module_may_use_tensorhost_while_it_is_imported(tf, options, module):
    name = module("ext_user", "from tensorhost.runtimes import LoadOptions, prepare; prepare(LoadOptions())")
    register_extensions(tf, replace(options, modules=(name,)))


def test_a_failing_module_of_a_model_fails_its_load_alone(models, options):
    with pytest.raises(
        MisconfiguredModelError, match=r"'ext_absent', given by imports in model\.toml, is not installed"
    ):
        load(models / "half_plus_two", replace(options, model_modules=("ext_absent",)))
    load(models / "half_plus_two", options).close()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"no library", "cannot be loaded"), (b"", "cannot be loaded")],
)
def test_a_library_that_is_none(tf, options, tmp_path, content, message):
    path = tmp_path / "ops.so"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MisconfiguredModelError, match=message) as caught:
        register_extensions(tf, replace(options, op_libraries=(path,)))
    assert "'ops.so'" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert str(tmp_path) in caught.value.log_detail


def test_a_folder_is_no_library(tf, options, tmp_path):
    with pytest.raises(MisconfiguredModelError, match="does not exist"):
        register_extensions(tf, replace(options, op_libraries=(tmp_path,)))


def test_one_library_by_two_names_is_loaded_once(tf, options, tmp_path, monkeypatch):
    library = Path(tf.__file__).parent / "lite/experimental/microfrontend/python/ops/_audio_microfrontend_op.so"
    (tmp_path / "link.so").symlink_to(library)
    asked = []
    real = tf.load_op_library
    monkeypatch.setattr(tf, "load_op_library", lambda path: asked.append(path) or real(path))
    monkeypatch.setattr(extensions, "_libraries", set())
    for path in (library, tmp_path / "link.so", library):
        register_extensions(tf, replace(options, op_libraries=(path,)))
    assert asked == [str(library.resolve())]


WITHOUT_THE_OPERATION = """
import sys, types
# TensorFlow loads this library when it is imported. Without its wrapper it does not, and the operation is unknown.
stand_in = types.ModuleType("stand_in")
stand_in.audio_microfrontend = None
sys.modules["tensorflow.lite.experimental.microfrontend.python.ops.audio_microfrontend_op"] = stand_in
from pathlib import Path
import numpy as np
from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes import LoadOptions, load, prepare
graph, library = Path(sys.argv[1]), Path(sys.argv[2])
try:
    load(graph, LoadOptions(1, 1))
except UnsupportedModelError as error:
    print(error.message)
runtime = load(graph, LoadOptions(1, 1, op_libraries=(library,)))
out = runtime.run("serving_default", {"audio": np.zeros(800, np.int16)})
print(out["features"].shape)
"""


def test_a_model_with_an_operation_from_a_library(tf, tmp_path):
    from tensorflow.lite.experimental.microfrontend.python.ops import audio_microfrontend_op

    with tf.Graph().as_default() as graph:
        audio = tf.compat.v1.placeholder(tf.int16, [None], name="audio")
        tf.identity(audio_microfrontend_op.audio_microfrontend(audio, sample_rate=16000), name="features")
    (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    library = Path(audio_microfrontend_op.__file__).parent / "_audio_microfrontend_op.so"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_OPERATION, tmp_path / "m.pb", library],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    said, shape = done.stdout.splitlines()
    assert said.startswith("The model needs the operation AudioMicrofrontend, which TensorFlow itself does not have;")
    assert "--custom-op-library FILE" in said
    assert shape == "(3, 32)"


def test_known_operations_name_their_package():
    assert package_of("TFText>NgramsStringJoin") == "tensorflow_text"
    assert package_of("RegexSplitWithOffsets") == "tensorflow_text"
    assert package_of("IO>ReadCSV") == "tensorflow_io"
    assert package_of("SimpleMLInferenceOpWithHandle") == "tensorflow_decision_forests"
    assert package_of("MatMul") is None


def test_several_operations_are_named_together_with_every_cure():
    error = unknown_operations(["NormalizeUTF8", "Own", "IO>Read"])
    assert isinstance(error, UnsupportedModelError)
    assert "needs the operations NormalizeUTF8, Own, IO>Read, which" in error.message
    assert "--import tensorflow_io" in error.message
    assert "--import tensorflow_text" in error.message
    assert "--import MODULE or --custom-op-library FILE" in error.message
    many = unknown_operations([f"Op{index}" for index in range(50)])
    assert len(many.message) < 400
    assert "and others" in many.message
