import pytest
from pydantic import ValidationError

from tensorhost.telemetry import MetricsCollector
from tensorhost.telemetry.memory import MemoryUsage
from tensorhost.telemetry.merging import Retired, merge
from tensorhost.telemetry.server_view import Workers
from tensorhost.telemetry.serving_calls import MAX_MODELS, MICROSECONDS_BOUNDS, OTHER_MODELS, ServingCalls
from tensorhost.telemetry.view_message import ViewMessage


def some_calls() -> ServingCalls:
    calls = ServingCalls()
    calls.count("m", "OK")
    calls.count("m", "OK")
    calls.count("m", "NOT_FOUND")
    calls.observe_latency("m", "predict", "REST", 12.0)
    calls.observe_runtime("m", "Predict", 9.0)
    calls.observe_examples("m", 3)
    return calls


def numbers(calls: ServingCalls) -> object:
    return (
        calls.requests,
        {key: (histogram.counts, histogram.sum) for key, histogram in calls.latency.items()},
        {key: (histogram.counts, histogram.sum) for key, histogram in calls.runtime.items()},
        {key: (histogram.counts, histogram.sum) for key, histogram in calls.examples.items()},
    )


def test_buckets_are_those_of_tensorflow_serving() -> None:
    assert len(MICROSECONDS_BOUNDS) == 33
    assert MICROSECONDS_BOUNDS[:3] == (10, 18, pytest.approx(32.4))


def test_calls_are_counted() -> None:
    calls = some_calls()
    assert calls.requests == {("m", "OK"): 2, ("m", "NOT_FOUND"): 1}
    assert calls.latency["m", "predict", "REST"].counts[1] == 1
    assert calls.runtime["m", "Predict"].counts[0] == 1
    assert calls.examples["m"].sum == 3


def test_processes_add_up_and_what_an_ended_one_counted_stays() -> None:
    views = []
    for _ in range(3):
        collector = MetricsCollector()
        collector.serving_calls.absorb(some_calls())
        views.append(ViewMessage.model_validate_json(ViewMessage.of(collector.view()).model_dump_json()).view())
    retired = Retired()
    retired.add(views.pop())
    merged = merge(
        views, retired, serving=views, own_memory=MemoryUsage(0, 0, 0), uptime_s=1.0, workers=Workers()
    ).serving_calls
    expected = ServingCalls()
    for _ in range(3):
        expected.absorb(some_calls())
    assert numbers(merged) == numbers(expected)
    assert numbers(retired.serving_calls) == numbers(some_calls())


def test_a_copy_is_of_its_moment() -> None:
    calls = some_calls()
    copy = calls.copy()
    calls.count("m", "OK")
    calls.observe_examples("m", 1)
    assert numbers(copy) == numbers(some_calls())


def test_a_message_with_other_buckets_is_refused() -> None:
    collector = MetricsCollector()
    collector.serving_calls.absorb(some_calls())
    sent = ViewMessage.of(collector.view()).model_dump()
    for name in ("latency", "runtime", "examples"):
        calls = {**sent["serving_calls"]}
        *labels, histogram = calls[name][0]
        calls[name] = [[*labels, {**histogram, "counts": [1, 2]}]]
        with pytest.raises(ValidationError):
            ViewMessage.model_validate({**sent, "serving_calls": calls})


def test_the_number_of_labels_is_limited() -> None:
    calls = ServingCalls()
    labels = {calls.label_of(f"m{index}") for index in range(MAX_MODELS + 10)}
    assert len(labels) == MAX_MODELS + 1
    assert OTHER_MODELS in labels
    assert calls.label_of("m0") == "m0"
