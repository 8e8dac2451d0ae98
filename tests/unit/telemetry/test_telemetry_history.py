"""The last hour of the metrics: what samples hold, and that they are bounded."""

import json

import pytest

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import Timings
from tensorhost.telemetry import history as module
from tensorhost.telemetry.history import (
    COARSE_SAMPLES,
    FINE_IN_COARSE,
    FINE_S,
    FINE_SAMPLES,
    LATEST,
    NOTHING,
    History,
    Past,
)
from tensorhost.telemetry.metrics import OTHER, UNKNOWN, MetricsCollector


class Server:
    """A collector, its history, and two seconds at a time."""

    def __init__(self):
        self.collector = MetricsCollector()
        self.history = History()
        self.at = 1000.0

    def answer(self, model="m", version="1", count=1, total_s=0.003):
        metrics = self.collector.version(model, version)
        for _ in range(count):
            metrics.requests += 1
            metrics.record_request(Timings(queue_s=0.001, inference_s=0.002), total_s)
            metrics.record_batch(2, "full", 0.002)
        return metrics

    def tick(self, count=1):
        for _ in range(count):
            self.at += FINE_S
            view = self.collector.view()
            self.history.keep(self.history.difference(view, at=self.at, seconds=FINE_S), view.recent_errors)

    def fine(self, after=-1):
        return [json.loads(sample.json) for sample in self.history.past(after).fine]

    def coarse(self):
        return [json.loads(sample.json) for sample in self.history.past().coarse]


@pytest.fixture
def server():
    return Server()


def test_a_sample_holds_what_happened_since_the_one_before(server):
    server.answer(count=3)
    server.tick()
    metrics = server.answer(count=2)
    metrics.requests += 1
    metrics.record_error(ErrorCode.INVALID_INPUT_SHAPE)
    metrics.in_flight, metrics.queue_rows = 4, 7
    server.tick()
    first, second = server.fine()
    assert (first["sequence"], first["at"], first["seconds"]) == (0, 1002.0, FINE_S)
    assert (first["versions"][0]["requests"], first["versions"][0]["errors"]) == (3, {})
    (row,) = second["versions"]
    assert (row["model"], row["version"], row["requests"]) == ("m", "1", 3)
    assert row["errors"] == {"INVALID_INPUT_SHAPE": 1}
    assert (row["inFlight"], row["queueRows"]) == (4, 7)
    assert row["latency"]["total"] == {"buckets": {"6": 2}, "sum": pytest.approx(0.006)}
    assert row["latency"]["queue"]["buckets"] == {"4": 2}
    assert row["latency"]["inference"]["sum"] == pytest.approx(0.004)
    assert row["batchRows"] == {"buckets": {"1": 2}, "sum": 4.0}


def test_versions_in_which_nothing_happens_are_left_out(server):
    server.answer()
    server.collector.version("idle", "1")
    server.tick(2)
    busy, quiet = server.fine()
    assert [row["model"] for row in busy["versions"]] == ["m"]
    assert quiet["versions"] == []
    assert quiet["server"]["rssBytes"] > 0


def test_a_request_that_waits_is_shown_before_it_is_answered(server):
    server.collector.version("m", "1").in_flight = 1
    server.tick()
    assert [(row["requests"], row["inFlight"]) for row in server.fine()[0]["versions"]] == [(0, 1)]


def test_failures_without_a_version_are_shown(server):
    server.collector.record_unattributed_error(ErrorCode.MODEL_NOT_FOUND)
    server.tick()
    (row,) = server.fine()[0]["versions"]
    assert (row["model"], row["requests"], row["errors"]) == (UNKNOWN, 1, {"MODEL_NOT_FOUND": 1})


def asked(server):
    return [sum(row["requests"] for row in sample["versions"]) for sample in server.fine()]


def test_counters_that_shrink_show_neither_less_than_nothing_nor_what_was_counted_before(server):
    server.answer(count=500)
    server.tick()
    server.collector = MetricsCollector()  # as when one of several processes is gone
    server.answer(count=200)
    server.tick()
    server.answer(count=2)
    server.tick()
    assert asked(server) == [500, 0, 2]


def test_a_version_that_is_away_for_a_while_does_not_come_back_as_news(server):
    server.answer(count=500)
    server.tick()
    counted, server.collector = server.collector, MetricsCollector()
    server.tick()
    server.collector = counted
    server.answer()
    server.tick()
    assert asked(server) == [500, 0, 1]


def test_ten_samples_make_a_coarse_one(server):
    for _ in range(FINE_IN_COARSE):
        server.answer(count=2)
        server.answer("other", total_s=0.2)
        server.tick()
    (coarse,) = server.coarse()
    assert (coarse["at"], coarse["seconds"]) == (server.at, FINE_S * FINE_IN_COARSE)
    rows = {row["model"]: row for row in coarse["versions"]}
    assert (rows["m"]["requests"], rows["other"]["requests"]) == (20, 10)
    assert rows["m"]["latency"]["total"] == {"buckets": {"6": 20}, "sum": pytest.approx(0.06)}
    assert rows["other"]["latency"]["total"]["buckets"] == {"11": 10}


def test_gauges_of_a_coarse_sample_are_those_of_its_end(server):
    metrics = server.answer()
    metrics.in_flight = 9
    server.tick(FINE_IN_COARSE - 1)
    metrics.in_flight = 2
    server.tick()
    assert [row["inFlight"] for row in server.coarse()[0]["versions"]] == [2]


def test_a_reader_gets_what_is_new_and_an_hour_is_all_there_is(server):
    server.tick(FINE_IN_COARSE * (COARSE_SAMPLES + 2))
    past = server.history.past()
    assert (len(past.fine), len(past.coarse)) == (FINE_SAMPLES, COARSE_SAMPLES)
    last = past.fine[-1].sequence
    assert [sample.sequence for sample in server.history.past(last - 2, NOTHING).fine] == [last - 1, last]
    assert server.history.past(last, NOTHING).coarse == ()
    assert [sample.sequence for sample in server.history.past(LATEST, LATEST).fine] == [last]
    assert History().past(LATEST, LATEST) == Past((), (), ())
    assert [sample.sequence for sample in past.fine] == list(range(last - FINE_SAMPLES + 1, last + 1))


def test_the_busiest_versions_are_shown_and_the_rest_together(server, monkeypatch):
    monkeypatch.setattr(module, "_MAX_VERSIONS", 2)
    for number in range(5):
        server.answer(f"m{number}", count=number + 1)
    server.tick(FINE_IN_COARSE)
    for sample in (server.fine()[0], server.coarse()[0]):
        shown = {row["model"]: row["requests"] for row in sample["versions"]}
        assert shown == {"m4": 5, "m3": 4, OTHER: 6}


def test_errors_come_with_the_samples(server):
    server.collector.recent_errors.add(
        request_id="r1", method="GET", path="/x", status=404, code="NOT_FOUND", message="There is no route /x."
    )
    server.tick()
    assert [error.request_id for error in server.history.past().errors] == ["r1"]
