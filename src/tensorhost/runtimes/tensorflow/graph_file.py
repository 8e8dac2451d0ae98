"""Reading a file that holds a GraphDef and nothing else, node by node.

Parsing it in one go would hold the interpreter lock for as long as that takes, and the weights twice. What must stay
true: no count or length in the file is believed before it is checked against the file's size.
"""

from __future__ import annotations

import importlib
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.wire_format import fields

MAX_GRAPH_BYTES = 2**31 - 1
"""Most bytes a protocol buffer can have."""

_NODE = 1
"""The field of a GraphDef that holds its nodes."""


def read_graph(tf: Any, path: Path, lighten: Callable[[Any], None]) -> Any:
    """The GraphDef in the file ``path``.

    Args:
        tf: the ``tensorflow`` module.
        path: the file.
        lighten: takes out of a NodeDef what should not be kept; called for each before the next is parsed.

    Raises:
        UnsupportedModelError: the file is larger than a protocol buffer can be.
        ModelFailedError: it is empty, cut short, damaged, no graph or cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > MAX_GRAPH_BYTES:
            raise UnsupportedModelError("The graph file is larger than 2 GB, which no frozen graph can be.")
        if size == 0:
            raise ModelFailedError("The graph file is empty.")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(tf, data, lighten)
    except OSError as error:
        raise ModelFailedError("The graph file cannot be read.", log_detail=str(error)) from error
    except (_decode_error(), ValueError) as error:
        raise ModelFailedError(
            "The graph file is damaged, cut short or no TensorFlow graph.", log_detail=str(error)
        ) from error


def _parse(tf: Any, data: mmap.mmap, lighten: Callable[[Any], None]) -> Any:
    graph_def = tf.compat.v1.GraphDef()
    for field in fields(data):
        if field.number != _NODE:
            graph_def.MergeFromString(data[field.key : field.end])
            continue
        node = graph_def.node.add()
        node.ParseFromString(data[field.start : field.end])
        lighten(node)
    return graph_def


def _decode_error() -> type[Exception]:
    error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    return error
