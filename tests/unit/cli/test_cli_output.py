"""What commands write, and what stays unloaded until it is needed."""

from __future__ import annotations

import inspect
import io
import json
import subprocess
import sys
import threading
from importlib import import_module

import pytest
from typer.testing import CliRunner

from tensorhost import __version__
from tensorhost.cli import app
from tensorhost.cli.output import plain, size_text, specs_text, spinner


class Terminal(io.StringIO):
    """A standard error that is a terminal, and tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if "Waiting" in self.getvalue():
            self.written.set()
        return count


def test_version_names_what_is_installed():
    versions = json.loads(CliRunner().invoke(app, ["version", "--json"]).stdout)
    assert versions["tensorhost"] == __version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(versions) == {"tensorhost", "python", "tensorflow", "keras", "numpy", "tokenizers"}


def test_version_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("tensorhost.cli.version._PACKAGES", {"ghost": ("no-such-distribution",)})
    result = CliRunner().invoke(app, ["version"])
    assert result.stdout.splitlines()[-1].split() == ["ghost", "not", "installed"]


@pytest.mark.parametrize("args", [["--help"], ["serve", "--help"], ["version"], ["models", "--help"]])
def test_nothing_heavy_is_loaded_for_it(args):
    settings = "" if args[0] == "serve" else ", 'pydantic_settings'"
    script = (
        "import sys; from tensorhost.cli import main\n"
        f"heavy = {{'tensorflow', 'keras', 'httpx', 'numpy', 'uvicorn'{settings}}}\n"
        "try:\n    main()\n"
        "finally:\n    print('loaded:', *sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("command", ["serve", "demo", "models", "predict", "inspect"])
def test_every_command_documents_its_exit_codes(command):
    assert "2 wrong usage" in CliRunner().invoke(app, [command, "--help"]).stdout


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_command_says_the_same_in_the_list_and_in_its_own_help(command):
    summary = inspect.getdoc(getattr(import_module(f"tensorhost.cli.{command}"), command)).splitlines()[0]
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}, terminal_width=200).stdout
    assert summary in listed


def test_completion_knows_the_flags_of_the_settings():
    env = {"_TENSORHOST_COMPLETE": "complete_bash", "COMP_WORDS": "tensorhost serve --max-b", "COMP_CWORD": "2"}
    offered = CliRunner().invoke(app, [], env=env, prog_name="tensorhost").stdout.split()
    assert offered == ["--max-batch-size", "--max-body-bytes", "--max-buffered-body-bytes"]


def test_a_spinner_shows_when_it_takes_long(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with spinner("Waiting for \x1b[2J", delay_s=0):
        assert terminal.written.wait(10)
    assert "Waiting for ?[2J" in terminal.getvalue()


def test_no_spinner_for_quick_work_nor_without_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with spinner("Waiting"):
        pass
    assert terminal.getvalue().count("Waiting") == 0
    piped = io.StringIO()
    monkeypatch.setattr(sys, "stderr", piped)
    with spinner("Waiting", delay_s=0):
        pass
    assert piped.getvalue() == ""


def test_a_failure_under_the_spinner_is_passed_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyError), spinner("Waiting"):
        raise KeyError
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**20, "5.0 MiB"), (2**40, "1024.0 GiB"), ("x", "-")],
)
def test_sizes(size, text):
    assert size_text(size) == text


def test_specs():
    assert specs_text([{"name": "x", "dtype": "int8", "shape": [None, 2]}, {"name": "y"}]) == "x int8 [?, 2], y ?"
    assert specs_text([]) == specs_text(None) == "-"


def test_foreign_text_is_neither_markup_nor_control():
    assert plain("[bold]a\tb\x00").plain == "[bold]a?b?"
