"""Rules and dashboard ask for nothing that does not exist."""

from __future__ import annotations

import re

import pytest
from known_metrics import DASHBOARD, PROMETHEUS, panel_expressions, panels, rules, series
from promql import names_in, values_of

from tensorhost.batching import CloseReason
from tensorhost.core.errors import ErrorCode
from tensorhost.models.states import VersionState
from tensorhost.telemetry.definitions import METRICS
from tensorhost.telemetry.versions import STAGES

EXPRESSIONS = [rule["expr"] for rule in rules()] + panel_expressions()
_VALUES = {
    "code": {code.value for code in ErrorCode},
    "state": {state.value for state in VersionState},
    "stage": set(STAGES),
    "reason": {reason.value for reason in CloseReason},
    "outcome": {"succeeded", "failed"},
}


def test_names_are_found_in_an_expression():
    names = names_in(
        'sum by (job, le) (rate(a_total{x=~"b|c_total", y!="{"}[5m])) / on (z) (a:b:c > 0.1) and d offset 5m'
    )
    assert names.metrics == {"a_total", "a:b:c", "d"}
    assert names.labels == {"a_total": {"x", "y"}}
    assert names.grouped == {"job", "le", "z"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_metrics_and_labels_exist(expression):
    known, names = series(), names_in(expression)
    assert names.metrics
    assert names.metrics - set(known) == set()
    for metric, labels in names.labels.items():
        assert labels - known[metric] == set(), metric
    assert names.grouped - set().union(*(known[metric] for metric in names.metrics)) == set()


@pytest.mark.parametrize("label", _VALUES)
def test_values_of_labels_exist(label):
    named = set().union(*(values_of(expression, label) for expression in EXPRESSIONS))
    assert named - _VALUES[label] == set()


def test_an_unknown_metric_would_be_noticed():
    assert names_in("rate(tensorhost_reqests_total[5m])").metrics - set(series()) == {"tensorhost_reqests_total"}


def test_every_metric_of_a_version_is_on_the_dashboard():
    shown = {name for expression in panel_expressions() for name in names_in(expression).metrics}
    of_versions = [metric.name for metric in METRICS if "model" in metric.labels]
    recorded = {name for rule in rules() if rule.get("record") in shown for name in names_in(rule["expr"]).metrics}
    assert [name for name in of_versions if not any(each.startswith(name) for each in shown | recorded)] == []


def test_annotations_use_labels_that_their_expression_keeps():
    for rule in rules():
        text = " ".join(rule.get("annotations", {}).values())
        used = set(re.findall(r"\$labels\.(\w+)", text))
        kept = set().union(*(series()[name] for name in names_in(rule["expr"]).metrics))
        assert used <= kept, rule["alert"]


def test_every_alert_says_how_bad_it_is_and_what_it_means():
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert set(rule["annotations"]) == {"summary", "description"}


def test_the_dashboard_can_be_imported():
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "model", "version"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["description"], panel["title"]
    used = set(re.findall(r'"\$(\w+)"', " ".join(panel_expressions())))
    assert used == set(variables) - {"datasource"}


def test_all_jobs_and_instances_are_those_of_tensorhost():
    # Without a value of its own, "All" is what the variable's query found: ".*" would match other targets.
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    for name in ("job", "instance"):
        assert variables[name]["includeAll"]
        assert "allValue" not in variables[name]
        assert variables[name]["query"]["query"].startswith("label_values(tensorhost_uptime_seconds")


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not cells & taken, panel["title"]
        assert box["x"] + box["w"] <= 24
        taken |= cells


def test_the_scrape_configuration_names_the_rules_and_the_job_of_the_alerts():
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    assert "rules/*.yml" in text
    jobs = set().union(*(values_of(rule["expr"], "job") for rule in rules()))
    assert jobs == {"tensorhost"} == set(re.findall(r"job_name: (\w+)", text))
