from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import pytest
from model_fakes import EMPTY_SAVED_MODEL

from tensorhost.core.errors import InvalidRequestError
from tensorhost.models.repository import describe_path, scan
from tensorhost.runtimes.base import ModelFormat

FAR_FUTURE = 4e9
VARIABLES = EMPTY_SAVED_MODEL + b"\x12\x0bVarHandleOp"
TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"


def saved_model(folder: Path, content: bytes = EMPTY_SAVED_MODEL) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    return folder


def keras_file(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    return file


def look(root, now=FAR_FUTURE, settle_s=1.0):
    return scan(root, now=now, settle_s=settle_s)


def versions(found):
    return {name: sorted(model.versions) for name, model in found.models.items()}


def problem(root, name="m", version="1", **when):
    return look(root, **when).models[name].versions[version].problem


def test_a_repository_root(tmp_path):
    saved_model(tmp_path / "m" / "1")
    saved_model(tmp_path / "m" / "2")
    saved_model(tmp_path / "flat")
    keras_file(tmp_path / "wine.keras")
    keras_file(tmp_path / "named" / "3" / "model.keras")
    found = look(tmp_path)
    assert versions(found) == {"m": ["1", "2"], "flat": ["1"], "wine": ["1"], "named": ["3"]}
    assert found.readable
    assert not found.problems
    assert found.models["m"].versions["2"].format is ModelFormat.SAVED_MODEL
    assert found.models["wine"].versions["1"].format is ModelFormat.KERAS
    assert not any(version.problem for model in found.models.values() for version in model.versions.values())


def test_a_root_with_a_single_model_file_is_still_a_repository(tmp_path):
    keras_file(tmp_path / "wine.keras")
    assert versions(look(tmp_path)) == {"wine": ["1"]}
    saved_model(tmp_path / "m" / "1")
    assert versions(look(tmp_path)) == {"wine": ["1"], "m": ["1"]}
    keras_file(tmp_path / "beer.keras")
    assert versions(look(tmp_path)) == {"wine": ["1"], "m": ["1"], "beer": ["1"]}


@pytest.mark.parametrize(
    ("made", "asked", "name", "version", "settings"),
    [
        ("m/1", "m", "m", "1", "m"),
        ("m/v2.0", "m", "m", "v2.0", "m"),
        ("m/1", "m/1", "m", "1", "m"),
        ("m", "m", "m", "1", "m"),
        ("m/1", "m/1/saved_model.pb", "m", "1", "m"),
    ],
)
def test_one_saved_model_is_named_by_its_folders(tmp_path, made, asked, name, version, settings):
    saved_model(tmp_path / made)
    found = look(tmp_path / asked)
    assert versions(found) == {name: [version]}
    assert found.models[name].folder == tmp_path / settings
    assert not found.models[name].versions[version].problem


@pytest.mark.parametrize(
    ("made", "asked", "name", "version"),
    [
        ("wine.keras", "wine.keras", "wine", "1"),
        ("m/model.keras", "m/model.keras", "m", "1"),
        ("m/model.keras", "m", "m", "1"),
        ("m/4/model.keras", "m/4/model.keras", "m", "4"),
        ("m/4/any.keras", "m/4", "m", "4"),
    ],
)
def test_one_model_file_is_named_by_itself_or_by_its_folder(tmp_path, made, asked, name, version):
    keras_file(tmp_path / made)
    assert versions(look(tmp_path / asked)) == {name: [version]}


def test_a_model_folder_with_settings_and_no_version_yet(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.toml").write_text("description = 'to come'")
    found = look(tmp_path / "m")
    assert found.models["m"].problem == "There is no version in the model's folder."
    assert found.models["m"].config.description == "to come"


def test_formats_are_told_by_content(tmp_path):
    (tmp_path / "lite" / "1").mkdir(parents=True)
    (tmp_path / "lite" / "1" / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 16)
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "model.json").write_text('{"modelTopology": {}, "weightsManifest": [{"paths": ["w.bin"]}]}')
    found = look(tmp_path)
    assert found.models["lite"].versions["1"].format is ModelFormat.TFLITE
    assert found.models["js"].versions["1"].format is ModelFormat.TFJS
    assert found.models["js"].versions["1"].problem == "Files are missing (or still being copied): w.bin."
    (tmp_path / "js" / "w.bin").write_bytes(b"")
    assert not problem(tmp_path, "js")


@pytest.mark.parametrize("asked", ["net", "net/any.json"])
def test_a_tensorflow_js_model_is_one_whatever_its_file_is_called(tmp_path, asked):
    (tmp_path / "net" / "1").mkdir(parents=True)
    json = '{"modelTopology": {}, "weightsManifest": [{"paths": ["1/w.bin"]}]}'
    (tmp_path / "net" / "any.json").write_text(json)
    (tmp_path / "net" / "1" / "w.bin").write_bytes(bytes(100))
    (found,) = look(tmp_path / asked).models.values()
    assert found.name == ("net" if asked == "net" else "any")
    assert found.versions["1"].size_bytes == len(json) + 100
    assert not found.versions["1"].problem


def test_a_half_copied_model_says_what_is_missing(tmp_path):
    folder = saved_model(tmp_path / "m" / "1", VARIABLES)
    assert problem(tmp_path) == (
        "Files are missing (or still being copied): variables/variables.index, variables/variables.data-*."
    )
    (folder / "variables").mkdir()
    (folder / "variables" / "variables.index").write_bytes(TABLE_END)
    (folder / "variables" / "variables.data-00000-of-00002").write_bytes(b"")
    assert "variables.data-00001-of-00002" in problem(tmp_path)
    (folder / "variables" / "variables.data-00001-of-00002").write_bytes(b"")
    assert not problem(tmp_path)


def test_a_version_without_files_waits_for_them(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    saved_model(tmp_path / "m" / "2")
    (tmp_path / "m" / "notes").mkdir()
    found = look(tmp_path)
    assert versions(found) == {"m": ["1", "2"]}
    assert problem(tmp_path) == "There are no model files in the version's folder (yet)."


@pytest.mark.parametrize("made", ["m.keras", "m/model.keras", "m/1/any.keras", "m/1/any.h5", "m/any.tflite"])
def test_a_damaged_model_file_is_said_to_be_damaged(tmp_path, made):
    file = tmp_path / made
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"no model")
    assert look(tmp_path).models["m"].problem == ""
    assert problem(tmp_path) == f"Files are missing (or still being copied): {file.name} (damaged or incomplete)."


def test_a_damaged_stray_file_does_not_hide_the_versions_beside_it(tmp_path):
    saved_model(tmp_path / "m" / "3")
    (tmp_path / "m" / "stray.keras").write_bytes(b"no model")
    assert versions(look(tmp_path)) == {"m": ["3"]}
    assert not problem(tmp_path, version="3")


def test_the_settings_a_version_is_loaded_with_are_part_of_its_fingerprint(tmp_path):
    saved_model(tmp_path / "m" / "1")
    settings = tmp_path / "m" / "model.toml"

    def fingerprint(text):
        settings.write_text(text)
        return look(tmp_path).models["m"].versions["1"].fingerprint

    plain = fingerprint("")
    assert fingerprint("description = 'x'\nversion_labels = { stable = '1' }") == plain
    assert fingerprint("labels = ['a']") != plain
    assert fingerprint("labels = [") not in (plain, fingerprint("labels = ['a']"))
    settings.unlink()
    assert look(tmp_path).models["m"].versions["1"].fingerprint == plain


def test_an_empty_model_folder_is_a_problem(tmp_path):
    (tmp_path / "m").mkdir()
    assert look(tmp_path).models["m"].problem == "There is no version in the model's folder."


@pytest.mark.parametrize("name", ["bad name", "ä", "-%2e-", "x" * 129])
def test_a_bad_name_is_a_problem_and_no_model(tmp_path, name):
    saved_model(tmp_path / name)
    keras_file(tmp_path / f"{name}.keras")
    found = look(tmp_path)
    assert not found.models
    assert list(found.problems) == [name]
    assert "letters, digits" in found.problems[name]
    assert list(look(tmp_path / name).problems) == [name]


def test_a_name_that_is_no_text_becomes_one(tmp_path):
    saved_model(Path(os.fsdecode(bytes(tmp_path) + b"/a\xff")))
    (name,) = look(tmp_path).problems
    assert name.encode() == b"a?"


def test_a_file_name_that_is_no_text_can_be_shown(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    file = Path(os.fsdecode(bytes(tmp_path) + b"/m/1/a\xff.keras"))
    file.write_bytes(b"PK\x03\x04 cut short")
    assert b"a?.keras (damaged or incomplete)" in problem(tmp_path).encode()


def test_hidden_entries_and_other_files_are_not_looked_at(tmp_path):
    saved_model(tmp_path / ".git")
    saved_model(tmp_path / "m" / "1")
    saved_model(tmp_path / "m" / ".2")
    keras_file(tmp_path / ".wine.keras")
    (tmp_path / "README.md").write_text("")
    found = look(tmp_path)
    assert versions(found) == {"m": ["1"]}
    assert not found.problems


def test_of_two_models_of_one_name_the_folder_is_served(tmp_path):
    saved_model(tmp_path / "m" / "7")
    keras_file(tmp_path / "m.keras")
    found = look(tmp_path)
    assert versions(found) == {"m": ["7"]}
    assert found.problems == {"m.keras": "There is already a model 'm' in this repository."}


def test_a_version_is_left_alone_until_its_files_are_quiet(tmp_path):
    folder = saved_model(tmp_path / "m" / "1")
    changed_at = max((folder / "saved_model.pb").stat().st_ctime, folder.stat().st_ctime)
    settling = look(tmp_path, now=changed_at + 0.9).models["m"].versions["1"]
    assert settling.settling
    assert settling.problem == "The files were changed a moment ago (still being copied?)."
    settled = look(tmp_path, now=changed_at + 1.1).models["m"].versions["1"]
    assert not settled.settling
    assert not settled.problem
    assert settled.fingerprint == settling.fingerprint


def test_a_preserved_modification_time_does_not_hide_a_copy(tmp_path):
    folder = saved_model(tmp_path / "m" / "1")
    os.utime(folder / "saved_model.pb", (1, 1))
    os.utime(folder, (1, 1))
    changed_at = (folder / "saved_model.pb").stat().st_ctime
    assert look(tmp_path, now=changed_at + 0.5).models["m"].versions["1"].settling


def test_what_changes_while_the_look_goes_on_is_left_alone(tmp_path):
    folder = saved_model(tmp_path / "m" / "1")
    changed_at = (folder / "saved_model.pb").stat().st_ctime
    assert look(tmp_path, now=changed_at - 5).models["m"].versions["1"].settling
    assert not look(tmp_path, now=changed_at - 5, settle_s=0).models["m"].versions["1"].settling


def test_a_clock_behind_that_of_the_files_holds_nothing_back(tmp_path):
    saved_model(tmp_path / "m" / "1")
    assert not problem(tmp_path, now=1000.0)


def test_every_change_of_a_file_changes_the_fingerprint(tmp_path):
    folder = saved_model(tmp_path / "m" / "1")
    seen = [look(tmp_path).models["m"].versions["1"].fingerprint]
    (folder / "assets").mkdir()
    (folder / "assets" / "words").write_text("a")
    seen.append(look(tmp_path).models["m"].versions["1"].fingerprint)
    assert seen[1][1] == seen[0][1] + 1
    replaced = tmp_path / ".new"
    replaced.write_text("b")
    replaced.rename(folder / "assets" / "words")
    seen.append(look(tmp_path).models["m"].versions["1"].fingerprint)
    assert len(set(seen)) == 3


def test_a_broken_model_toml_is_the_problem_of_its_model_alone(tmp_path):
    saved_model(tmp_path / "m" / "1")
    saved_model(tmp_path / "n" / "1")
    (tmp_path / "m" / "model.toml").write_text("labels = [")
    found = look(tmp_path)
    assert found.models["m"].problem.startswith("model.toml cannot be read")
    assert versions(found) == {"m": ["1"], "n": ["1"]}
    assert not found.models["n"].problem


def test_a_missing_root_is_unreadable_not_empty(tmp_path):
    assert not look(tmp_path / "missing").readable
    assert look(tmp_path).readable


@pytest.fixture
def failing_disk(monkeypatch):
    """Makes listing a folder fail as a file server does that blinks."""
    failing: set[Path] = set()
    iterdir = Path.iterdir

    def listing(folder):
        if folder in failing:
            raise OSError(errno.EIO, "Input/output error", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", listing)
    return failing


def test_a_root_that_cannot_be_listed_is_unreadable_not_empty(tmp_path, failing_disk):
    saved_model(tmp_path / "m" / "1")
    failing_disk.add(tmp_path)
    assert not look(tmp_path).readable


def test_a_model_that_cannot_be_listed_is_unreadable_and_leaves_the_others_alone(tmp_path, failing_disk):
    saved_model(tmp_path / "m" / "1")
    saved_model(tmp_path / "n" / "1")
    failing_disk.add(tmp_path / "m")
    found = look(tmp_path)
    assert found.readable
    assert not found.models["m"].readable
    assert found.models["m"].problem == "The model's files cannot be read."
    assert versions(found)["n"] == ["1"]


def test_a_loop_of_links_is_no_end_of_the_look(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop.keras").symlink_to(tmp_path / "loop.keras")
    saved_model(tmp_path / "m" / "1")
    (tmp_path / "m" / "2").symlink_to(tmp_path / "m" / "2")
    assert versions(look(tmp_path))["m"] == ["1"]


def test_files_that_vanish_while_they_are_measured_do_not_matter(tmp_path, monkeypatch):
    folder = saved_model(tmp_path / "m" / "1")
    (folder / "gone").write_text("x")
    monkeypatch.setattr(os, "walk", lambda path: [(str(folder), ["never"], ["gone", "neither"])])
    assert look(tmp_path).models["m"].versions["1"].size_bytes == 1


def test_one_path_must_name_one_model(tmp_path):
    saved_model(tmp_path / "m" / "1")
    saved_model(tmp_path / "n" / "1")
    assert describe_path(tmp_path / "n", now=FAR_FUTURE, settle_s=0).name == "n"
    for path in (tmp_path, tmp_path / "missing", Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(InvalidRequestError, match="must name one model"):
            describe_path(path, now=FAR_FUTURE, settle_s=0)
