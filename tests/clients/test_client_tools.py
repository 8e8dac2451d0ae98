"""What tests of clients need is fetched where it runs, once for each list of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import client_tools
import pytest

WHEELS = {
    "perf_analyzer.txt": {
        "tritonclient-1-py3-none-any.whl": ("tritonclient-1.data/data/bin/perf_analyzer", "tritonclient/__init__.py"),
        "runtime-1-py3-none-any.whl": ("nvidia/lib/libcudart.so.12",),
    },
    "kserve.txt": {"kserve-1-py3-none-any.whl": ("kserve/__init__.py",), "six-1-py3-none-any.whl": ("six.py",)},
}


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Runs the script with packages of the test's instead of downloaded ones; the lists that it downloaded."""
    lists = []

    def download(command, check):
        folder, wanted = (command[command.index(option) + 1] for option in ("--dest", "--requirement"))
        lists.append(Path(wanted).name)
        for wheel, names in WHEELS[lists[-1]].items():
            with zipfile.ZipFile(Path(folder) / wheel, "w") as archive:
                for name in names:
                    archive.writestr(name, "")

    def run(system, machine):
        monkeypatch.setattr("sys.platform", system)
        monkeypatch.setattr("platform.machine", lambda: machine)
        monkeypatch.setattr(client_tools, "PERF_ANALYZER", tmp_path / "perf_analyzer")
        monkeypatch.setattr(client_tools, "KSERVE", tmp_path / "kserve")
        monkeypatch.setattr("subprocess.run", download)
        client_tools.main()
        return lists

    return run


def test_what_is_pinned_is_unpacked_once(fetched, tmp_path):
    assert fetched("linux", "x86_64") == ["perf_analyzer.txt", "kserve.txt"]
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "perf_analyzer/perf_analyzer",
        "perf_analyzer/libcudart.so.12",
        "perf_analyzer/requirements.txt",
        "kserve/kserve/__init__.py",
        "kserve/six.py",
        "kserve/requirements.txt",
    }
    assert (tmp_path / "perf_analyzer" / "perf_analyzer").stat().st_mode & 0o111
    assert len(fetched("linux", "x86_64")) == 2
    (tmp_path / "kserve" / "requirements.txt").write_text("others")
    assert fetched("linux", "x86_64")[2:] == ["kserve.txt"]


@pytest.mark.parametrize(("system", "machine"), [("linux", "aarch64"), ("darwin", "x86_64")])
def test_elsewhere_nothing_is_fetched(fetched, tmp_path, capsys, system, machine):
    assert fetched(system, machine) == []
    assert not any(tmp_path.iterdir())
    assert "for Linux on x86-64 only" in capsys.readouterr().out
