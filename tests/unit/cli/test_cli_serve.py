"""How ``serve`` and ``demo`` start and end. The server itself is a stand-in here."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import ModuleType

import orjson
import pytest
from typer.testing import CliRunner

from tensorhost.cli import app
from tensorhost.cli.demo import greeting
from tensorhost.server.listener import CannotStartError


@pytest.fixture
def server(monkeypatch):
    """A module in the place of ``tensorhost.server`` whose ``run`` the test sets."""
    module = ModuleType("tensorhost.server")
    monkeypatch.setitem(sys.modules, "tensorhost.server", module)
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.delenv("TENSORHOST_LOG_FORMAT", raising=False)
    return module


def announce(settings, *, banner=None):
    if banner is not None:
        banner(f"http://{settings.host}:{settings.port}")
    return 0


def run(*args):
    return CliRunner().invoke(app, list(args))


def test_serve_says_where_it_serves(server, tmp_path):
    server.run = announce
    result = run("serve", str(tmp_path), "--port", "4000")
    assert result.exit_code == 0
    assert result.stdout == f"Serving {tmp_path} at http://127.0.0.1:4000\n"


def test_logs_for_machines_have_no_banner_between_them(server, tmp_path):
    server.run = announce
    assert run("serve", str(tmp_path), "--log-format", "json").stdout == ""


def test_the_exit_code_is_the_servers(server, tmp_path):
    server.run = lambda settings, *, banner=None: 1
    assert run("serve", str(tmp_path)).exit_code == 1


def test_a_missing_model_path_is_wrong_usage(server, tmp_path):
    result = run("serve", str(tmp_path / "absent"))
    assert result.exit_code == 2
    assert "absent does not exist" in result.stderr


def test_an_address_in_use_is_one_sentence(server, tmp_path):
    def fail(settings, *, banner=None):
        raise CannotStartError("Cannot listen on 127.0.0.1:4000: the port is in use.")

    server.run = fail
    result = run("serve", str(tmp_path), "--port", "4000")
    assert result.exit_code == 1
    assert result.stderr == "Error: Cannot listen on 127.0.0.1:4000: the port is in use.\n"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    module = ModuleType("tensorhost.demo")
    module.demo_models_path = lambda: tmp_path
    module.samples = lambda: {"langid": [{"input": "l'été", "expected": "fr"}]}
    monkeypatch.setitem(sys.modules, "tensorhost.demo", module)


@pytest.mark.usefixtures("demo")
def test_demo_serves_its_models_whatever_the_model_path_says(server, monkeypatch, tmp_path):
    seen = []
    server.run = lambda settings, *, banner: seen.append(settings) or announce(settings, banner=banner)
    monkeypatch.setenv("PORT", "4001")
    monkeypatch.setenv("MODEL_PATH", "/somewhere/else")
    result = run("demo")
    assert result.exit_code == 0
    assert (seen[0].model_path, seen[0].port) == (tmp_path, 4001)
    assert "http://127.0.0.1:4001" in result.stdout


def test_the_demos_commands_can_be_pasted():
    text = greeting(
        "http://h:1",
        {"langid": [{"input": 'l\'été "$HOME"', "expected": "fr"}], "d": [{"input": [[1, 2]], "expected": "7"}]},
    )
    commands = [line for line in text.splitlines() if line.startswith("curl")]
    first, second = (shlex.split(command) for command in commands)
    assert first[:3] == ["curl", "-s", "http://h:1/predict"]
    assert "Content-Type: application/json" in first
    assert orjson.loads(first[-1]) == {"modelName": "langid", "inputs": ['l\'été "$HOME"']}
    assert orjson.loads(second[-1]) == {"modelName": "d", "inputs": [[[1, 2]]]}


def test_the_demo_prefers_an_example_any_terminal_can_paste():
    examples = [{"input": "été", "expected": "fr"}, {"input": "summer", "expected": "en"}]
    assert "should be en" in greeting("http://h:1", {"langid": examples})


def test_an_internal_fault_is_one_sentence(server, monkeypatch, tmp_path, capsys):
    from tensorhost.cli import main

    def fail(settings, *, banner=None):
        raise RuntimeError("unforeseen")

    server.run = fail
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    monkeypatch.setattr(sys, "argv", ["tensorhost", "serve", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "Internal fault: RuntimeError('unforeseen'). LOG_LEVEL=debug shows where.\n"
    monkeypatch.setenv("LOG_LEVEL", "debug")
    with pytest.raises(RuntimeError):
        main()


def test_the_settings_reference_is_up_to_date():
    import subprocess

    script = Path(__file__).parents[3] / "scripts" / "settings_reference.py"
    checked = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
