"""The sections of docs/benchmarks.md about gRPC, from ``grpc_predict.json`` and ``oip_grpc.json``."""

from __future__ import annotations

from typing import Any

_TEXT = """\
## gRPC

TensorFlow Serving's Predict of the model of three numbers, one row a request: tensorhost as it comes, with TensorFlow,
against a servicer written by hand with grpc.aio that calls the same function once per request. *Times rate* and *times
processor* are taken round by round, as for several workers.
"""

_OPEN_INFERENCE_TEXT = """\
## gRPC: the Open Inference Protocol

ModelInfer of the same model, one row a request as raw contents: tensorhost as it comes, with TensorFlow, against
MLServer {version} with its adaptive batching.
"""

_ALONE = """\
One client that waits for each answer, microseconds in the median. *Added* is what remains over the call without a
server ({runtime_us:,.0f} µs the way tensorhost calls TensorFlow, {tf_function_us:,.0f} µs as a `tf.function`); it
includes the client.
"""

_WAYS = (
    ("REST, over a bare socket", "rest_us"),
    ("gRPC, over a bare socket", "grpc_bare_us"),
    ("gRPC, with gRPC's own client", "grpc_us"),
    ("the servicer, over a bare socket", "grpc_aio_bare_us"),
    ("the servicer, with gRPC's own client", "grpc_aio_us"),
)


def grpc_section(saved: dict[str, Any], machine: str) -> list[str]:
    """Both tables.

    Args:
        saved: the run.
        machine: where and when it was made, in words.
    """
    parts = [_TEXT, *_under_load(saved, machine, "the servicer")]
    medians, added = saved["alone"]["medians"], saved["alone"]["overhead"]
    parts += ["", _ALONE.format(**medians), "| | µs | added |", "|---|--:|--:|"]
    parts += [f"| {way} | {medians[name]:,.0f} | {added[name]:,.0f} |" for way, name in _WAYS]
    return [*parts, ""]


def open_inference_section(saved: dict[str, Any], machine: str) -> list[str]:
    """The table; arguments as of ``grpc_section``."""
    version = saved["peers"]["mlserver"]["mlserver"]
    return [_OPEN_INFERENCE_TEXT.format(version=version), *_under_load(saved, machine, "MLServer"), ""]


def _under_load(saved: dict[str, Any], machine: str, other: str) -> list[str]:
    how = saved["how"]
    parts = [f"{machine}; {how['connections']} connections, {how['rounds']} rounds.\n"]
    parts += ["| in flight | | requests/s | p50 ms | p99 ms | others busy | times rate | times processor |"]
    parts += ["|--:|---|--:|--:|--:|--:|--:|--:|"]
    for case in saved["load"]:
        for name, figures in case["servers"].items():
            ours = name == "tensorhost"
            ratios = [_ratio(case["ratios"][what]) if ours else "" for what in ("requests_s", "cpu")]
            parts.append(
                f"| {case['in_flight']} | {'tensorhost' if ours else other} | {figures['requests_s']:,.0f} |"
                f" {figures['p50_ms']:,.2f} | {figures['p99_ms']:,.2f} | {figures['other_cores']:.1f} |"
                f" {' | '.join(ratios)} |"
            )
    return parts


def _ratio(spread: dict[str, float]) -> str:
    return f"**{spread['median']:.1f}×** ({spread['lowest']:.1f}–{spread['highest']:.1f})"
