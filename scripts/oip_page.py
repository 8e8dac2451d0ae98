"""The section of docs/benchmarks.md about the Open Inference Protocol's codecs, from ``oip_codec.json``."""

from __future__ import annotations

from typing import Any

_CODECS = """\
## Codecs of the Open Inference Protocol

Microseconds to read a request and to write an answer with the same tensor, against the plain ways in Python: `json`,
protobuf with `numpy.array` over its lists, and, for strings, the functions of Triton's client. Those check nothing of
what they read; the ratio is their time over tensorhost's. Both run in one process, without sockets.
"""


def oip_codec_section(saved: dict[str, Any]) -> list[str]:
    """The table of a saved run: a line per form of the request and tensor."""
    machine, versions = saved["machine"], saved["versions"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "orjson", "protobuf", "pysimdjson"))
    where = f"{machine['cpu']}, {machine['cores']} cores with a load of {machine['load']}"
    lines = [
        f"| {one['form']} | {one['array']} | {one['microseconds']['tensorhost']:,.1f} "
        f"| {one['microseconds']['plain']:,.1f} ({one['ratio']:.2f}×) |"
        for one in saved["results"]
    ]
    return [
        _CODECS,
        f"{where}, Python {versions['python']}, {libraries}.\n",
        "| form | tensor | tensorhost | plain |",
        "|---|---|--:|--:|",
        *lines,
        "",
    ]
