"""docs/container.md shows what was measured, and speaks of the image as it is."""

from __future__ import annotations

import json
import re

from benchmarks import images
from dockerfile import ROOT, stages

PAGE = (ROOT / "docs" / "container.md").read_text("utf-8")


def test_the_figures_are_those_of_the_saved_run():
    saved = json.loads(images.RESULT.read_text("utf-8"))
    assert images.table(saved) in PAGE
    assert images.with_table(PAGE, saved) == PAGE


def test_other_figures_would_replace_them():
    saved = json.loads(images.RESULT.read_text("utf-8"))
    later = saved | {"date": "2030-01-01", "rounds": 99}
    assert images.with_table(images.with_table(PAGE, later), saved) == PAGE
    assert "2030-01-01" in images.with_table(PAGE, later)


def test_the_build_arguments_are_those_of_the_dockerfile():
    table = dict(re.findall(r"^\| `(\w+)`(?:, `\w+`)? \| `([^`]+)` \|", PAGE, re.MULTILINE))
    before, *_, final = stages()
    arguments = dict(argument.partition("=")[::2] for argument in (*before.all("ARG"), *final.all("ARG")[1:]))
    assert table == {name: arguments[name] for name in ("EXTRAS", "BASE", "VERSION")}


def test_every_folder_it_names_is_in_the_image_or_mounted():
    folders = set(re.findall(r"^\| `(/\w+)` \|", PAGE, re.MULTILINE))
    environment = stages()[-1].environment
    assert folders == {environment["MODEL_PATH"], environment["TENSORHOST_CACHE_DIR"].rpartition("/")[0], "/tmp"}
