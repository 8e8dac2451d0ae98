"""Where the result goes, what is refused, and that nothing is left behind. The runtimes are stand-ins."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, UnsupportedModelError, UntrustedModelError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models import conversion
from tensorhost.models.conversion import STEPS, ConversionRequest, convert
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Trust
from tensorhost.runtimes.contents import Contents, Finding, FindingKind

GRAPH = b"\x0a\x06\x0a\x01x\x12\x01y"


class Stand:
    """The runtimes that were loaded, and how they answer: the first is the model's, the second the result's."""

    def __init__(self):
        self.opened = []
        self.options = []
        self.closed = 0
        self.factors = [1.0, 1.0]
        self.signatures = [("serving_default",), ("serving_default",)]
        self.fails_writing = None

    def load(self, path, options):
        index = min(len(self.opened), 1)
        self.opened.append((path, path.exists()))
        self.options.append(options)
        spec = {"x": TensorSpec("x", DType.FLOAT32, (None,))}
        factor = self.factors[index]
        return SimpleNamespace(
            name="stand-in",
            signatures={name: Signature(name, spec, {"y": spec["x"]}) for name in self.signatures[index]},
            refused_signatures={"old": "it has no outputs"},
            run=lambda name, inputs: {"y": (inputs["x"] * factor).astype(np.float32)},
            call_path=lambda name: "frozen graph",
            close=self._close,
        )

    def _close(self):
        self.closed += 1

    def write_saved_model(self, runtime, folder, options):
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph")
        if self.fails_writing:
            raise self.fails_writing

    def write_tflite(self, saved_model, file, options):
        assert (saved_model / "saved_model.pb").is_file()
        file.write_bytes(b"lite")


@pytest.fixture
def stand(monkeypatch):
    stand = Stand()
    for name in ("load", "write_saved_model", "write_tflite"):
        monkeypatch.setattr(conversion, name, getattr(stand, name))
    return stand


@pytest.fixture
def source(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "m.pb").write_bytes(GRAPH)
    return tmp_path / "from" / "m.pb"


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "to"
    folder.mkdir()
    return folder


def request(source, target, **more):
    return ConversionRequest(source, target, LoadOptions(), **more)


def test_a_folder_becomes_a_saved_model(stand, source, place):
    told = []
    report = convert(request(source, place / "m"), told.append)
    assert told == list(STEPS)
    assert [file.name for file in place.iterdir()] == ["m"]
    assert (place / "m" / "saved_model.pb").read_bytes() == b"graph"
    assert (report.source_format, report.target_format) == (ModelFormat.GRAPH_DEF, ModelFormat.SAVED_MODEL)
    assert report.size_bytes == 5
    assert [comparison.calls for comparison in report.comparisons] == [3]
    assert report.left_out == {"old": "it has no outputs"}
    assert stand.closed == 2


def test_a_lite_file(stand, source, place):
    report = convert(request(source, place / "m.tflite"), lambda _: None)
    assert [file.name for file in place.iterdir()] == ["m.tflite"]
    assert (place / "m.tflite").read_bytes() == b"lite"
    assert (report.target_format, report.tolerance, report.size_bytes) == (ModelFormat.TFLITE, 1e-3, 4)


def test_what_was_loaded_to_be_compared_is_what_is_put_in_place(stand, source, place):
    convert(request(source, place / "m"), lambda _: None)
    (first, _), (second, was_there) = stand.opened
    assert first == source
    assert was_there
    assert second.parent.parent == place
    assert second.parent.name.startswith(".m-")
    assert not second.exists()


@pytest.mark.parametrize("step", range(5))
def test_whatever_fails_leaves_nothing_behind(stand, source, place, step):
    def fail(name):
        if name == STEPS[step]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(request(source, place / "deep" / "er" / "m"), fail)
    assert list(place.iterdir()) == []
    assert stand.closed == len(stand.opened)


def test_parents_are_made_and_kept_when_it_worked(stand, source, place):
    convert(request(source, place / "models" / "m" / "1"), lambda _: None)
    assert (place / "models" / "m" / "1" / "saved_model.pb").is_file()


@pytest.mark.parametrize(("factor", "name"), [(1.001, "m"), (1.1, "m.tflite"), (np.nan, "m")])
def test_a_result_that_differs_is_thrown_away(stand, source, place, factor, name):
    stand.factors[1] = factor
    with pytest.raises(ModelFailedError, match="The result differs from the model"):
        convert(request(source, place / name), lambda _: None)
    assert list(place.iterdir()) == []


def test_lite_may_differ_more(stand, source, place):
    stand.factors[1] = 1.0005
    report = convert(request(source, place / "m.tflite"), lambda _: None)
    assert 0 < report.comparisons[0].outputs["y"].largest < 1e-3


def test_a_signature_that_the_result_lacks(stand, source, place):
    stand.signatures[0] = ("serving_default", "old")
    with pytest.raises(ModelFailedError, match="cannot serve the signature 'old': it has no outputs"):
        convert(request(source, place / "m"), lambda _: None)


def test_an_error_while_writing_is_passed_on(stand, source, place):
    stand.fails_writing = UnsupportedModelError("no")
    with pytest.raises(UnsupportedModelError, match="no"):
        convert(request(source, place / "m"), lambda _: None)
    assert list(place.iterdir()) == []


def test_a_target_that_is_there_is_refused_before_anything_is_loaded(stand, source, place):
    (place / "m").mkdir()
    with pytest.raises(InvalidRequestError, match="exists already; --force replaces it"):
        convert(request(source, place / "m"), lambda _: None)
    (place / "link").symlink_to(place / "nowhere")
    with pytest.raises(InvalidRequestError, match="exists already"):
        convert(request(source, place / "link"), lambda _: None)
    assert stand.opened == []


def test_a_model_is_replaced_when_asked(stand, source, place):
    (place / "m" / "variables").mkdir(parents=True)
    (place / "m" / "saved_model.pb").write_bytes(b"old")
    (place / "m.tflite").write_bytes(b"old")
    convert(request(source, place / "m", replace=True), lambda _: None)
    convert(request(source, place / "m.tflite", replace=True), lambda _: None)
    assert [file.name for file in (place / "m").iterdir()] == ["saved_model.pb"]
    assert (place / "m" / "saved_model.pb").read_bytes() == b"graph"
    assert (place / "m.tflite").read_bytes() == b"lite"
    assert sorted(file.name for file in place.iterdir()) == ["m", "m.tflite"]


def test_a_model_to_be_replaced_is_as_it_was_after_a_failure(stand, source, place):
    (place / "m").mkdir()
    (place / "m" / "saved_model.pb").write_bytes(b"old")
    stand.factors[1] = 2.0
    with pytest.raises(ModelFailedError):
        convert(request(source, place / "m", replace=True), lambda _: None)
    assert (place / "m" / "saved_model.pb").read_bytes() == b"old"
    assert [file.name for file in place.iterdir()] == ["m"]


@pytest.mark.parametrize("kind", ["other folder", "empty folder", "file", "folder for a file"])
def test_what_is_no_model_is_never_replaced(stand, source, place, kind):
    target = place / ("m.tflite" if kind == "folder for a file" else "m")
    if kind == "file":
        target.write_bytes(b"precious")
    else:
        target.mkdir()
        if kind != "empty folder":
            (target / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidRequestError, match="is not replaced"):
        convert(request(source, target, replace=True), lambda _: None)
    assert stand.opened == []


def test_the_source_is_never_replaced(stand, source, place):
    (source.parent / "saved_model.pb").write_bytes(b"\x08\x01")
    for target in (source.parent, source.parent / ".." / "from"):
        with pytest.raises(InvalidRequestError, match="holds the model that is to be converted"):
            convert(request(source, target, replace=True), lambda _: None)
    assert source.read_bytes() == GRAPH


def test_no_model_no_whole_model_and_a_lite_file_are_no_sources(stand, source, place):
    with pytest.raises(InvalidRequestError, match="There is no model"):
        convert(request(place, place / "m"), lambda _: None)
    source.write_bytes(GRAPH[:-1])
    with pytest.raises(ModelFailedError, match=r"not whole: m\.pb \(cut short\)"):
        convert(request(source, place / "m"), lambda _: None)
    (source.parent / "m.tflite").write_bytes(b"\0\0\0\0TFL3........")
    with pytest.raises(UnsupportedModelError, match="cannot be converted"):
        convert(request(source.parent / "m.tflite", place / "m"), lambda _: None)
    with pytest.raises(InvalidRequestError, match="names a kind of file that is not written"):
        convert(request(source, place / "m.onnx"), lambda _: None)
    assert stand.opened == []


def test_a_place_that_cannot_be_written(stand, source, place):
    (place / "file").write_bytes(b"")
    begun = []
    with pytest.raises(InvalidRequestError, match="cannot be written"):
        convert(request(source, place / "file" / "m"), begun.append)
    assert begun == []  # found out before any of the work


def test_examples_of_the_models_folder_are_used(stand, source, place, monkeypatch):
    (source.parent / "examples.json").write_text('[{"inputs": [41]}]')
    seen = []
    real = stand.load

    def load(path, options):
        runtime = real(path, options)
        run = runtime.run
        runtime.run = lambda name, inputs: seen.append(inputs["x"].tolist()) or run(name, inputs)
        return runtime

    monkeypatch.setattr(conversion, "load", load)
    convert(request(source, place / "m", folder=source.parent, examples="examples.json"), lambda _: None)
    assert {value for values in seen for value in values} == {41.0}


@pytest.mark.parametrize("trust", Trust)
def test_strict_trust_refuses_before_anything_is_loaded(stand, source, place, monkeypatch, trust):
    finding = Finding(FindingKind.READS_FILES, "ReadFile", 1, "It reads a file.")
    monkeypatch.setattr(conversion, "examine", lambda path, options: Contents(findings=(finding,)))
    asked = ConversionRequest(source, place / "m", LoadOptions(trust=trust))
    if trust is Trust.STANDARD:
        convert(asked, lambda _: None)
        return
    with pytest.raises(UntrustedModelError, match="ReadFile"):
        convert(asked, lambda _: None)
    assert stand.opened == []
    assert list(place.iterdir()) == []


class Prober:
    """Stands in for the child process, in which the model crashes unless told otherwise."""

    def __init__(self, crash="", error=None):
        self.crash = crash
        self.error = error
        self.tried = []

    def probe(self, path, options, runs):
        self.tried.append((path, options, runs.max_batch_rows))
        if self.error is not None:
            raise self.error
        return SimpleNamespace(crash=self.crash)


@pytest.mark.parametrize(("crash", "remapping"), [("signal 11", False), ("", True)])
def test_a_model_that_crashes_its_runtime_is_tried_first_and_loaded_as_it_survives(
    stand, source, place, crash, remapping
):
    prober = Prober(crash)
    convert(request(source, place / "m"), lambda _: None, prober)
    assert prober.tried == [(source, LoadOptions(), 8)]
    assert [options.remapping for options in stand.options] == [remapping, remapping]


def test_a_model_that_crashes_all_the_same_is_never_loaded(stand, source, place):
    with pytest.raises(ModelFailedError, match="crashed its runtime"):
        convert(request(source, place / "m"), lambda _: None, Prober(error=ModelFailedError("It crashed its runtime.")))
    assert not stand.opened
    assert not list(place.iterdir())
