import json
import shutil
import xml.etree.ElementTree as ET

import benchmark_page
import comparison_page
import pytest
import svg_charts


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmark_page.py", "--check"])
    return benchmark_page


@pytest.fixture
def compared(page):
    return page._read("compare")


def test_the_page_shows_the_saved_runs(page):
    assert page.main() == 0


def test_a_page_that_was_edited_by_hand_is_stale(page, monkeypatch, tmp_path, capsys):
    edited = tmp_path / "benchmarks.md"
    shutil.copytree(page.TARGET.parent / page.CHARTS, tmp_path / page.CHARTS)
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
        "compare",
        "load_interference",
        "startup",
        "engine",
        "formats",
        "unload",
        "codecs",
        "threads",
        "call_paths",
        "workers",
        "soak",
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
        ("growth", ("curves", "models", "points", -1, "requests_s"), "| 76,543,210 |"),
        ("growth", ("curves", "connections", "points", -1, "requests_s"), "| 76,543,210 |"),
        ("growth", ("curves", "bodies", "points", -1, "median_ms"), "| 76,543,210.0 |"),
        ("grpc_predict", ("load", -1, "servers", "tensorhost", "requests_s"), "| 76,543,210 |"),
        ("grpc_predict", ("alone", "overhead", "grpc_us"), "| 76,543,210 |"),
        ("soak", ("lines", "rss_mib", "rise"), "| +76,543,210.00 |"),
        ("soak", ("requests", "failed"), "76,543,210 failed"),
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
    # On pages of their own, with tests of their own.
    elsewhere = {"hot_path", "hot_path_before", "large_bodies", "array_placement", "images", "tracing"}
    assert sorted(read) == sorted({path.stem for path in page.RESULTS.glob("*.json")} - elsewhere)


