"""A TensorFlow.js graph, which is a GraphDef in JSON, as a GraphDef that TensorFlow reads.

The JSON is the one protocol buffers define, with differences that converters of many years have left behind; they are
evened out here. Left out is what TensorFlow.js ignores and TensorFlow would act on: placement on devices, attributes
that begin with an underscore (one of which lowers loops to a form that the cheapest executor refuses), attributes of
functions, gradients. The contents of constants lie in the weights manifest, never here. What must stay true: only
shape and spelling change, no operation does.
"""

from __future__ import annotations

import base64
import binascii
import importlib
from collections.abc import Iterable
from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.contents import shown

_NO_CONTENTS = frozenset({"value"})
_CONVOLUTIONS = frozenset(
    {"Conv2D", "_FusedConv2D", "DepthwiseConv2d", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"}
)
_URL_SAFE = str.maketrans("-_", "+/")


def parse_graph(tf: Any, topology: Any, field: str) -> Any:
    """The GraphDef in ``topology``.

    Args:
        tf: the ``tensorflow`` module.
        topology: what the JSON has under ``field``.
        field: ``modelTopology`` or ``modelInitializer``, for messages.

    Raises:
        ModelFailedError: something in it is no graph; the message names the node or function.
    """
    from tensorflow.core.framework import graph_pb2

    graph_def = graph_pb2.GraphDef()
    topology = _object(topology, field)
    parse_message(topology.get("versions") or {}, graph_def.versions, f"{field}.versions")
    # Without it TensorFlow takes the graph for one of its first, some of whose operations meant something else.
    graph_def.versions.producer = graph_def.versions.producer or tf.version.GRAPH_DEF_VERSION
    _add_nodes(graph_def.node, topology.get("node"), f"{field}.node")
    library = _object(topology.get("library") or {}, f"{field}.library")
    for index, function in enumerate(_list(library.get("function"), f"{field}.library.function")):
        _add_function(graph_def.library.function.add(), function, f"{field}.library.function[{index}]")
    return graph_def


def parse_message(value: Any, message: Any, field: str) -> None:
    """Fill the protocol buffer ``message`` with what the JSON has under ``field``.

    Raises:
        ModelFailedError: it does not fit.
    """
    json_format = importlib.import_module("google.protobuf.json_format")
    try:
        json_format.ParseDict(value, message, ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelFailedError(
            f"{field} is not as a graph has it.", details={"field": field}, log_detail=str(error)
        ) from error


def _add_function(definition: Any, function: Any, field: str) -> None:
    function = _object(function, field)
    told = {name: function[name] for name in ("signature", "ret", "controlRet", "control_ret") if name in function}
    parse_message(told, definition, field)
    _add_nodes(definition.node_def, function.get("nodeDef", function.get("node_def")), f"{field}.nodeDef")


def _add_nodes(nodes: Any, listed: Any, field: str) -> None:
    for index, node in enumerate(_list(listed, field)):
        added = nodes.add()
        parse_message(_node(node, f"{field}[{index}]"), added, f"{field}[{index}]")
        if added.op in _CONVOLUTIONS:
            _straighten_dilations(added.attr)


def _node(node: Any, field: str) -> dict[str, Any]:
    node = _object(node, field)
    told = {name: node[name] for name in ("name", "op", "input") if name in node}
    attributes = _object(node.get("attr") or {}, f"{field}.attr")
    left_out = _NO_CONTENTS if node.get("op") == "Const" else frozenset()
    told["attr"] = {
        name: _attribute(value, f"{field}.attr.{shown(name)}")
        for name, value in attributes.items()
        if not name.startswith("_") and name not in left_out
    }
    return told


def _attribute(value: Any, field: str) -> dict[str, Any]:
    told = dict(_object(value, field))
    if told.get("s") is not None:
        told["s"] = _base64(told["s"], field)
    if isinstance(told.get("func"), dict):
        told["func"] = {"name": told["func"].get("name")}
    if told.get("list") is not None:
        told["list"] = dict(_object(told["list"], field))
        if told["list"].get("s") is not None:
            told["list"]["s"] = [_base64(text, field) for text in _list(told["list"]["s"], field)]
    return told


def _base64(text: Any, field: str) -> str:
    """A string of bytes in base64, which old converters wrote as a list of numbers and without padding."""
    try:
        if isinstance(text, list):
            return base64.b64encode(bytes(text)).decode()
        padded = text.translate(_URL_SAFE) + "=" * (-len(text) % 4)
        base64.b64decode(padded, validate=True)
    except (binascii.Error, TypeError, ValueError, AttributeError) as error:
        raise ModelFailedError(f"{field} must be a string in base64.", details={"field": field}) from error
    return str(padded)


def _straighten_dilations(attributes: Any) -> None:
    """Old converters wrote the dilations of height and width in front of those of batch and channels."""
    if "dilations" not in attributes:
        return
    sizes = attributes["dilations"].list.i
    is_nchw = "data_format" in attributes and attributes["data_format"].s == b"NCHW"
    if len(sizes) == 4 and sizes[0] > 1 and not is_nchw:
        sizes[:] = [1, sizes[0], sizes[1], 1]


def _object(value: Any, field: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ModelFailedError(f"{field} must be an object.", details={"field": field})
    return value


def _list(value: Any, field: str) -> Iterable[Any]:
    if value is not None and not isinstance(value, list):
        raise ModelFailedError(f"{field} must be a list.", details={"field": field})
    return value or []
