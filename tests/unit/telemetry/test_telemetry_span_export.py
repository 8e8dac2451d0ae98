import logging
import threading

import pytest
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from tensorhost.core.errors import InvalidRequestError
from tensorhost.telemetry import span_export
from tensorhost.telemetry.span_export import SpanExport


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in (
        "OTEL_TRACES_EXPORTER",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
    ):
        monkeypatch.delenv(name, raising=False)


class Receiver(SpanExporter):
    """Keeps what it is sent; hangs while told to."""

    def __init__(self, hangs=False):
        self.spans = []
        self.may_go_on = threading.Event()
        self.closed = threading.Event()
        if not hangs:
            self.may_go_on.set()

    def export(self, spans):
        self.may_go_on.wait(60)
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self):
        self.closed.set()


def begin(export):
    _, span = export.tracing.begin("request", [])
    return span


def opened(monkeypatch, receiver, worker=None):
    monkeypatch.setattr(span_export, "_EXPORTERS", {"otlp": lambda: receiver})
    return SpanExport(worker)


async def test_closing_sends_what_is_left(monkeypatch):
    receiver = Receiver()
    export = opened(monkeypatch, receiver)
    begin(export).end()
    await export.close()
    assert [span.name for span in receiver.spans] == ["request"]
    assert receiver.closed.is_set()


async def test_closing_waits_no_longer_than_it_may(monkeypatch, caplog):
    receiver = Receiver(hangs=True)
    export = opened(monkeypatch, receiver)
    begin(export).end()
    await export.close(0.01)
    assert receiver.closed.is_set()
    assert "the last spans were not sent in time" in caplog.text
    receiver.may_go_on.set()


async def test_more_spans_than_fit_are_dropped_with_one_complaint(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    receiver = Receiver(hangs=True)
    export = opened(monkeypatch, receiver)
    for _ in range(100):
        begin(export).end()
    assert [record.getMessage() for record in caplog.records] == ["Queue full, dropping Span."]
    receiver.may_go_on.set()
    await export.close()
    assert 10 <= len(receiver.spans) <= 15


async def test_resource_attributes_tell_processes_apart_and_the_environment_has_the_last_word(monkeypatch):
    receiver = Receiver()
    first, second = opened(monkeypatch, receiver), opened(monkeypatch, receiver, worker=1)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fraud")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=no")
    third = opened(monkeypatch, receiver)
    for export in (first, second, third):
        begin(export).end()
        await export.close()
    attributes = [dict(span.resource.attributes) for span in receiver.spans]
    assert [each["service.name"] for each in attributes] == ["tensorhost", "tensorhost", "fraud"]
    assert [each.get("tensorhost.worker") for each in attributes] == [None, 1, None]
    assert attributes[2]["deployment.environment.name"] == "test"
    assert len({each["service.instance.id"] for each in attributes}) == 3
    assert all(each["process.pid"] and each["service.version"] for each in attributes)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'.*http/protobuf only"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf only"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "max_queue_size"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "many", "OTEL_SPAN_LINK_COUNT_LIMIT"),
    ],
)
def test_what_cannot_be_followed_is_said(monkeypatch, variable, value, complaint):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidRequestError, match=complaint):
        SpanExport()


async def test_spans_can_be_shown_on_the_console(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    export = SpanExport()
    assert isinstance(export._exporter, ConsoleSpanExporter)
    await export.close()


async def test_a_disabled_sdk_makes_no_spans(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    receiver = Receiver()
    export = opened(monkeypatch, receiver)
    assert begin(export) is None
    await export.close()
    assert receiver.spans == []


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch):
    """A limit that has seen nothing, and taken off again."""
    limit = span_export.LogLimit()
    monkeypatch.setattr(span_export, "_limit", limit)
    yield
    for name in span_export._TALKATIVE:
        logging.getLogger(name).removeFilter(limit)
