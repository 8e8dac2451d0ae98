"""The installed ``tensorhost`` command as a user's shell sees it, on the real demo models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tensorhost

COMMAND = Path(sys.executable).parent / "tensorhost"
DEMO_MODELS = Path(tensorhost.__file__).parent / "demo" / "models"


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMMAND), *map(str, args)], capture_output=True, text=True, timeout=100)


def test_help_names_every_command():
    shown = run("--help")
    assert shown.returncode == 0
    for command in ("serve", "demo", "models", "predict", "inspect", "bench", "version"):
        assert f" {command} " in shown.stdout


@pytest.mark.parametrize("args", [(), ("no-such-command",), ("inspect",), ("serve", "/no/such/folder")])
def test_wrong_usage_is_exit_code_2_without_a_stack_trace(args):
    ended = run(*args)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stdout + ended.stderr


def test_version():
    assert json.loads(run("version", "--json").stdout)["tensorhost"] == tensorhost.__version__


def test_inspect_reads_the_demo_models():
    ended = run("inspect", DEMO_MODELS, "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    models = {model["name"]: model for model in json.loads(ended.stdout)["models"]}
    assert {name: [v["version"] for v in model["versions"]] for name, model in models.items()} == {
        "digits": ["1", "2"],
        "langid": ["1"],
        "wine": ["1"],
    }
    assert [model["versions"][0]["format"] for model in models.values()] == ["saved_model", "saved_model", "keras"]
    for model in models.values():
        for version in model["versions"]:
            assert version["signatures"][0]["inputs"]
            assert version["weightsBytes"] > 0
    assert models["langid"]["versions"][0]["signatures"][0]["inputs"][0]["dtype"] == "string"


def test_inspect_explains_a_broken_file(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 and nothing that belongs here")
    ended = run("inspect", tmp_path / "broken.keras")
    assert ended.returncode == 1
    assert "broken" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
