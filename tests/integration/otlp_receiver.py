"""A receiver of OTLP over HTTP: decodes what real exporters send and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Span:
    """A span as it was received; ids in hexadecimal, times in nanoseconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    links: frozenset[tuple[str, str]]
    resource: dict[str, Any]

    @property
    def context(self) -> tuple[str, str]:
        return self.trace, self.id


class Receiver:
    """What has been received. ``endpoint`` is for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Span] = []
        self._news = threading.Condition()

    def take(self, body: bytes) -> None:
        spans = list(_spans(ExportTraceServiceRequest.FromString(body)))
        with self._news:
            self.spans.extend(spans)
            self._news.notify_all()

    def wait_for(self, wanted: Callable[[list[Span]], Any]) -> list[Span]:
        """All spans, as soon as ``wanted`` is true of them."""
        with self._news:
            assert self._news.wait_for(lambda: wanted(self.spans), TIMEOUT_S), self.spans
            return list(self.spans)

    def trace(self, trace: str, count: int) -> dict[str, Span]:
        """The spans of a trace by name, as soon as there are ``count``."""
        spans = [span for span in self.wait_for(lambda all_: _count(all_, trace) >= count) if span.trace == trace]
        assert len({span.name for span in spans}) == len(spans) == count, spans
        return {span.name: span for span in spans}


def _count(spans: list[Span], trace: str) -> int:
    return sum(span.trace == trace for span in spans)


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    _values(span.attributes),
                    frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    _values(of_resource.resource.attributes),
                )


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
