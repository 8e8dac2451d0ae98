"""What is kept of trials: found again, by content, whole, and only where nobody else may write."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
from model_fakes import probe_report, signature

from tensorhost.core.dtypes import DType
from tensorhost.models.kept_trials import KeptTrials, Trial
from tensorhost.models.probe import FirstRuns
from tensorhost.models.trial_key import key_of
from tensorhost.runtimes import Contents, Finding, FindingKind, LoadOptions
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.race.verdict import Entrant, Heat

GIB = 2**30
HEAT = Heat(
    "serving_default",
    Entrant(RuntimeName.LITERT, Precision.INT8),
    EngineFile("litert-int8-0.tflite", {"x": "x"}, {"y": "y"}),
    {1: (0.002, 0.001), 32: (0.02, 0.01)},
    0.25,
    4.0,
    3,
)
REPORT = probe_report(
    contents=Contents({"MatMul": 2}, 12, (Finding(FindingKind.READS_FILES, "ReadFile", 1, "Reads files."),)),
    signatures={"serving_default": signature((None, 3), DType.FLOAT32)},
    call_paths={"serving_default": "frozen graph"},
    refused_signatures={"other": "it has no outputs"},
    crash="crashed once",
)
KEY = "a" * 40


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def kept(folder):
    store = KeptTrials(folder, GIB)
    yield store
    store.close()


def made(store, size=10):
    workplace = store.workplace(KEY)
    (workplace / "litert-int8-0.tflite").write_bytes(b"x" * size)
    return Trial(REPORT, (HEAT,), True, workplace)


def test_what_is_kept_is_found_again_as_it_was(kept, folder):
    trial = made(kept)
    stored = kept.keep(KEY, trial)
    assert stored.folder == folder / KEY
    assert not trial.folder.exists()
    found = KeptTrials(folder, GIB).find(KEY)
    assert found == replace(stored, report=replace(REPORT, probe_s=0.0))
    assert (found.folder / "litert-int8-0.tflite").read_bytes() == b"x" * 10


def test_what_is_not_kept_is_not_found(kept):
    assert kept.find(KEY) is None
    assert kept.find("") is None


def test_a_later_trial_takes_the_place_of_an_earlier(kept):
    kept.keep(KEY, made(kept))
    kept.keep(KEY, replace(made(kept, 20), heats=()))
    found = kept.find(KEY)
    assert found.heats == ()
    assert (found.folder / "litert-int8-0.tflite").stat().st_size == 20


def test_what_is_forgotten_is_gone(kept, folder):
    kept.keep(KEY, made(kept))
    kept.forget(KEY)
    assert kept.find(KEY) is None
    assert not (folder / KEY).exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"runtime": 3}', b"[" * 10_000])
def test_a_damaged_record_is_not_believed(kept, folder, content):
    kept.keep(KEY, made(kept))
    (folder / KEY / "trial.json").write_bytes(content)
    assert kept.find(KEY) is None


def test_a_record_that_names_a_file_elsewhere_is_not_believed(kept, folder):
    kept.keep(KEY, made(kept))
    record = folder / KEY / "trial.json"
    record.write_text(record.read_text().replace("litert-int8-0.tflite", "../../model.tflite"))
    assert kept.find(KEY) is None


def test_a_folder_that_others_may_write_to_is_not_used(folder):
    folder.mkdir()
    folder.chmod(0o777)
    store = KeptTrials(folder, GIB)
    assert store.find(KEY) is None
    stored = store.keep(KEY, made(store))
    assert stored.folder.exists()
    assert list(folder.iterdir()) == []
    store.close()
    assert not stored.folder.exists()


@pytest.mark.parametrize("limit", [0, GIB])
def test_without_a_folder_trials_last_as_long_as_the_server(tmp_path, limit):
    store = KeptTrials(None if limit else tmp_path / "kept", limit)
    stored = store.keep(KEY, made(store))
    assert (stored.folder / "litert-int8-0.tflite").is_file()
    assert store.find(KEY) is None
    store.close()
    assert not stored.folder.exists()
    assert not (tmp_path / "kept").exists()


def test_what_was_used_longest_ago_goes_first(folder):
    store = KeptTrials(folder, 50_000)
    for number, letter in enumerate("abc"):
        store.keep(letter * 40, made(store, 10_000))
        os.utime(folder / (letter * 40) / "trial.json", (number, number))
    assert store.find("a" * 40)  # used now
    store.keep("d" * 40, made(store, 30_000))
    assert [entry.name[0] for entry in sorted(folder.iterdir()) if entry.is_dir()] == ["a", "d"]


def test_the_newest_stays_even_if_it_alone_is_too_large(folder):
    store = KeptTrials(folder, 100)
    stored = store.keep(KEY, made(store, 1000))
    assert stored.folder.is_dir()


def test_two_never_try_the_same_model_at_once(kept):
    order = []
    inside, go_on = threading.Event(), threading.Event()

    def first():
        with kept.alone(KEY, lambda: False):
            inside.set()
            go_on.wait(20)
            order.append("first")

    def second():
        with kept.alone(KEY, lambda: False):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    with kept.alone("b" * 40, lambda: False):
        order.append("another model")
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert order == ["another model", "first", "second"]


def test_a_file_system_without_locks_holds_nobody_up(kept, monkeypatch):
    import errno
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with kept.alone(KEY, lambda: False):
        assert kept.find(KEY) is None


def test_without_room_for_a_lock_a_model_is_tried_all_the_same(kept, folder):
    folder.mkdir(mode=0o700)
    (folder / f"{KEY}.lock").mkdir()
    with kept.alone(KEY, lambda: False):
        pass


def test_without_room_in_the_folder_what_is_made_lasts_as_long_as_the_server(kept, folder, monkeypatch):
    import tempfile

    make = tempfile.mkdtemp

    def full(suffix=None, prefix=None, dir=None):  # noqa: A002 - the function's own word
        if str(dir) == str(folder):
            raise OSError(28, "No space left on device")
        return make(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    workplace = kept.workplace(KEY)
    assert workplace.is_dir()
    assert not workplace.is_relative_to(folder)


def test_clearing_up_that_fails_costs_nothing(kept, monkeypatch):
    def fail(*_):
        raise FileNotFoundError

    monkeypatch.setattr(kept, "_make_room", fail)
    stored = kept.keep(KEY, made(kept))
    assert stored.folder.is_dir()
    assert kept.find(KEY) is not None


def test_what_is_set_aside_is_there_until_the_server_ends(kept, folder):
    aside = kept.set_aside(made(kept).folder)
    assert (aside / "litert-int8-0.tflite").read_bytes() == b"x" * 10
    assert not aside.is_relative_to(folder)
    assert not list(folder.glob(".partial-*"))
    kept.close()
    assert not aside.exists()


def test_without_a_home_nothing_is_kept(monkeypatch):
    from pathlib import Path

    from tensorhost.models.kept_trials import default_folder

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert default_folder() is None


def test_who_is_to_stop_waits_for_nobody(kept):
    with kept.alone(KEY, lambda: False), kept.alone(KEY, lambda: True):
        pass


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(b"weights")
    return folder


RUNS = FirstRuns(folder=None, max_batch_rows=32)


def test_the_same_bytes_elsewhere_have_the_same_key(model, tmp_path):
    key = key_of(model, LoadOptions(), RUNS)
    moved = model.rename(tmp_path / "moved")
    assert key_of(moved, LoadOptions(), RUNS) == key
    assert len(key) == 40


def test_whatever_may_change_the_outcome_changes_the_key(model, tmp_path):
    keys = [
        key_of(model, LoadOptions(), RUNS),
        key_of(model, LoadOptions(runtime=RuntimeName.AUTO), RUNS),
        key_of(model, LoadOptions(precision=Precision.BF16), RUNS),
        key_of(model, LoadOptions(intra_op_threads=1), RUNS),
        key_of(model, LoadOptions(), replace(RUNS, max_batch_rows=8)),
        key_of(model, LoadOptions(), replace(RUNS, ranges={"x": (0, 255)})),
    ]
    (model / "variables" / "variables.data").write_bytes(b"Weights")
    keys.append(key_of(model, LoadOptions(), RUNS))
    (model / "variables" / "variables.data").rename(model / "variables" / "other.data")
    keys.append(key_of(model, LoadOptions(), RUNS))
    (tmp_path / "examples.json").write_text("[]")
    keys.append(key_of(model, LoadOptions(), replace(RUNS, folder=tmp_path, examples="examples.json")))
    assert len(set(keys)) == len(keys)


def test_versions_and_the_processor_are_part_of_the_key(model, monkeypatch):
    from tensorhost.models import trial_key

    key = key_of(model, LoadOptions(), RUNS)
    with monkeypatch.context() as patch:
        patch.setattr(trial_key, "_version", lambda package: "9.9" if package == "openvino" else "")
        other = key_of(model, LoadOptions(), RUNS)
    monkeypatch.setattr(trial_key, "_processor", lambda: "another")
    assert len({key, other, key_of(model, LoadOptions(), RUNS)}) == 3


@pytest.mark.parametrize("options", [{"modules": ("m",)}, {"model_modules": ("m",)}, {"allow_lambda": True}])
def test_with_code_that_is_not_in_the_model_nothing_is_kept(model, options):
    assert key_of(model, LoadOptions(**options), RUNS) == ""


def test_a_file_whose_weights_lie_elsewhere_has_no_key(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    assert key_of(tmp_path / "model.json", LoadOptions(), RUNS) == ""
