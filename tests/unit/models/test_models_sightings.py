"""A model that nobody has touched is not read again, and one that somebody has is."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest

from tensorhost.models import repository
from tensorhost.models.repository import scan
from tensorhost.models.sightings import Sightings

LATER_S = 100.0
"""So much later than the files were written the looks take place: their times are certain."""


@pytest.fixture
def root(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "1" / "assets").mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / name / "1" / "model.keras", "w") as archive:
            for part in ("metadata.json", "config.json", "model.weights.h5"):
                archive.writestr(part, "{}")
        (tmp_path / name / "model.toml").write_text('labels_file = "labels.txt"\n')
        (tmp_path / name / "labels.txt").write_text("cat\ndog\n")
    return tmp_path


@pytest.fixture
def look(root, monkeypatch):
    """Looks at the root, remembering; returns what was seen and the names of the models that were read."""
    seen = Sightings()
    read = []
    original = repository._look_at

    def counted(context, name, path, *, is_folder):
        read.append(name)
        return original(context, name, path, is_folder=is_folder)

    monkeypatch.setattr(repository, "_look_at", counted)

    def look(later_s=LATER_S):
        read.clear()
        now = time.time() + later_s
        found = scan(root, now=now, settle_s=0.0, seen=seen)
        names = list(read)
        assert found == scan(root, now=now, settle_s=0.0), "not what is there"
        return found, names

    return look


def test_a_second_look_reads_nothing(look):
    first, names = look()
    assert names == ["a", "b"]
    assert all(not version.problem for model in first.models.values() for version in model.versions.values())
    assert look() == (first, [])


def _rewritten(root):
    (root / "a" / "labels.txt").write_text("cat\nfox\n")


def _renamed(root):
    (root / "a" / "1").rename(root / "a" / "2")


def _added(root):
    shutil.copytree(root / "a" / "1", root / "a" / "2")


def _removed_deep_inside(root):
    (root / "a" / "1" / "assets").rmdir()


def _touched(root):
    os.utime(root / "a" / "1" / "model.keras")


def _set_back(root):
    (root / "a" / "labels.txt").write_text("fox\ndog\n")
    os.utime(root / "a" / "labels.txt", (1.0, 1.0))


def _broken(root):
    (root / "a" / "model.toml").write_text("nonsense = 1\n")


def _a_link_leads_elsewhere(root):
    (root / "elsewhere.txt").write_text("fox\nelk\n")
    (root / "a" / "labels.txt").unlink()
    (root / "a" / "labels.txt").symlink_to(root / "elsewhere.txt")


@pytest.mark.parametrize(
    "change",
    [_rewritten, _renamed, _added, _removed_deep_inside, _touched, _set_back, _broken, _a_link_leads_elsewhere],
)
def test_whatever_changes_is_read_again_and_nothing_else(root, look, change):
    before, _ = look()
    change(root)
    after, names = look()
    assert names == ["a"]
    assert after.models["b"] is before.models["b"]


def test_what_changed_a_moment_ago_is_read_each_time(look):
    assert look(later_s=0.0)[1] == ["a", "b"]
    assert look(later_s=0.0)[1] == ["a", "b"]


def test_a_model_with_a_problem_is_read_each_time(root, look):
    (root / "a" / "model.toml").write_text("nonsense = 1\n")
    look()
    assert look()[1] == ["a"]


def test_a_folder_behind_a_link_is_read_each_time(root, look, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    shutil.move(root / "a" / "1", outside / "1")
    (root / "a" / "1").symlink_to(outside / "1")
    look()
    assert look()[1] == ["a"]


def test_what_is_gone_is_forgotten(root, look):
    look()
    shutil.move(root / "a", root / ".a")
    found, names = look()
    assert (list(found.models), names) == (["b"], [])
    shutil.move(root / ".a", root / "a")
    assert look()[1] == ["a"]


def test_a_look_that_fails_is_not_kept():
    seen = Sightings()
    seen.begin()
    with pytest.raises(OSError, match="failing disk"):
        seen.find(Path(__file__), time.time() + LATER_S, _fail, bool)


def _fail():
    raise OSError("failing disk")
