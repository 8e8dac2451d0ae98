import re
from pathlib import Path

import pytest

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import Timings
from tensorhost.telemetry.definitions import METRICS
from tensorhost.telemetry.histograms import ROWS_BOUNDS, SECONDS_BOUNDS
from tensorhost.telemetry.metrics import MetricsCollector

DOCUMENT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_document_and_table_agree_exactly():
    documented = re.findall(r"^\| `(tensorhost_\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", DOCUMENT, re.MULTILINE)
    defined = [
        (metric.name, metric.kind, metric.unit or "–", ", ".join(f"`{x}`" for x in metric.labels) or "–", metric.help)
        for metric in METRICS
    ]
    assert documented == defined


def test_document_lists_the_buckets():
    text = " ".join(DOCUMENT.split())
    assert ", ".join(f"{bound:.5f}".rstrip("0").rstrip(".") for bound in SECONDS_BOUNDS) in text
    assert f"powers of two from {ROWS_BOUNDS[0]:g} to {ROWS_BOUNDS[-1]:g}" in text


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric):
    assert re.fullmatch(r"tensorhost_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.removesuffix("_total").endswith(metric.unit)
    assert metric.unit in ("", "seconds", "bytes", "rows")


def test_names_are_unique():
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_document_names_every_json_key():
    collector = MetricsCollector()
    metrics = collector.version("m", "1")
    metrics.record_request(Timings(), 0.0)
    metrics.record_error(ErrorCode.INTERNAL)
    snapshot = collector.snapshot()
    version = snapshot["models"]["m"]["1"]
    keys = {*snapshot, *version, *version["latency"], *version["latency"]["total"], *version["batches"]}
    keys |= {f"memoryUsage.{key}" for key in snapshot["memoryUsage"]}
    missing = {key for key in keys - {"memoryUsage"} if f"`{key}`" not in DOCUMENT}
    assert missing == set()
