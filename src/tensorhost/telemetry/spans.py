"""Spans of requests and of model calls, by OpenTelemetry. Imported only where tracing is on.

A request's own span begins with the request, because model calls link to it; everything below it is made when the
request is over, with the instants noted on the way, and after its answer has left. What must stay true: a model call
has a span exactly if a recorded request took part in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tensorhost.core.version import __version__
from tensorhost.telemetry.stages import Stage, stages
from tensorhost.telemetry.traces import CallTrace, RequestTrace

Attributes = Mapping[str, str | int]
_Headers = Iterable[tuple[bytes, bytes]]

ERROR_TYPE = "error.type"
"""The attribute of whatever failed, with an error code of ours; on a model call it also marks the call as failed."""

_TRACEPARENT = b"traceparent"
_TRACESTATE = b"tracestate"
_MAX_HEADER_BYTES = 512
"""Longer ones are ignored, as the library does, but without a log record for each."""
_NOT_SAMPLED = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_SERVER_FAULT = 500


class Tracing:
    """Makes spans.

    Args:
        processor: takes finished spans. Closing it is its owner's business.
        resource: what all spans are of.
    """

    def __init__(self, processor: SpanProcessor, resource: Resource) -> None:
        # The sampler is what OTEL_TRACES_SAMPLER says. It decides about requests; stages and model calls follow those.
        self._ids = _PreparedIds()
        requests = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._sampler = requests.sampler
        self._follows_parents = isinstance(self._sampler, ParentBased)
        self._requests = _tracer(requests, processor)
        self._followers = _tracer(TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False), processor)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, name: str, headers: _Headers) -> tuple[str, Span | None]:
        """The trace of a request that begins now, as 32 hexadecimal digits, and its span if it is to be recorded.

        What is not recorded is told before there is anything of OpenTelemetry's to make: of many requests, most.

        Args:
            name: of the span.
            headers: lower-case names and values; ``traceparent`` and ``tracestate`` name the parent. What is malformed
                or there twice is ignored.
        """
        parents = [value for key, value in headers if key == b"traceparent"]
        parent = Context()
        if len(parents) == 1:
            if self._follows_parents and (found := _NOT_SAMPLED.fullmatch(parents[0])):
                return found[1].decode(), None
            parent = self._propagator.extract(_trace_headers(headers), Context())
        if not parent:
            trace_id = self._ids.prepare()
            if self._sampler.should_sample(parent, trace_id, name).decision is Decision.DROP:
                return format_trace_id(trace_id), None
        span = self._requests.start_span(name, parent, SpanKind.SERVER)
        return format_trace_id(span.get_span_context().trace_id), span if span.is_recording() else None

    def finish(self, trace: RequestTrace, attributes: Attributes, status: int | None) -> None:
        """End a request's span, now, with a child for each stage.

        Args:
            trace: what happened.
            attributes: of the request.
            status: the HTTP status of its answer; None where it got none.
        """
        now = time.monotonic()
        span = trace.span
        context = set_span_in_context(span)
        for stage in stages(trace.runs, now, trace.error):
            self._add_stage(trace, stage, context)
        span.set_attributes({**attributes, **_attributes_of(trace)})
        if trace.error is not None:
            span.set_attribute(ERROR_TYPE, trace.error.value)
        if status is None or status >= _SERVER_FAULT:
            # What a client did wrong is no error of a server's span.
            span.set_status(Status(StatusCode.ERROR))
        span.end(trace.unix_ns(now))
        # They hold the request: without this only the garbage collector would free both.
        trace.runs.clear()

    def call(
        self, requests: Sequence[RequestTrace], attributes: Attributes, started_at: float, ended_at: float
    ) -> CallTrace:
        """The span of a model call that has ended, linked to the recorded requests in it; at least one.

        ``attributes`` with ``error.type`` mark it as failed. Instants are on the monotonic clock.
        """
        first = requests[0]
        span = self._followers.start_span(
            "batch",
            attributes=attributes,
            links=[Link(request.span.get_span_context()) for request in requests],
            start_time=first.unix_ns(started_at),
        )
        if ERROR_TYPE in attributes:
            span.set_status(Status(StatusCode.ERROR))
        span.end(first.unix_ns(ended_at))
        return CallTrace(span.get_span_context(), started_at, ended_at)

    def _add_stage(self, trace: RequestTrace, stage: Stage, context: Context) -> None:
        span = self._followers.start_span(
            stage.name,
            context,
            links=[Link(call) for call in stage.calls],
            start_time=trace.unix_ns(stage.started_at),
        )
        if stage.error is not None:
            span.set_attribute(ERROR_TYPE, stage.error.value)
            span.set_status(Status(StatusCode.ERROR))
        span.end(trace.unix_ns(stage.ended_at))


class _PreparedIds(RandomIdGenerator):
    """Gives the next span without a parent the trace id for which recording it was decided."""

    def __init__(self) -> None:
        self._prepared: int | None = None

    def prepare(self) -> int:
        self._prepared = super().generate_trace_id()
        return self._prepared

    def generate_trace_id(self) -> int:
        prepared, self._prepared = self._prepared, None
        return super().generate_trace_id() if prepared is None else prepared


def _tracer(provider: TracerProvider, processor: SpanProcessor) -> Tracer:
    provider.add_span_processor(processor)
    return provider.get_tracer("tensorhost", __version__)


def _trace_headers(headers: _Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name in (_TRACEPARENT, _TRACESTATE):
            found.setdefault(name.decode(), []).append(value.decode("latin-1"))
    if len(found["traceparent"][0]) > _MAX_HEADER_BYTES:
        return {}
    if sum(map(len, found.get("tracestate", ()))) > _MAX_HEADER_BYTES:
        del found["tracestate"]
    return found


def _attributes_of(trace: RequestTrace) -> Attributes:
    attributes: dict[str, str | int] = {}
    model, version = trace.model or trace.subject
    if model:
        attributes["tensorhost.model.name"] = model[:128]
    if version:
        attributes["tensorhost.model.version"] = version[:128]
    if rows := sum(run.rows for run in trace.runs):
        attributes["tensorhost.rows"] = rows
    if trace.failed_items:
        attributes["tensorhost.items.failed"] = trace.failed_items
    if trace.untraced_runs:
        attributes["tensorhost.items.untraced"] = trace.untraced_runs
    return attributes
