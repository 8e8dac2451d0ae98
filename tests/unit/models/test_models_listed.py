"""Lists of models, and what lies at their base paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from model_fakes import EMPTY_SAVED_MODEL, FakeRuntime

from tensorhost.core.errors import InvalidRequestError
from tensorhost.models import loading
from tensorhost.models.base_paths import BasePaths
from tensorhost.models.listed import ListedModel, RequestLogOptions, check_list, version_of
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.repository import Look
from tensorhost.models.warmup_records import RecordsRun
from tensorhost.runtimes.base import ModelFormat

FAR_FUTURE = 4e9
NO_FOLDER = "does not exist or cannot be read"
NO_VERSION = "no folder is named by a whole number"


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(EMPTY_SAVED_MODEL)
    return folder


def tflite(folder: Path) -> Path:
    (folder / "model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(16))
    return folder


def look(*models, **how):
    return BasePaths(tuple(models)).scan(Look(FAR_FUTURE, 1.0, **how)).models


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("1", "1"),
        ("00000123", "123"),
        ("0", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", None),
        ("1" * 5000, None),
        ("v1", None),
        ("1.tmp", None),
        ("1.0", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("1e3", None),
        ("١", None),
        ("²", None),
        ("", None),
        ("tmp", None),
    ],
)
def test_a_version_is_a_folder_whose_whole_name_is_a_number(folder, version):
    assert version_of(folder) == version


def test_versions_of_a_base_path(tmp_path):
    saved_model(tmp_path / "1")
    saved_model(tmp_path / "00000123")
    for other in ("v7", "8.tmp", "tmp"):
        saved_model(tmp_path / other)
    (tmp_path / "9").write_text("a file")
    (tmp_path / "10").mkdir()
    (tmp_path / "11").symlink_to(tmp_path / "v7")
    found = look(ListedModel("m", tmp_path))["m"]
    assert not found.problem
    assert sorted(found.versions) == ["1", "10", "11", "123"]
    assert found.versions["123"].path == tmp_path / "00000123"
    assert found.versions["10"].problem == "There are no model files in the version's folder (yet)."


def test_of_two_folders_for_one_version_the_last_by_name_counts_and_it_is_said_once(tmp_path, caplog):
    for name in ("0007", "7", "007"):
        saved_model(tmp_path / name)
    paths = BasePaths((ListedModel("m", tmp_path),))
    for _ in range(3):
        found = paths.scan(Look(FAR_FUTURE, 1.0)).models["m"]
    assert found.versions["7"].path == tmp_path / "7"
    said = [record for record in caplog.records if "two folders are one version" in record.getMessage()]
    assert len(said) == 2


def test_a_model_itself_is_no_base_path(tmp_path):
    saved_model(tmp_path / "m")
    assert NO_VERSION in look(ListedModel("m", tmp_path / "m"))["m"].problem


def test_a_bad_base_path_is_no_other_models_problem(tmp_path):
    saved_model(tmp_path / "good" / "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ("missing", "empty", "file", "loop", "good")
    found = look(*(ListedModel(name, tmp_path / name) for name in names), ListedModel("long", tmp_path / ("x" * 300)))
    assert not found["good"].problem
    assert NO_VERSION in found["empty"].problem
    assert found["empty"].readable
    for name in ("missing", "file", "loop", "long"):
        assert NO_FOLDER in found[name].problem
        assert not found[name].readable
        assert found[name].listed.name == name


def test_two_models_may_share_a_base_path(tmp_path):
    saved_model(tmp_path / "1")
    paths = BasePaths((ListedModel("a", tmp_path), ListedModel("b", tmp_path)))
    for _ in range(2):
        found = paths.scan(Look(FAR_FUTURE, 1.0)).models
        assert {name: model.name for name, model in found.items()} == {"a": "a", "b": "b"}
        assert list(found["a"].versions) == list(found["b"].versions) == ["1"]


def test_model_toml_counts_and_its_change_is_seen_where_no_file_of_the_version_changes(tmp_path):
    saved_model(tmp_path / "1")
    paths = BasePaths((ListedModel("m", tmp_path),))
    before = paths.scan(Look(FAR_FUTURE, 1.0)).models["m"]
    (tmp_path / "model.toml").write_text("warmup.iterations = 7\n")
    after = paths.scan(Look(FAR_FUTURE, 1.0)).models["m"]
    assert after.config.warmup.iterations == 7
    assert after.versions["1"].fingerprint != before.versions["1"].fingerprint
    (tmp_path / "model.toml").write_text("warmup = 7\n")
    assert "model.toml is not valid" in paths.scan(Look(FAR_FUTURE, 1.0)).models["m"].problem


def test_a_version_that_nobody_has_touched_is_not_read_again(tmp_path, monkeypatch):
    saved_model(tmp_path / "1")
    paths, how = BasePaths((ListedModel("m", tmp_path),)), Look(FAR_FUTURE, 1.0)
    first = paths.scan(how).models["m"]
    monkeypatch.setattr("tensorhost.models.repository.detect_format", lambda _path: pytest.fail("read again"))
    assert paths.scan(how).models["m"] == first


def test_a_version_that_is_still_being_copied_waits(tmp_path):
    folder = saved_model(tmp_path / "1")
    now = (folder / "saved_model.pb").stat().st_ctime + 0.5
    found = BasePaths((ListedModel("m", tmp_path),)).scan(Look(now, 1.0)).models["m"].versions["1"]
    assert found.settling


def test_the_tflite_file_beside_a_saved_model_counts_where_it_is_preferred(tmp_path):
    tflite(saved_model(tmp_path / "1"))
    saved_model(tmp_path / "2")
    (tmp_path / "3").mkdir()
    tflite(tmp_path / "3")
    listed = ListedModel("m", tmp_path)
    formats = {version: files.format for version, files in look(listed)["m"].versions.items()}
    assert formats == {"1": ModelFormat.SAVED_MODEL, "2": ModelFormat.SAVED_MODEL, "3": ModelFormat.TFLITE}
    preferred = look(listed, prefer_tflite=True)["m"].versions
    assert {version: files.format for version, files in preferred.items()} == formats | {"1": ModelFormat.TFLITE}
    assert preferred["1"].path == tmp_path / "1" / "model.tflite"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((("m", "/a"), ("n", "/b"), ("m", "/c")), r"Illegal to list model m multiple times in config list"),
        ((("m", "a"),), r"Expected model m to have an absolute path or URI; got base_path\(\)=a$"),
        ((("", "/a"),), "model name must be"),
        ((("../m", "/a"),), "model name must be"),
        ((("m" * 129, "/a"),), "model name must be"),
    ],
)
def test_lists_that_cannot_be_served(models, message):
    with pytest.raises(InvalidRequestError, match=message):
        check_list(tuple(ListedModel(name, Path(path)) for name, path in models))


def test_a_label_is_a_name():
    with pytest.raises(InvalidRequestError, match="Model m: a label must be"):
        check_list((ListedModel("m", Path("/a"), labels={"no label": "1"}),))


def many(count):
    return tuple(ListedModel(f"m{number}", Path("/m")) for number in range(count))


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (many(20_001), "A list may have 20000 models, not 20001"),
        ((ListedModel("m", Path("/" + "p" * 4096)),), "Model m: a path may have 4096 characters"),
        (
            (ListedModel("m", Path("/m"), request_log=RequestLogOptions(1.0, Path("/" + "p" * 4096))),),
            "Model m: a path may have 4096 characters",
        ),
        (
            (ListedModel("m", Path("/m"), labels={f"l{number}": "1" for number in range(101)}),),
            "may have 100 labels",
        ),
        (
            tuple(
                replace(model, policy=VersionPolicy(specific=frozenset(f"{number:019}" for number in range(90))))
                for model in many(10_000)
            ),
            "16777216 characters in all",
        ),
    ],
)
def test_lists_have_limits(models, message):
    with pytest.raises(InvalidRequestError, match=message):
        check_list(models)


def test_a_list_may_be_long():
    check_list(many(20_000))


async def test_what_lies_beside_a_preferred_file_belongs_to_the_version(world, managed, tmp_path, monkeypatch):
    folder = tflite(saved_model(tmp_path / "m" / "1"))
    (folder / "batching_params.pbtxt").write_text("max_batch_size { value: 7 }\n")
    asked = []

    def run(version, *_arguments, **_options):
        asked.append(version)
        return RecordsRun()

    monkeypatch.setattr(loading, "run_warmup_records", run)
    monkeypatch.setattr(loading, "load", lambda _path, _options: FakeRuntime(lambda x: x))
    manager = await managed(models=(ListedModel("m", tmp_path / "m"),), prefer_tflite=True, per_version_batching=True)
    servable = manager.find("m")
    assert servable.loaded.config.batching.max_batch_size == 7
    assert asked == [folder]
