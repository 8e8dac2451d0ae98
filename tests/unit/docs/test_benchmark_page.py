import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def page(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_page", ROOT / "scripts" / "benchmark_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["benchmark_page.py", "--check"])
    return module


def test_the_page_shows_the_saved_runs(page):
    assert page.main() == 0


def test_a_page_that_was_edited_by_hand_is_stale(page, monkeypatch, tmp_path, capsys):
    edited = tmp_path / "benchmarks.md"
    edited.write_text(page.render() + "Ten times faster.\n", encoding="utf-8")
    monkeypatch.setattr(page, "TARGET", edited)
    assert page.main() == 1
    assert "stale" in capsys.readouterr().err


def test_a_missing_page_is_stale_and_is_written_without_check(page, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "TARGET", tmp_path / "benchmarks.md")
    assert page.main() == 1
    monkeypatch.setattr("sys.argv", ["benchmark_page.py"])
    assert page.main() == 0
    assert (tmp_path / "benchmarks.md").read_text(encoding="utf-8") == page.render()


@pytest.mark.parametrize("name", ["http_servers", "load_interference", "startup"])
def test_a_new_run_makes_the_page_stale(page, monkeypatch, tmp_path, name):
    shutil.copytree(page.RESULTS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    assert page.main() == 0
    saved = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    saved["machine"]["cpu"] = "another processor"
    (tmp_path / f"{name}.json").write_text(json.dumps(saved), encoding="utf-8")
    assert page.main() == 1


def test_every_server_of_a_case_is_in_its_table(page):
    saved = json.loads((page.RESULTS / "http_servers.json").read_text(encoding="utf-8"))
    shown = "\n".join(page.http_section(saved))
    for case in saved["cases"]:
        for figures in case["servers"].values():
            assert f"| {figures['requests_s']:,.0f} |" in shown
