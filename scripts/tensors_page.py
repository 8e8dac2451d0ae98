"""The section of docs/benchmarks.md about TensorProto, from ``tensors.json``."""

from __future__ import annotations

from typing import Any

_TENSORS = """\
## Codecs of TensorFlow Serving's messages

Microseconds from the bytes of a Predict request to an array, and from an array to those of an answer, against
TensorFlow's own functions in one process; in brackets, their time over tensorhost's. Numbers lie in lists, `float_val`
and `int64_val`; *as bytes* is `tensor_content`, which TensorFlow's function always writes.
"""
_AS_BYTES = "tensorhost, tensor_content"
_PEERS = {"decode": "tf.make_ndarray", "encode": "tf.make_tensor_proto"}


def tensors_section(saved: dict[str, Any]) -> list[str]:
    """The table of a saved run: a line per direction and array."""
    machine, versions = saved["machine"], saved["versions"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "protobuf", "tensorflow-cpu"))
    return [
        _TENSORS,
        f"{machine['cpu']}, {machine['cores']} cores, Python {versions['python']}, {libraries}.\n",
        "| | array | tensorhost | as bytes | TensorFlow |",
        "|---|---|--:|--:|--:|",
        *[_line(one) for one in saved["results"]],
        "",
    ]


def _line(one: dict[str, Any]) -> str:
    micros, ratios, peer = one["microseconds"], one["ratios"], _PEERS[one["direction"]]
    as_bytes = f"{micros[_AS_BYTES]:,.1f}" if _AS_BYTES in micros else ""
    return (
        f"| {one['direction']} | {one['array']} | {micros['tensorhost']:,.1f} | {as_bytes} "
        f"| {micros[peer]:,.1f} ({ratios[peer]:.2f}×) |"
    )
