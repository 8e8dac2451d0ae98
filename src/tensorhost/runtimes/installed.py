"""Which runtimes are installed, told without importing any."""

from __future__ import annotations

import importlib.util

from tensorhost.runtimes.base import RuntimeName

_PACKAGES = {
    RuntimeName.TENSORFLOW: ("tensorflow",),
    RuntimeName.LITERT: ("ai_edge_litert",),
    RuntimeName.OPENVINO: ("openvino",),
    RuntimeName.ONNXRUNTIME: ("onnxruntime", "tf2onnx"),
}


def is_installed(runtime: RuntimeName) -> bool:
    """Whether every package that a runtime needs is there; False for AUTO and NATIVE, which are none."""
    packages = _PACKAGES.get(runtime, ())
    return bool(packages) and all(importlib.util.find_spec(package) is not None for package in packages)
