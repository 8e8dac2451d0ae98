"""Changes to a GraphDef before TensorFlow sees it that leave every result equal.

Each is here because TensorFlow crashes, slows down or cannot freeze without it; each edits the protocol buffer in
place. What must stay true: an edit is made only where the graph itself proves it safe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, count
from typing import Any

from tensorhost.runtimes.tensorflow.graph_scan import (
    CALLS,
    VARIABLE_OPS,
    Reached,
    callee,
    functions_named_by,
    node_name,
    shape_of,
)

_SAME_TENSOR = frozenset({"Identity", "ReadVariableOp", "StopGradient", "PreventGradient"})
_RESOURCE_GATHER = "ResourceGather"
_LOWERING = "_lower_using_switch_merge"
_UNKNOWN: tuple[int | None, ...] = ()

_Sizes = tuple[int | None, ...]
_Arguments = dict[str, _Sizes]


def keep_functional_control_flow(graph_def: Any) -> None:
    """Leave While and If as functions: lowered to Switch and Merge the single-threaded executor refuses them."""
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if _LOWERING in node.attr:
                node.attr[_LOWERING].b = False


def forget_cluster_devices(graph_def: Any) -> None:
    """Drop placements on a named job of a training cluster, which no serving process is part of."""
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if node.device.startswith("/job:"):
                node.device = ""


def keep_only(graph_def: Any, reached: Reached) -> None:
    """Drop functions that nothing reached calls, such as those that save and restore checkpoints."""
    names = {function.signature.name for function in reached.functions}
    wanted = [function for function in graph_def.library.function if function.signature.name in names]
    del graph_def.library.function[:]
    graph_def.library.function.extend(wanted)


def read_before_gathering(graph_def: Any) -> None:
    """Turn ResourceGather, which gathers from a variable, into reading that variable and gathering from its value.

    Freezing turns such reads into constants wherever they are, whereas TensorFlow leaves a ResourceGather in a
    function as it is, without the resource it needs, and refuses one with batch dimensions. Reading copies nothing.
    """
    _gather_values(graph_def.node, set(), function=False)
    for function in graph_def.library.function:
        arguments = {argument.name for argument in function.signature.input_arg}
        _gather_values(function.node_def, arguments, function=True)


def pad_pointwise_convolutions(graph_def: Any) -> int:
    """Turn VALID into SAME padding on 1x1 convolutions of stride 1 and say how many were changed.

    Both mean no padding there, but TensorFlow 2.21 on oneDNN crashes the process where such a VALID convolution and
    an explicit Pad are added together: it takes the Pad for the convolution's own.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    bodies = [graph_def.node, *(function.node_def for function in library.values())]
    callable_directly = library.keys() - _passed_as_values(bodies)
    arguments: dict[str, _Arguments] = defaultdict(dict)
    scopes = [("", graph_def.node)]
    while scopes:
        name, nodes = scopes.pop()
        by_name = {node.name: node for node in nodes}
        for node in nodes:
            called = callee(node)
            if called in callable_directly and _pass_on(node, library[called], by_name, arguments[name], arguments):
                scopes.append((called, library[called].node_def))
    changed = _pad(graph_def.node, {})
    return changed + sum(_pad(function.node_def, arguments[name]) for name, function in library.items())


def stop_fusing_in_calls(graph_def: Any) -> None:
    """Switch TensorFlow's pass that fuses operations off in functions called at run time, as ``remapping`` asks for.

    Such a call optimises its function by a configuration of its own and does not ask that of the Session.
    """
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if node.op in CALLS:
                config = config_pb2.ConfigProto.FromString(node.attr["config_proto"].s)
                config.graph_options.rewrite_options.remapping = rewriter_config_pb2.RewriterConfig.OFF
                node.attr["config_proto"].s = config.SerializeToString()


def _gather_values(nodes: Any, arguments: set[str], *, function: bool) -> None:
    """The same for one body. In a function's, a source names the output too, and must not be named as an argument."""
    from tensorflow.core.framework import types_pb2

    taken = {node.name for node in nodes} | arguments
    for node in [node for node in nodes if node.op == _RESOURCE_GATHER]:
        resource, indices, *awaited = node.input
        dtype, batch_dims = node.attr["dtype"].type, node.attr["batch_dims"].i
        read = nodes.add(name=_free_name(f"{node.name}/read", taken), op="ReadVariableOp", device=node.device)
        read.input.extend([resource, *awaited])
        read.attr["dtype"].type = dtype
        axis = nodes.add(name=_free_name(f"{node.name}/axis", taken), op="Const", device=node.device)
        axis.attr["dtype"].type = axis.attr["value"].tensor.dtype = types_pb2.DT_INT64
        axis.attr["value"].tensor.int64_val.append(batch_dims)
        value, along = (f"{read.name}:value:0", f"{axis.name}:output:0") if function else (read.name, axis.name)
        node.op = "GatherV2"
        node.input[:] = [value, indices, along, *awaited]
        node.attr["Tparams"].type = dtype
        node.attr["batch_dims"].i = batch_dims  # looked at above, which left an empty attribute if there was none
        node.attr["Taxis"].type = types_pb2.DT_INT64
        del node.attr["dtype"]
        node.attr.pop("validate_indices", None)  # GatherV2 always validates, and so does ResourceGather


def _free_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, or with a number behind it that makes it unlike all in ``taken``, to which it is added."""
    name = next(name for name in chain([wanted], (f"{wanted}_{n}" for n in count(1))) if name not in taken)
    taken.add(name)
    return name


def _passed_as_values(bodies: Iterable[Any]) -> set[str]:
    """Functions that some operation other than a plain call may call, with arguments nothing here can see."""
    return {name for nodes in bodies for node in nodes for name in functions_named_by(node) if name != callee(node)}


def _pass_on(
    call: Any, function: Any, by_name: dict[str, Any], known: _Arguments, arguments: dict[str, _Arguments]
) -> bool:
    """Note what ``call`` tells about the shapes of ``function``'s arguments; whether anything new was learnt."""
    noted = arguments[function.signature.name]
    before = dict(noted)
    for argument, source in zip(function.signature.input_arg, call.input, strict=False):
        sizes = _constant_shape(source, by_name, known)
        noted[argument.name] = sizes if noted.get(argument.name, sizes) == sizes else _UNKNOWN
    return noted != before


def _constant_shape(source: str, by_name: dict[str, Any], known: _Arguments) -> _Sizes:
    """The shape of a parameter, followed back through reads; empty when the source is no parameter."""
    name = node_name(source)
    for _ in range(len(by_name) + 1):
        node = by_name.get(name)
        if node is None:
            return known.get(name, _UNKNOWN)
        if node.op == "Const":
            return shape_of(node.attr["value"].tensor.tensor_shape) or _UNKNOWN
        if node.op in VARIABLE_OPS:
            return shape_of(node.attr["shape"].shape) or _UNKNOWN
        if node.op not in _SAME_TENSOR or not node.input:
            return _UNKNOWN
        name = node_name(node.input[0])
    return _UNKNOWN


def _pad(nodes: Any, known: _Arguments) -> int:
    by_name = {node.name: node for node in nodes}
    changed = 0
    for node in nodes:
        if node.op != "Conv2D" or node.attr["padding"].s != b"VALID" or set(node.attr["strides"].list.i) != {1}:
            continue
        kernel = _constant_shape(node.input[1], by_name, known)
        if len(kernel) == 4 and kernel[:2] == (1, 1):
            node.attr["padding"].s = b"SAME"
            changed += 1
    return changed
