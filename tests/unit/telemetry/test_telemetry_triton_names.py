"""Triton's names for what is counted and seen, in both forms of Prometheus' text, beside our own metrics."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.unit.frontends.native.asgi_calls import call
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import MergeTimes, Timings
from tensorhost.frontends.native import NativeApp
from tensorhost.telemetry import exposition, triton_names
from tensorhost.telemetry.machine import Machine
from tensorhost.telemetry.metrics import MetricsCollector

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture
def collector():
    collector = MetricsCollector()
    metrics = collector.version("m", "1")
    for rows in (3, 5):
        metrics.requests += 1
        metrics.answered_rows += rows
        metrics.record_request(Timings(0.001, 0.0005, 0.002, 0.0001, MergeTimes(0.0003, 0.0002)), 0.004)
    metrics.record_batch(8, "full", 0.002, MergeTimes(0.0003, 0.0002))
    metrics.waiting_requests = lambda: 3
    for code in ErrorCode:
        metrics.record_error(code)
    metrics.record_error(ErrorCode.OVERLOADED)
    collector.version("m", "2")
    return collector


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
def test_the_metrics_of_each_version(collector, accept, parse):
    view = collector.view()
    body, _ = exposition.render(view, accept)
    families = list(parse(triton_names.add_to(body, view, Machine()).decode()))
    found = {
        # The parser gives counters the ending that OpenMetrics wants, which the text does not have.
        (sample.name.removesuffix("_total"), sample.labels["version"], sample.labels.get("reason")): sample.value
        for family in families
        if family.name.startswith("nv_inference")
        for sample in family.samples
    }
    assert {key[0]: value for key, value in found.items() if key[1:] == ("1", None)} == {
        "nv_inference_request_success": 2,
        "nv_inference_count": 8,
        "nv_inference_exec_count": 1,
        "nv_inference_request_duration_us": 8000,
        "nv_inference_queue_duration_us": 2000,
        "nv_inference_compute_input_duration_us": 1600,
        "nv_inference_compute_infer_duration_us": 3000,
        "nv_inference_compute_output_duration_us": 600,
        "nv_inference_pending_request_count": 3,
    }
    reasons = {key[2]: value for key, value in found.items() if key[1] == "1" and key[2]}
    assert reasons == {"REJECTED": 5, "CANCELED": 1, "BACKEND": 2, "OTHER": len(ErrorCode) - 7}
    assert {value for key, value in found.items() if key[1] == "2"} == {0}
    assert any(family.name.startswith("tensorhost_requests") for family in families)
    assert b'nv_inference_count{model="m",version="1"} 8\n' in triton_names.add_to(body, view, Machine())
    machine = {family.name: family for family in families if family.name.startswith("nv_cpu")}
    [used], [total], [busy] = (
        machine[name].samples
        for name in ("nv_cpu_memory_used_bytes", "nv_cpu_memory_total_bytes", "nv_cpu_utilization")
    )
    assert 0 < used.value < total.value
    assert 0 <= busy.value <= 1
    assert {family.type for family in (*machine.values(), *(f for f in families if "pending" in f.name))} == {"gauge"}


def test_labels_are_escaped():
    collector = MetricsCollector()
    collector.version('a"b\\c\nd', "1")
    [family] = [
        family
        for family in parse_text(triton_names.add_to(b"", collector.view(), Machine()).decode())
        if family.name == "nv_inference_count"
    ]
    assert family.samples[0].labels["model"] == 'a"b\\c\nd'


@pytest.mark.parametrize("wanted", [False, True])
async def test_they_are_served_where_the_settings_want_them(wanted):
    bench = EngineBench(oip_metrics=wanted)
    await bench.ask([[1.0, 2.0]])
    app = NativeApp(bench.engine, bench.manager.settings)
    answer = await call(app, "GET", "/metrics", headers={"accept": "text/plain"})
    assert (b'nv_inference_request_success{model="m",version="1"} 1\n' in answer.body) is wanted
    assert b"tensorhost_requests_total" in answer.body