def test_a_chart_that_was_edited_is_missing_or_is_left_over_makes_the_page_stale(page, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(page, "TARGET", tmp_path / "benchmarks.md")
    monkeypatch.setattr("sys.argv", ["benchmark_page.py"])
    page.main()
    monkeypatch.setattr("sys.argv", ["benchmark_page.py", "--check"])
    assert page.main() == 0
    first, second, *_ = sorted((tmp_path / page.CHARTS).glob("*.svg"))
    first.write_text("<svg/>", encoding="utf-8")
    second.unlink()
    (tmp_path / page.CHARTS / "old.svg").write_text("<svg/>", encoding="utf-8")
    assert page.main() == 1
    assert {line.split()[0] for line in capsys.readouterr().err.splitlines()} == {first.name, second.name, "old.svg"}
    monkeypatch.setattr("sys.argv", ["benchmark_page.py"])
    page.main()
    assert not (tmp_path / page.CHARTS / "old.svg").exists()
    monkeypatch.setattr("sys.argv", ["benchmark_page.py", "--check"])
    assert page.main() == 0


def section(compared):
    return "\n".join(comparison_page.comparison_section(compared, "here"))


def test_every_server_of_a_case_is_in_its_table(compared):
    lines = section(compared).splitlines()
    for case in compared["cases"]:
        for name, figures in case["servers"].items():
            label = comparison_page.SERVERS[name]
            shown = figures.get("failed") or f"{figures['requests_s']:,.0f}"
            assert any(line.startswith(f"| {label} | {shown[:20]}") or "failed" not in figures for line in lines)


def test_a_server_that_failed_is_shown_with_its_reason_in_table_and_chart(compared):
    case = next(case for case in compared["cases"] if not case["rate"] and "triton" in case["servers"])
    case["servers"]["triton"] = {"failed": "7 of 9 requests failed | really"}
    assert "| Triton | 7 of 9 requests failed   really |" in section(compared)
    assert ">failed<" in comparison_page.comparison_charts(compared)[f"{case['model']}-rate.svg"]


def test_a_peer_that_could_not_be_installed_is_named_with_the_reason(compared):
    del compared["peers"]["ray"]
    compared["unavailable"] = {"ray": "could not be installed."}
    assert "| Ray Serve | not measured: it could not be installed. | |" in section(compared)


def test_every_table_has_a_column_for_each_tensorhost(compared):
    for case in compared["cases"]:
        for one in case["servers"].values():
            for times in [one.get("times", {})]:
                if times:
                    times["other"] = next(iter(times.values()))
        case["servers"]["other"] = case["servers"]["tensorhost"]
    shown = section(compared)
    [*_, header] = [line for line in shown.splitlines() if "times processor of tensorhost" in line]
    assert "times rate of tensorhost |" in header
    assert "times rate of other |" in header


ROWS = [
    svg_charts.Row("fast & good", "ours", ((100.0,), (40.0,))),
    svg_charts.Row("slow", "other", ((25.0,), None)),
]


def shapes(svg, kind):
    return [one.attrib for one in ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{kind}")]


def test_bars_are_as_long_as_their_values_and_each_panel_has_its_own_scale():
    svg = svg_charts.bar_chart("Rates", ["one", "two"], ROWS)
    _, fast, slow, alone = shapes(svg, "rect")
    widths = sorted(float(bar["width"]) for bar in (fast, slow, alone))
    assert widths[1] == widths[2] == 4 * widths[0]
    assert svg.count(">failed<") == 1
    assert "fast &amp; good" in svg


def test_ranges_stand_on_a_logarithmic_scale_that_holds_them():
    rows = [svg_charts.Row("a", "ours", ((1.0, 10.0, 100.0),)), svg_charts.Row("b", "other", ((0.5, 2.0, 900.0),))]
    svg = svg_charts.range_chart("Latency", ["p"], rows)
    places = [float(mark["cx"]) for mark in shapes(svg, "circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
    ticks = [float(line["x1"]) for line in shapes(svg, "line") if line["x1"] == line["x2"]]
    assert len(ticks) == 5, "from 0.1 to 1,000 ms"
    assert min(ticks) <= min(places) < max(places) <= max(ticks)


def test_a_chart_without_figures_is_still_a_chart():
    row = svg_charts.Row("a", "other", (None,))
    assert ">failed<" in svg_charts.bar_chart("Rates", ["p"], [row])
    assert ">failed<" in svg_charts.range_chart("Latency", ["p"], [row])


def turn(requests_s, times=None):
    spread = {"median": requests_s, "lowest": requests_s, "highest": requests_s}
    named = {"requests_s": requests_s, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us_per_request": 30.0, "body_bytes": 38}
    cores = {"generator_cores": 0.93, "other_cores": 0.0}
    ratios = {
        mine: {what: dict.fromkeys(spread, ratio) for what in ("requests_s", "cpu")} for mine, ratio in times or ()
    }
    return named | cores | {"spread": {"requests_s": spread}, "rounds": [{}], "times": ratios}


def case(body, model, connections, servers):
    known = {"load": "closed", "rate": 0, "seconds": 2}
    return known | {"body": body, "model": model, "connections": connections, "servers": servers}


@pytest.fixture
def as_bytes(compared):
    """A run over gRPC and with binary tensors."""
    small = {
        "tensorhost": turn(7654.0),
        "tensorhost_grpcio": turn(3000.0),
        "triton": turn(7000.0, [("tensorhost", 1.1), ("tensorhost_grpcio", 0.4)]),
        "ray": {"failed": "answers <no> | more"},
    }
    large = {
        "tensorhost": turn(500.0),
        "tensorhost_json": turn(100.0, [("tensorhost", 5.0)]),
        "tensorhost_tensorflow": turn(400.0),
        "tensorhost_tensorflow_json": turn(90.0, [("tensorhost", 5.5)]),
    }
    return compared | {
        "versions": compared["versions"] | {"grpcio": "1.2", "pygrpc-native": "3.4"},
        "how": compared["how"] | {"grpc_connections": 4},
        "cases": [case("grpc", "tiny", 128, small), case("binary", "mobilenetv2", 1, large)],
    }


def test_a_run_with_numbers_as_bytes_has_tables_with_what_the_client_took(as_bytes):
    shown = "\n".join(comparison_page.binary_section(as_bytes, "here"))
    assert "here, pygrpc-native 3.4, grpcio 1.2; wrk" in shown
    assert "### gRPC: y = x/2 + 2 on three numbers" in shown
    assert "128 in flight over 4 connections, requests of 38 bytes, 1 round of 2 s:" in shown
    assert "| tensorhost, grpcio | 3,000 (3,000–3,000) | 1.00 | 2.00 | 30 | 0.9 | 0.0 |" in shown
    assert "times rate of tensorhost | times rate of tensorhost, grpcio | times processor of tensorhost |" in shown
    assert "| **1.10×** (1.10–1.10) | **0.40×** (0.40–0.40) | **1.10×** (1.10–1.10) |" in shown
    assert "| Ray Serve | answers &lt;no>   more |" in shown
    assert "1 connection, requests of 38 bytes" in shown.partition("### HTTP: MobileNetV2")[2]
    (row,) = [line for line in shown.splitlines() if line.startswith("| tensorhost, JSON")]
    assert row.endswith(" | 0.9 | 0.0 | **5.00×** (5.00–5.00) |  | **5.00×** (5.00–5.00) |")


def test_every_row_of_its_tables_has_as_many_cells_as_the_header(as_bytes):
    text = "\n".join((*comparison_page.binary_section(as_bytes, "here"), comparison_page.binary_summary(as_bytes)))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_comparison_has_its_ratios_in_short(as_bytes):
    shown = comparison_page.binary_summary(as_bytes)
    assert "|  | Ray Serve | Triton | tensorhost, JSON |" in shown
    assert "| gRPC, y = x/2 + 2 on three numbers, 128 in flight |  | 1.1× |  |" in shown
    assert "| HTTP, MobileNetV2, 1 connection |  |  | 5.0× |" in shown


def test_without_such_a_run_the_pages_say_that_there_is_none(page, monkeypatch, tmp_path):
    shutil.copytree(page.RESULTS, tmp_path, dirs_exist_ok=True)
    (tmp_path / f"{page.BINARY}.json").unlink(missing_ok=True)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    assert "with numbers as bytes" not in page.render()
    assert "say anything about GPUs, gRPC or large tensors" in page.wanted_files()[page.COMPARISON]


def test_such_a_run_makes_both_pages_stale_until_they_are_written(page, monkeypatch, tmp_path, as_bytes, capsys):
    pages = tmp_path / "docs"
    shutil.copytree(page.TARGET.parent, pages)
    monkeypatch.setattr(page, "TARGET", pages / page.TARGET.name)
    monkeypatch.setattr(page, "COMPARISON", pages / page.COMPARISON.name)
    change(page, monkeypatch, tmp_path / "results", "compare", lambda _: None)
    (tmp_path / "results" / f"{page.BINARY}.json").write_text(json.dumps(as_bytes), encoding="utf-8")
    assert page.main() == 1
    assert {line.split()[0] for line in capsys.readouterr().err.splitlines()} == {"benchmarks.md", "comparison.md"}
    monkeypatch.setattr("sys.argv", ["benchmark_page.py"])
    assert page.main() == 0
    assert "7,654 (7,654–7,654)" in page.TARGET.read_text(encoding="utf-8")
    assert "| HTTP, MobileNetV2, 1 connection |" in page.COMPARISON.read_text(encoding="utf-8")
