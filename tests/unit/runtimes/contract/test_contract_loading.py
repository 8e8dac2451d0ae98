"""What a runtime says of itself right after loading."""

from __future__ import annotations

import re
import shutil

import pytest
from contract_case import read_spec

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.runtimes import ModelFormat, detect_format, load, locate_model, missing_files

RUNTIMES = {ModelFormat.TFLITE: "litert"}


def test_the_format_is_told_by_content_and_the_files_are_complete(bench, case):
    path = bench.path(case)
    assert detect_format(path) is case.format
    assert missing_files(path, case.format) == []


def test_the_folder_that_holds_the_model_is_the_model(bench, case, tmp_path):
    location, _ = locate_model(bench.path(case))
    if location.is_dir():
        shutil.copytree(location, tmp_path / "1")
    elif case.format is ModelFormat.TFJS:
        shutil.copytree(location.parent, tmp_path / "1")
    else:
        (tmp_path / "1").mkdir()
        shutil.copy(location, tmp_path / "1")
    assert detect_format(tmp_path / "1") is case.format
    runtime = bench.load(case, tmp_path / "1")
    try:
        assert list(runtime.signatures) == list(case.promises)
    finally:
        runtime.close()


def test_signatures_are_those_of_the_model_in_its_order_the_default_first(bench, case):
    runtime = bench.runtime(case)
    assert list(runtime.signatures) == list(case.promises)
    if DEFAULT_SIGNATURE in runtime.signatures:
        assert next(iter(runtime.signatures)) == DEFAULT_SIGNATURE
    for name, promise in case.promises.items():
        signature = runtime.signatures[name]
        assert signature.name == name
        for specs, promised in ((signature.inputs, promise.inputs), (signature.outputs, promise.outputs)):
            told = {key: (spec.name, spec.dtype, spec.shape) for key, spec in specs.items()}
            assert told == {key: (key, *read_spec(text)) for key, text in promised.items()}
            if specs is signature.outputs:
                assert list(told) == list(promised)


def test_a_signature_is_either_called_or_refused(bench, case):
    runtime = bench.runtime(case)
    assert not runtime.refused_signatures.keys() & runtime.signatures.keys()
    assert all(reason for reason in runtime.refused_signatures.values())


def test_parameters_are_counted(bench, case):
    least, most = case.weights_bytes
    assert least <= bench.runtime(case).weights_bytes <= most


def test_the_runtime_and_the_way_it_calls_are_told_in_a_few_words(bench, case):
    runtime = bench.runtime(case)
    assert runtime.name == RUNTIMES.get(case.format, "tensorflow")
    for signature in runtime.signatures:
        assert re.fullmatch(r"[a-z0-9][\w ,.()-]{3,120}", runtime.call_path(signature), re.IGNORECASE)


@pytest.mark.parametrize("name", ["nothing", "folder", "file.txt"])
def test_where_there_is_no_model_none_is_loaded(tmp_path, options, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("not a model", encoding="utf-8")
    with pytest.raises(ModelFailedError, match="No model was found") as caught:
        load(tmp_path / name, options)
    assert str(tmp_path) not in caught.value.message
