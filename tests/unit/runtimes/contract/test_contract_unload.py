"""After ``close``: memory, threads, files and descriptors are given back, and the files may go."""

from __future__ import annotations

import gc
import shutil
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
from contract_background import LONGEST_S, json_lines
from contract_case import assert_equal
from contract_memory import CYCLES, MODEL_BYTES

from tensorhost.runtimes import ModelFormat, locate_model


def private_copy(bench, case, folder):
    """A copy of the model's files that may be deleted."""
    location, _ = locate_model(bench.path(case))
    if location.is_dir():
        return Path(shutil.copytree(location, folder / "copy"))
    if case.format is ModelFormat.TFJS:
        return Path(shutil.copytree(location.parent, folder / "copy")) / location.name
    (folder / "copy").mkdir()
    return Path(shutil.copy(location, folder / "copy"))


def test_the_files_may_go_and_nothing_is_left_behind(bench, case, tmp_path, monkeypatch):
    bench.runtime(case)  # what the first load starts, it keeps
    path = private_copy(bench, case, tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    inputs = case.inputs(case.default, case.rows[-1], 6)
    expected = bench.expected(case, case.default, inputs)
    shutil.copytree(tmp_path / "copy", tmp_path / "kept")
    files = sorted(file.name for file in (tmp_path / "copy").rglob("*"))
    process = psutil.Process()
    threads, native_threads = threading.active_count(), process.num_threads()
    for _ in range(2):
        runtime = bench.load(case, path)
        assert sorted(file.name for file in (tmp_path / "copy").rglob("*")) == files
        shutil.rmtree(tmp_path / "copy")
        answer = runtime.run(case.default, inputs)
        runtime.close()
        shutil.copytree(tmp_path / "kept", tmp_path / "copy")
        for name, array in answer.items():
            assert_equal(array, expected[name], case.tolerance)
    del runtime
    gc.collect()
    assert threading.active_count() == threads
    assert process.num_threads() <= native_threads
    assert not [file.path for file in process.open_files() if str(tmp_path) in file.path]
    assert not [entry.path for entry in process.memory_maps(grouped=False) if str(tmp_path) in entry.path]
    assert list(scratch.iterdir()) == []


@pytest.mark.timeout(LONGEST_S + 20)
def test_memory_is_given_back(background):
    """Cycles that kept the weights would keep twice as much as is allowed here."""
    done = background["memory"].result(LONGEST_S)
    assert done.returncode == 0, done.stderr[-2000:]
    grown = {line["name"]: line["grown_bytes"] for line in json_lines(done.stdout)}
    assert grown.keys() == {"saved_model", "graph_def", "keras", "tflite", "tfjs", "tfjs layers"}
    assert all(grown_bytes < CYCLES * MODEL_BYTES / 2 for grown_bytes in grown.values()), grown
