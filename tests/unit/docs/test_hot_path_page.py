import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def page(monkeypatch):
    spec = importlib.util.spec_from_file_location("hot_path_page", ROOT / "scripts" / "hot_path_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["hot_path_page.py", "--check"])
    return module


def test_the_page_of_the_hot_path_shows_the_saved_run(page):
    assert page.main() == 0


@pytest.mark.parametrize(
    ("name", "keys", "shown"),
    [
        ("hot_path", ("cases", "tiny", "instructions"), " 76,543,210 |"),
        ("hot_path", ("cases", "image", "allocations"), " 76,543,210 |"),
        ("hot_path", ("cases", "mlp", "stages_us", "model call"), "| 76543210.0 |"),
        ("hot_path", ("cases", "mlp32", "cpu_us"), "| 76,543,210.0 |"),
        ("hot_path", ("hand_off_us", "event loop"), "| event loop | 76543210.0 |"),
        ("hot_path_before", ("cases", "tiny", "instructions"), "| 76,543,210 |"),
        ("large_bodies", ("cases", "JSON in", "before", "kernel_us"), "| 76,543,210 |"),
        ("large_bodies", ("reading", "262144", "parsed_us"), "| 76,543,210 |"),
        ("array_placement", ("microseconds", "litert", "1 byte off, read-only"), "| 76543210 |"),
    ],
)
def test_a_figure_of_the_run_is_on_the_page_and_another_makes_it_stale(page, monkeypatch, tmp_path, name, keys, shown):
    shutil.copytree(page.RESULTS, tmp_path, dirs_exist_ok=True)
    saved = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    place = saved
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = 76543210
    (tmp_path / f"{name}.json").write_text(json.dumps(saved), encoding="utf-8")
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    assert shown in page.render()
    assert page.main() == 1


def test_every_stage_that_is_measured_is_explained(page):
    saved = json.loads((page.RESULTS / "hot_path.json").read_text(encoding="utf-8"))
    assert list(saved["cases"]["tiny"]["stages_us"]) == list(page.MEANINGS)


def test_a_missing_page_of_the_hot_path_is_written(page, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(page, "TARGET", tmp_path / "page.md")
    assert page.main() == 1
    monkeypatch.setattr(sys, "argv", ["hot_path_page.py"])
    assert page.main() == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page.render()
