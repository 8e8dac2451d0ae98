"""TensorFlow functions as TensorFlow.js graph models: what tfjs-converter does, as far as the references need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import tensor_util
from tfjs_graph_models import GraphModel, tensor_info


def trace(function: Callable[..., Mapping[str, Any]], specs: Mapping[str, tf.TensorSpec]) -> GraphModel:
    """The function, which takes ``specs`` by name and gives tensors by name, as a model with a signature."""
    named = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}
    concrete = tf.function(function, autograph=False).get_concrete_function(**named)
    outputs = dict(zip(sorted(concrete.structured_outputs), concrete.outputs, strict=True))
    inputs = {tensor.op.name: tensor for tensor in concrete.inputs}
    return _model(concrete.graph.as_graph_def(), inputs, outputs)


def trace_v1(function: Callable[..., Mapping[str, Any]], specs: Mapping[str, tf.TensorSpec]) -> GraphModel:
    """The same with the control flow of TensorFlow 1: Switch, Merge, Enter, Exit, NextIteration."""
    tf.compat.v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            inputs = {name: tf.compat.v1.placeholder(spec.dtype, spec.shape, name) for name, spec in specs.items()}
            outputs = {name: tf.identity(tensor) for name, tensor in function(**inputs).items()}
        return _model(graph.as_graph_def(), inputs, outputs)
    finally:
        tf.compat.v1.enable_control_flow_v2()


def _model(graph_def: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> GraphModel:
    model = GraphModel()
    model.nodes.extend(_node(model, node, "") for node in graph_def.node)
    functions = [_function(model, function) for function in graph_def.library.function]
    model.document["modelTopology"]["library"] = {"function": functions} if functions else {}
    model.sign(*({name: _info(tensor) for name, tensor in tensors.items()} for tensors in (inputs, outputs)))
    return model


def _info(tensor: Any) -> dict:
    dtype = types_pb2.DataType.Name(tensor.dtype.as_datatype_enum)
    return tensor_info(tensor.name, dtype, *(-1 if size is None else size for size in tensor.shape))


def _node(model: GraphModel, node: Any, function: str) -> dict:
    name = f"{function}/{node.name}" if function and node.op == "Const" else node.name
    if node.op == "Const":
        array = tensor_util.MakeNdarray(node.attr["value"].tensor)
        model.weights.append((name, array, None))
        del node.attr["value"]
    node.attr.pop("_user_specified_name", None)
    node.ClearField("experimental_debug_info")
    return json_format.MessageToDict(node) | {"name": name}


def _function(model: GraphModel, function: Any) -> dict:
    """Constants of a function get its name in front of theirs, and so do those who read them."""
    constants = {node.name for node in function.node_def if node.op == "Const"}
    nodes = [_node(model, node, function.signature.name) for node in function.node_def]
    del function.node_def[:]
    function.arg_attr.clear()
    definition = json_format.MessageToDict(function)
    for node in nodes:
        node["input"] = [_renamed(source, constants, function.signature.name) for source in node.get("input", [])]
    definition["ret"] = {
        key: _renamed(source, constants, function.signature.name) for key, source in definition["ret"].items()
    }
    return definition | {"nodeDef": nodes}


def _renamed(source: str, constants: set[str], function: str) -> str:
    return f"{function}/{source}" if source.split(":")[0] in constants else source


def reference(model: GraphModel, inputs: Mapping[str, np.ndarray]) -> dict:
    """What ``graph_answers.mjs`` fills in: inputs with values, outputs by name with the node to fetch."""
    signature = model.document.get("signature") or model.document["userDefinedMetadata"]["signature"]
    return {
        "inputs": {
            name: {
                "node": signature["inputs"][name]["name"].split(":")[0],
                "dtype": {"object": "string", "int64": "int32", "float64": "float32"}.get(
                    array.dtype.name, array.dtype.name
                ),
                "shape": list(array.shape),
                "values": [_plain(value) for value in array.reshape(-1).tolist()],
            }
            for name, array in inputs.items()
        },
        "outputs": {name: {"node": info["name"].removesuffix(":0")} for name, info in signature["outputs"].items()},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return float(f"{value:.9g}") if isinstance(value, float) else value
