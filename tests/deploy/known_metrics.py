"""Series that a Prometheus with our rules has: by name, and with which labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tensorhost.telemetry.definitions import METRICS

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/tensorhost.json").read_text(encoding="utf-8"))

_TARGET = {"job", "instance"}
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def rule_files() -> list[Path]:
    return sorted((PROMETHEUS / "rules").glob("*.yml"))


def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in rule_files()]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def series() -> dict[str, set[str]]:
    """Labels by name: of our metrics, of those every target has, and of what our rules record."""
    known: dict[str, set[str]] = {"up": set(_TARGET), "process_cpu_seconds_total": set(_TARGET)}
    for metric in METRICS:
        for suffix in _SUFFIXES.get(metric.kind, ("",)):
            bucket = {"le"} if suffix == "_bucket" else set()
            known[metric.name + suffix] = {*metric.labels, *_TARGET, *bucket}
    for rule in rules():
        if "record" in rule:
            # The level of a recorded name is its labels: job_model_version.
            known[rule["record"]] = set(rule["record"].partition(":")[0].split("_"))
    return known


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels without the rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def panel_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]
