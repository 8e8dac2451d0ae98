"""Graphs of TensorFlow, bare and in SavedModels, that were made to do harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contract_damage import SECRET, Attack, root_of


def _graph(change: Callable[[Any, Any], None]) -> Attack:
    """Changes the graph of a ``.pb`` or of a SavedModel; ``change`` takes the ``tensorflow`` module too."""

    def attack(model: Path) -> Path:
        import tensorflow as tf
        from tensorflow.core.protobuf import saved_model_pb2

        file = model / "saved_model.pb" if model.is_dir() else model
        message = saved_model_pb2.SavedModel() if model.is_dir() else tf.compat.v1.GraphDef()
        message.ParseFromString(file.read_bytes())
        change(tf, message.meta_graphs[0].graph_def if model.is_dir() else message)
        file.write_bytes(message.SerializeToString(deterministic=True))
        return model

    return attack


def _splat(tf: Any, graph: Any) -> None:
    """A constant that is one number in the file and forty gigabytes in memory."""
    for node in graph.node:
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            tensor = node.attr["value"].tensor
            tensor.Clear()
            tensor.dtype = tf.float32.as_datatype_enum
            for size in (100_000, 100_000):
                tensor.tensor_shape.dim.add().size = size
            tensor.float_val.append(1.0)


def _negative(tf: Any, graph: Any) -> None:
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.tensor_shape.dim.add().size = -5


def _overflow(tf: Any, graph: Any) -> None:
    for node in graph.node:
        if node.op == "Const":
            for _ in range(4):
                node.attr["value"].tensor.tensor_shape.dim.add().size = 2**62


def _ring(tf: Any, graph: Any) -> None:
    for node in graph.node:
        if node.input:
            node.input[0] = node.name


def _endless_function(tf: Any, graph: Any) -> None:
    """A function that calls itself, at the place of the first operation with one input."""
    function = graph.library.function.add()
    function.signature.name = "endless"
    function.signature.input_arg.add(name="x", type=tf.float32.as_datatype_enum)
    function.signature.output_arg.add(name="y", type=tf.float32.as_datatype_enum)
    call = function.node_def.add(name="call", op="endless")
    call.input.append("x")
    function.ret["y"] = "call:y:0"
    for node in list(graph.node):
        if node.op in ("Relu", "Identity", "Softmax", "StatefulPartitionedCall", "PartitionedCall"):
            source = node.input[0] if node.input else None
            node.Clear()
            node.name, node.op = node.name or "again", "endless"
            node.input.extend([source] if source else [])
            return


def _much(tf: Any, graph: Any) -> None:
    """Every placeholder's consumer also waits for forty gigabytes of ones."""
    size = graph.node.add(name="much_size", op="Const")
    size.attr["dtype"].type = tf.int32.as_datatype_enum
    size.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([100_000, 100_000], tf.int32))
    value = graph.node.add(name="much_value", op="Const")
    value.attr["dtype"].type = tf.float32.as_datatype_enum
    value.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0, tf.float32))
    fill = graph.node.add(name="much", op="Fill")
    fill.input.extend(["much_size", "much_value"])
    fill.attr["T"].type = tf.float32.as_datatype_enum
    fill.attr["index_type"].type = tf.int32.as_datatype_enum
    for node in list(graph.node):
        if node.op not in ("Const", "Placeholder", "Fill"):
            node.input.append("^much")


def _wrong_dtype(tf: Any, graph: Any) -> None:
    for node in graph.node:
        if node.op == "Const":
            node.attr["dtype"].type = tf.string.as_datatype_enum


def _two_alike(tf: Any, graph: Any) -> None:
    graph.node.add().CopyFrom(graph.node[-1])


GRAPHS: Mapping[str, Attack] = {
    "a constant of forty gigabytes": _graph(_splat),
    "a value of forty gigabytes": _graph(_much),
    "a negative shape": _graph(_negative),
    "a shape that overflows": _graph(_overflow),
    "nodes that read themselves": _graph(_ring),
    "a function that calls itself": _graph(_endless_function),
    "constants of another type": _graph(_wrong_dtype),
    "two nodes of one name": _graph(_two_alike),
    "no nodes": _graph(lambda _tf, graph: graph.ClearField("node")),
}


def _asset_above(model: Path) -> Path:
    from tensorflow.core.protobuf import saved_model_pb2

    file = root_of(model) / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    asset = message.meta_graphs[0].asset_file_def.add(filename=f"../../{SECRET}")
    asset.tensor_info.name = "Const:0"
    file.write_bytes(message.SerializeToString(deterministic=True))
    return model


def _as_text(model: Path) -> Path:
    (model / "saved_model.pb").unlink()
    (model / "saved_model.pbtxt").write_text("meta_graphs {" * 500, encoding="utf-8")
    return model


SAVED_MODEL: Mapping[str, Attack] = {"an asset above the folder": _asset_above, "text that nests without end": _as_text}
