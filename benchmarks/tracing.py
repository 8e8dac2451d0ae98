"""What tracing costs a request: off, on but not recorded, and recorded.

Run: ``python -m benchmarks.tracing [--save]``. Takes two minutes; needs valgrind and the extra ``otel``. The server of
``hot_path_server`` without sockets, with a model that does nothing. Spans are made, queued and encoded for sending as
in a server, and then dropped: the network is not in these figures. ``--save`` writes
``benchmarks/results/tracing.json``, and ``scripts/tracing_costs.py`` puts the figures into ``docs/tracing.md``.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.hot_path import ROUNDS, answer_counted, count_instructions, least_cpu_us
from benchmarks.hot_path_server import CASES, Load
from benchmarks.machine import describe
from tensorhost.server.tracing import wrap_tracing
from tensorhost.telemetry.spans import Tracing

RESULT = Path(__file__).parent / "results" / "tracing.json"
_PARENT = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}\r\n"
KINDS = {"off": _PARENT.format(0), "not recorded": _PARENT.format(0), "recorded": _PARENT.format(1)}
"""The header each request brings along; reading it is in all figures."""
_NAME = "tiny"


class _Dropped(SpanExporter):
    """Encodes spans as for sending."""

    def export(self, spans: Any) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def main() -> None:
    """Count and time every kind of request."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--counted", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.counted:
        name, folder = arguments.counted
        uvloop.run(answer_counted(lambda: _load(name, arguments.kind), CASES[name], Path(folder)))
        return
    kinds: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        counted = count_instructions(_NAME, "benchmarks.tracing", ("--kind", kind))
        kinds[kind] = {**counted, "cpu_us": uvloop.run(_time(_NAME, kind))}
        print(kind, kinds[kind])
    if arguments.save:
        RESULT.write_text(
            json.dumps({**describe(), "rounds": ROUNDS, "case": _NAME, "kinds": kinds}, indent=2) + "\n", "utf-8"
        )


def _load(name: str, kind: str) -> Load:
    return Load(CASES[name], trace=None if kind == "off" else _trace(), header=KINDS[kind])


def _trace() -> Callable[[Any], Any]:
    # A queue that never fills up: what is dropped would cost less.
    processor = BatchSpanProcessor(_Dropped(), max_queue_size=2**20)
    tracing = Tracing(processor, Resource.create({}))
    return functools.partial(wrap_tracing, tracing=tracing, paths={"/predict"})


async def _time(name: str, kind: str) -> float:
    return await least_cpu_us(_load(name, kind), CASES[name].requests)


if __name__ == "__main__":
    main()
