"""Rules and configuration as Prometheus's own tool sees them, and each alert firing and not firing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from known_metrics import PROMETHEUS, rule_files, rules

TESTS = Path(__file__).parent / "rules"


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def test_rules_and_configuration_are_valid():
    checked = promtool("check", "rules", *rule_files())
    assert checked.returncode == 0, checked.stderr
    checked = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["alerts.yml", "recording.yml"])
def test_rules_do_what_they_should(name):
    tested = promtool("test", "rules", TESTS / name)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_rule_that_went_wrong_would_be_noticed(tmp_path):
    shutil.copytree(PROMETHEUS, tmp_path / "deploy" / "prometheus")
    shutil.copytree(TESTS, tmp_path / "tests" / "deploy" / "rules")
    alerts = tmp_path / "deploy" / "prometheus" / "rules" / "alerts.yml"
    alerts.write_text(alerts.read_text(encoding="utf-8").replace('up{job="tensorhost"} == 0', "up == 5"), "utf-8")
    tested = promtool("test", "rules", tmp_path / "tests" / "deploy" / "rules" / "alerts.yml")
    assert tested.returncode != 0
    assert "TensorhostDown" in tested.stdout + tested.stderr


def test_every_alert_is_seen_to_fire_and_not_to():
    cases = [
        case
        for test in yaml.safe_load((TESTS / "alerts.yml").read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_every_recorded_name_is_tested():
    text = (TESTS / "recording.yml").read_text(encoding="utf-8")
    assert [rule["record"] for rule in rules() if "record" in rule and rule["record"] not in text] == []
