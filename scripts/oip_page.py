"""The sections of docs/benchmarks.md about the Open Inference Protocol's codecs and shared memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_CODECS = """\
## Codecs of the Open Inference Protocol

Microseconds to read a request and to write an answer with the same tensor, against the plain ways in Python: `json`,
protobuf with `numpy.array` over its lists, and, for strings, the functions of Triton's client. Those check nothing of
what they read; the ratio is their time over tensorhost's. Both run in one process, without sockets.
"""


_SHARED_MEMORY = """\
## Shared memory of the Open Inference Protocol

A request with one large input, by `tritonclient` on the same machine, one at a time; the model looks at one number of
it. Milliseconds from the call to its result, and the part of what binary tensor data over HTTP takes, compared inside
each of {rounds} rounds. Shared memory is written anew for each request, or holds the input already (*in place*).
"""

_COPIES = """\
The copy alone, in milliseconds of the processor: as the server makes it, into memory just taken; into memory used
before; and from a mapping, with which a client could end the server
([decision 34](decisions/0034-clouds-and-shared-memory.md)).
"""


def shared_memory_section(saved: dict[str, Any]) -> list[str]:
    """The tables of ``oip_shared_memory.json``: a line per way in, and per way to copy, a column per size."""
    machine, sizes, copies = saved["machine"], saved["sizes"], saved["copies"]
    where = f"{machine['cpu']}, {machine['cores']} cores with a load of {machine['load']}"
    ways, copied = next(iter(sizes.values())), next(iter(copies.values()))
    return [
        _SHARED_MEMORY.format(**saved["how"]),
        f"{where}, Python {saved['versions']['python']}, tritonclient {saved['versions']['tritonclient']}.\n",
        _row("", sizes),
        _row("---", ["--:"] * len(sizes)),
        *(
            _row(way, [f"{each[way]['ms']:.2f} ({each[way]['of_base']:.2f}×)" for each in sizes.values()])
            for way in ways
        ),
        "",
        _COPIES,
        _row("", copies),
        _row("---", ["--:"] * len(copies)),
        *(_row(way, [f"{each[way]:.2f}" for each in copies.values()]) for way in copied),
        "",
    ]


def _row(first: str, others: Iterable[str]) -> str:
    return f"| {' | '.join([first, *others])} |"


def oip_codec_section(saved: dict[str, Any]) -> list[str]:
    """The table of ``oip_codec.json``: a line per form of the request and tensor."""
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
