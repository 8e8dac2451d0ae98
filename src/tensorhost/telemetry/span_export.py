"""Spans on their way out: one bounded queue and one thread per process, told by the standard OTEL_* variables where to.

What must stay true: whether anybody receives the spans is no concern of a request, and of a stop for seconds at most;
a receiver that cannot be reached is complained about once a minute. Imported only where tracing is on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.version import __version__
from tensorhost.telemetry.log_limit import LogLimit
from tensorhost.telemetry.logging import get_logger
from tensorhost.telemetry.spans import Tracing

_FLUSH_S = 3.0
"""How long a stop waits for the last spans to be taken."""
_PROTOCOL = "http/protobuf"
_EXPORTERS: Mapping[str, Callable[[], SpanExporter]] = {"otlp": OTLPSpanExporter, "console": ConsoleSpanExporter}

_TALKATIVE = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.trace.propagation.tracecontext",
    "opentelemetry.trace.span",
)
"""The library's loggers that have something to say about each span, each attempt at sending, or what clients sent."""

log = get_logger(__name__)
_limit = LogLimit()


class SpanExport:
    """Takes the spans of this process to wherever the environment says.

    Args:
        worker: which of several processes this is; None where it is alone.

    Raises:
        InvalidRequestError: an OTEL_* variable has a value that cannot be followed.
    """

    def __init__(self, worker: int | None = None) -> None:
        try:
            self._exporter = _exporter()
            self._processor = BatchSpanProcessor(self._exporter)
            self.tracing = Tracing(self._processor, _resource(worker))
        except ValueError as error:
            raise InvalidRequestError(f"Tracing cannot be set up from the OTEL_* variables: {error}.") from error
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_limit)

    async def close(self, timeout_s: float = _FLUSH_S) -> None:
        """Send what is left, for at most ``timeout_s`` seconds, three by default."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def shut_down() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]  # not annotated there
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        # A daemon, and not of the default executor: where nobody answers, it is left behind.
        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(min(timeout_s, _FLUSH_S)):
                await done.wait()
        except TimeoutError:
            log.warning("the last spans were not sent in time")
            self._exporter.shutdown()


def _exporter() -> SpanExporter:
    name = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    make = _EXPORTERS.get(name)
    if make is None:
        raise ValueError(f"OTEL_TRACES_EXPORTER is '{name[:64]}', and tensorhost knows {' and '.join(_EXPORTERS)}")
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable, "").strip() or _PROTOCOL
        if name == "otlp" and protocol != _PROTOCOL:
            raise ValueError(f"{variable} is '{protocol[:64]}', and tensorhost sends {_PROTOCOL} only")
    return make()


def _resource(worker: int | None) -> Resource:
    own: dict[str, str | int] = {
        "service.name": "tensorhost",
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid4()),
        "process.pid": os.getpid(),
    }
    if worker is not None:
        own["tensorhost.worker"] = worker
    return Resource.create(own).merge(OTELResourceDetector().detect())
