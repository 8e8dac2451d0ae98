"""The unit: what systemd says of it, and that it means what tensorhost means."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tensorhost.cli.outcome import ExitCode
from tensorhost.server.stop import hung_stop_s
from tensorhost.settings import Settings, environment_variable, setting_fields

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "systemd"
COMMAND = Path(sys.executable).parent / "tensorhost"
SPARE_S = 5
WORST_EXPOSURE = 1.5
"""Of 10; systemd calls what is below 2 OK."""


@pytest.fixture(scope="module")
def unit():
    """Values by key, in their order."""
    values = defaultdict(list)
    for line in (SHIPPED / "tensorhost.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            values[key].append(value)
    return values


@pytest.fixture(scope="module")
def variables(unit):
    """What the server's environment has by the unit and the file of settings."""
    lines = [*unit["Environment"], *(SHIPPED / "tensorhost.env").read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.fixture(scope="module")
def settings(variables):
    fields = {environment_variable(field): field for field in setting_fields()}
    return Settings(**{fields[name]: value for name, value in variables.items()})


@pytest.fixture
def installed(tmp_path):
    """The unit with a command that is on this machine."""
    text = (SHIPPED / "tensorhost.service").read_text()
    assert "/opt/tensorhost/bin/tensorhost" in text
    path = tmp_path / "tensorhost.service"
    path.write_text(text.replace("/opt/tensorhost/bin/tensorhost", str(COMMAND)))
    return path


def analyze(*arguments):
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, env=environment, check=False, timeout=60
    )


def test_systemd_finds_nothing_wrong(installed):
    ended = analyze("verify", "--man=no", str(installed))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_systemd_would_find_a_mistake(installed):
    installed.write_text(installed.read_text().replace("ProtectSystem=strict", "ProtectSystems=strict"))
    assert "ProtectSystems" in analyze("verify", "--man=no", str(installed)).stderr


def test_little_is_exposed(installed):
    threshold = f"--threshold={int(WORST_EXPOSURE * 10)}"
    ended = analyze("security", "--offline=true", "--no-pager", threshold, str(installed))
    assert ended.returncode == 0, ended.stdout
    installed.write_text(installed.read_text().replace("NoNewPrivileges=yes", "").replace("DynamicUser=yes", ""))
    assert analyze("security", "--offline=true", "--no-pager", threshold, str(installed)).returncode != 0


def test_the_service_outlives_the_longest_stop(unit, settings):
    (timeout_s,) = unit["TimeoutStopSec"]
    assert int(timeout_s) >= hung_stop_s(settings) + SPARE_S
    assert (unit["KillSignal"], unit["KillMode"]) == (["SIGTERM"], ["mixed"])


def test_the_end_of_a_trial_does_not_end_the_service(unit):
    assert unit["OOMPolicy"] == ["continue"]


def test_the_server_writes_only_where_the_service_may(unit, settings):
    assert settings.cache_dir == Path("/var/cache") / unit["CacheDirectory"][0]
    assert Path("/var/lib") / unit["StateDirectory"][0] == Path(unit["WorkingDirectory"][0])
    assert "ReadWritePaths" not in unit


def test_the_command_is_one(unit):
    (line,) = unit["ExecStart"]
    ended = subprocess.run(
        [COMMAND, *shlex.split(line)[1:], "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr


def test_wrong_settings_are_not_tried_again(unit, variables):
    ended = subprocess.run(
        [COMMAND, "serve"],
        env={"PATH": os.environ["PATH"], **variables, "TENSORHOST_DRAIN_WINDOW_S": "soon"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert [str(ended.returncode)] == unit["RestartPreventExitStatus"] == [str(int(ExitCode.USAGE))]
    assert "drain_window_s" in ended.stderr


def test_priorities_may_be_lowered_since_loading_does_so(unit):
    refused = [group for line in unit["SystemCallFilter"] if line.startswith("~") for group in line[1:].split()]
    assert "@resources" not in refused
