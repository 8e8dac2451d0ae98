from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import MergeTimes, Timings
from tensorhost.telemetry import exposition, snapshot
from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.memory import MemoryUsage
from tensorhost.telemetry.merging import Retired, merge
from tensorhost.telemetry.metrics import MetricsCollector
from tensorhost.telemetry.server_view import Workers
from tensorhost.telemetry.versions import CallsOfSize, VersionMetrics
from tensorhost.telemetry.view_message import ViewMessage

MERGING = MergeTimes(0.25, 0.125)


def collector_of(requests, failures=0, model="m", in_flight=1, load_s=1.0, available=1):
    collector = MetricsCollector(clock=lambda: 5.0)
    metrics = collector.version(model, "1")
    for _ in range(requests):
        metrics.requests += 1
        metrics.record_request(Timings(0.001, 0.002, 0.003, 0.004, MERGING), 0.01)
        metrics.record_batch(2, "full", 0.003, MERGING)
    for _ in range(failures):
        metrics.requests += 1
        metrics.record_error(ErrorCode.MODEL_FAILED)
        collector.record_unattributed_error(ErrorCode.NOT_FOUND)
    metrics.in_flight, metrics.queue_rows, metrics.load_s = in_flight, lambda: 3, load_s
    metrics.waiting_requests = lambda: 2
    metrics.memory_bytes, metrics.weights_bytes = 100, 40
    collector.record_load("succeeded")
    collector.models_by_state = lambda: {"AVAILABLE": available, "END": 0}
    return collector


def merged(*collectors, retired=None, serving=None):
    views = [collector.view() for collector in collectors]
    return merge(
        views,
        retired or Retired(),
        serving=views if serving is None else [views[index] for index in serving],
        own_memory=MemoryUsage(1, 2, 3),
        uptime_s=7.0,
        workers=Workers(2, 2, 0),
    )


def test_counters_gauges_and_histograms_add_and_times_of_loading_are_the_longest():
    first, second = collector_of(3, failures=1, load_s=4.0), collector_of(5, load_s=2.0)
    view = merged(first, second)
    [metrics] = view.versions
    assert (metrics.requests, metrics.error_count, metrics.in_flight, metrics.queued_rows) == (9, 1, 2, 6)
    assert (metrics.total.count, metrics.batch_rows.sum, metrics.batches_closed) == (8, 16.0, {"full": 8})
    assert (metrics.load_s, metrics.memory_bytes, metrics.weights_bytes) == (4.0, 200, 80)
    assert (metrics.merge_s, metrics.split_s, metrics.pending_requests) == (8 * 0.25, 8 * 0.125, 4)
    assert (metrics.calls_by_rows[2].merge_s, metrics.calls_by_rows[2].split_s) == (8 * 0.25, 8 * 0.125)
    assert (view.totals.requests, view.unattributed.requests, view.loads["succeeded"]) == (10, 1, 2)
    assert view.memory.rss > 1 + first.view().memory.rss
    assert view.uptime_s == 7.0


def test_versions_of_any_worker_are_shown():
    view = merged(collector_of(1, model="a"), collector_of(2, model="b"))
    assert {metrics.model: metrics.requests for metrics in view.versions} == {"a": 1, "b": 2}


def test_states_are_those_of_the_serving_worker_that_is_furthest_behind():
    all_, behind, loading = (collector_of(0, available=count) for count in (3, 2, 0))
    assert merged(all_, behind, loading).states["AVAILABLE"] == 0
    assert merged(all_, behind, loading, serving=[0, 1]).states["AVAILABLE"] == 2
    assert merged().states == {}


def test_what_an_ended_worker_counted_stays_and_its_present_does_not():
    retired = Retired()
    retired.add(collector_of(3, failures=1).view())
    retired.add(collector_of(1, model="gone").view())
    view = merged(collector_of(2), retired=retired)
    [metrics] = view.versions
    assert (metrics.requests, metrics.error_count, metrics.total.count) == (6, 1, 5)
    assert (metrics.in_flight, metrics.queued_rows, metrics.memory_bytes) == (1, 3, 100)
    assert (metrics.merge_s, metrics.pending_requests) == (5 * 0.25, 2)
    assert (view.totals.requests, view.totals.in_flight, view.unattributed.requests) == (8, 1, 1)
    assert view.loads["succeeded"] == 3
    alone = merged(retired=retired)
    assert (alone.versions, alone.totals.requests, alone.totals.in_flight) == ([], 6, 0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_it_makes_no_difference_which_worker_answered_what(counts):
    apart = merged(*(collector_of(count, failures=1) for count in counts))
    assert apart.totals.requests == sum(counts) + 2 * len(counts)
    assert apart.totals.total.count == sum(counts)
    assert apart.totals.error_count == 2 * len(counts)


def test_nothing_that_is_counted_is_left_out():
    sent = VersionMetrics("m", "1")
    for number, name in enumerate(sorted(VersionMetrics.__slots__), start=1):
        value = getattr(sent, name)
        if isinstance(value, Histogram):
            value.observe(number)
        elif isinstance(value, dict):
            key = {"errors": ErrorCode.INTERNAL, "calls_by_rows": 8}.get(name, "full")
            value[key] = CallsOfSize(number, 0.5, 0.25, 0.125) if name == "calls_by_rows" else number
        elif isinstance(value, int | float):
            setattr(sent, name, number)
    arrived = ViewMessage.of(replace(collector_of(0).view(), totals=sent)).view().totals

    def plain(metrics):
        values = {name: getattr(metrics, name) for name in VersionMetrics.__slots__}
        return {name: (v.counts, v.sum) if isinstance(v, Histogram) else v for name, v in values.items()}

    assert plain(arrived) == plain(sent)


def test_a_view_arrives_as_it_was_sent():
    view = merged(collector_of(3, failures=2))
    again = ViewMessage.model_validate_json(ViewMessage.of(view).model_dump_json()).view()
    assert snapshot.render(again) == snapshot.render(view)
    lines = [
        [line for line in exposition.render(each, None)[0].splitlines() if line.startswith(b"tensorhost_")]
        for each in (view, again)
    ]
    assert lines[0] == lines[1]
    assert again.workers == view.workers
