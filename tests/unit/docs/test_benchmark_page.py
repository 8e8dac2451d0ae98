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


@pytest.mark.parametrize(
    "name",
    [
        "http_servers",
        "load_interference",
        "startup",
        "engine",
        "formats",
        "unload",
        "codecs",
        "threads",
        "call_paths",
        "workers",
    ],
)
def test_a_run_elsewhere_makes_the_page_stale(page, monkeypatch, tmp_path, name):
    def move(saved):
        if isinstance(saved["machine"], dict):
            saved["machine"]["cpu"] = "another processor"
        else:
            saved["machine"] = "another processor"

    change(page, monkeypatch, tmp_path, name, move)
    assert page.main() == 1


def change(page, monkeypatch, tmp_path, name, edit):
    shutil.copytree(page.RESULTS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    assert page.main() == 0
    saved = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    edit(saved)
    (tmp_path / f"{name}.json").write_text(json.dumps(saved), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "keys", "shown"),
    [
        ("engine", ("results", -1, "requests_per_s"), "| 76,543,210 |"),
        ("unload", ("results", "cycles", -1, "unloaded_mib"), "| 76,543,210.0 |"),
        ("unload", ("results", "growth_mib"), "by 76543210.0 MiB"),
        ("codecs", ("results", 0, "microseconds", "orjson"), "| 76,543,210.0 ("),
        ("codecs", ("results", -1, "ratios", "json"), "(76543210.00×) |"),
        ("threads", ("results", "mlp", "one per core", "32"), "| 76,543,210.0 |"),
        ("call_paths", ("results", "tiny, 1 rows", "signature call"), "| signature call | 76,543,210.0 |"),
    ],
)
def test_a_figure_of_a_run_is_in_its_table(page, monkeypatch, tmp_path, name, keys, shown):
    def measure_anew(saved):
        for key in keys[:-1]:
            saved = saved[key]
        saved[keys[-1]] = 76543210

    assert shown not in page.render()
    change(page, monkeypatch, tmp_path, name, measure_anew)
    assert shown in page.render()
    assert page.main() == 1


def test_every_row_of_a_table_has_as_many_cells_as_its_header(page):
    cells = None
    for line in page.render().splitlines():
        if not line.startswith("|"):
            cells = None
            continue
        assert cells in (None, line.count("|"))
        cells = line.count("|")


def test_every_saved_run_is_on_the_page(page, monkeypatch):
    read = []
    original = page._read
    monkeypatch.setattr(page, "_read", lambda name: read.append(name) or original(name))
    page.render()
    assert sorted(read) == sorted(path.stem for path in page.RESULTS.glob("*.json"))


def test_every_server_of_a_case_is_in_its_table(page):
    saved = json.loads((page.RESULTS / "http_servers.json").read_text(encoding="utf-8"))
    shown = "\n".join(page.http_section(saved))
    for case in saved["cases"]:
        for figures in case["servers"].values():
            assert f"| {figures['requests_s']:,.0f} |" in shown
