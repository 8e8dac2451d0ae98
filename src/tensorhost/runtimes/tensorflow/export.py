"""Writing what a Session serves as a SavedModel, whatever format it came from.

The result holds every signature under its public names, the weights as they are served (constants of a frozen graph,
or variables), the tables' initialiser and the files that it reads. It is of the first generation of SavedModels, which
every TensorFlow loads. What must stay true: nothing that the model's calls changed since it was loaded is noticed
here; export before the first call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.runtimes.base import SERVE_TAG
from tensorhost.runtimes.tensorflow.graph_import import empty_like, scopes
from tensorhost.runtimes.tensorflow.graph_rewrite import keep_only
from tensorhost.runtimes.tensorflow.graph_scan import (
    REF_VARIABLE_OPS,
    VARIABLE_OPS,
    Reached,
    node_name,
    reached_from,
    shape_of,
)
from tensorhost.runtimes.tensorflow.session import ServedGraph
from tensorhost.runtimes.tensorflow.signature_defs import BoundSignature

_PREDICT = "tensorflow/serving/predict"
_VARIABLES = "variables"
_HINTS = ("_class", "_output_shapes")
"""Attributes that hold for the graph before variables and constants were exchanged: a place, shapes."""


class _Recorder:
    """Stands in for a Session and notes what an initialiser would run there."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.nodes: list[str] = []
        self.assets: dict[str, str] = {}

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> list[Any]:
        for fetch in fetches if isinstance(fetches, list | tuple) else [fetches]:
            self.nodes.append(node_name(_name(fetch)))
        for tensor, value in (feed_dict or {}).items():
            self.assets[node_name(_name(tensor))] = _text(value)
        return []


def export_saved_model(tf: Any, served: ServedGraph, folder: Path) -> None:
    """Write ``served`` as a SavedModel to ``folder``, which must not exist.

    Raises:
        ModelFailedError: a file that the initialiser reads is no longer there.
        Exception: what TensorFlow raises for a graph that it serves and cannot write.
    """
    recorder = _Recorder(served.session.graph)
    served.initialise(recorder)
    for path in recorder.assets.values():
        if not Path(path).is_file():
            raise ModelFailedError(
                "A file that the model's tables are filled from is no longer there.", log_detail=path
            )
    tensors = [name for bound in served.bindings.bound for name in (*bound.feeds, *bound.fetches)]
    graph_def, reached = part_of(served, [*map(node_name, tensors), *recorder.nodes])
    _point_to_assets(graph_def, recorder.assets)
    values = _variable_values(tf, served.session, reached, set(recorder.assets.values()))
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        _import(tf, session, graph_def, values)
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [SERVE_TAG],
            signature_def_map={bound.signature.name: _signature_def(tf, bound) for bound in served.bindings.bound},
            assets_collection=[graph.get_tensor_by_name(f"{name}:0") for name in recorder.assets] or None,
            main_op=_main_op(tf, graph, recorder.nodes),
            strip_default_attrs=True,
        )
        builder.save()


def part_of(served: ServedGraph, node_names: Iterable[str]) -> tuple[Any, Reached]:
    """The part of the graph that the nodes in ``node_names`` depend on, as a new GraphDef, and what is in it."""
    graph_def = served.session.graph.as_graph_def()
    reached = reached_from(graph_def, node_names)
    part = empty_like(graph_def)
    kept = {node.name for node in reached.nodes}
    part.node.extend(node for node in graph_def.node if node.name in kept)
    part.library.CopyFrom(graph_def.library)
    keep_only(part, reached)
    for node in chain(part.node, *(function.node_def for function in part.library.function)):
        for hint in _HINTS:
            node.attr.pop(hint, None)
    return part, reached


def _point_to_assets(graph_def: Any, assets: Mapping[str, str]) -> None:
    """Make each node that is fed with a file's path a constant of that path, as SavedModels want it."""
    from tensorflow.core.framework import types_pb2

    for node in graph_def.node:
        name = node.name
        if name in assets:
            node.Clear()
            node.name, node.op = name, "Const"
            node.attr["dtype"].type = node.attr["value"].tensor.dtype = types_pb2.DT_STRING
            node.attr["value"].tensor.tensor_shape.SetInParent()
            node.attr["value"].tensor.string_val.append(assets[name].encode())


def _variable_values(tf: Any, session: Any, reached: Reached, asset_paths: set[str]) -> dict[str, Any]:
    """The value of every variable by the name of its node. A path of an asset is written anew by the initialiser."""
    tensors = {}
    with session.graph.as_default():
        for node in reached.nodes:
            if node.op not in VARIABLE_OPS:
                continue
            handle = session.graph.get_tensor_by_name(f"{node.name}:0")
            if node.op not in REF_VARIABLE_OPS:
                dtype = tf.as_dtype(node.attr["dtype"].type)
                handle = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
            tensors[node.name] = handle
    values = session.run(tensors)
    return {name: b"" if _text(value) in asset_paths else value for name, value in values.items()}


def _import(tf: Any, session: Any, graph_def: Any, values: Mapping[str, Any]) -> None:
    """Import ``graph_def`` with new variables that hold ``values`` in place of its own."""
    prefix = _free_scope(graph_def)
    handles = {}
    nodes = {node.name: node for node in graph_def.node}
    for name, value in values.items():
        variable = _variable(tf, f"{prefix}/{name}", nodes[name])
        session.run(variable.initializer, {variable.initializer.inputs[1]: value})
        handles[f"{name}:0"] = variable.op.outputs[0] if nodes[name].op in REF_VARIABLE_OPS else variable.handle
    for index in range(len(graph_def.node) - 1, -1, -1):
        if graph_def.node[index].name in values:
            del graph_def.node[index]
    tf.import_graph_def(graph_def, name="", input_map=handles)


def _variable(tf: Any, name: str, node: Any) -> Any:
    dtype = tf.as_dtype(node.attr["dtype"].type)
    shape = shape_of(node.attr["shape"].shape)
    return tf.compat.v1.Variable(
        tf.compat.v1.placeholder_with_default(tf.zeros([size or 0 for size in shape or ()], dtype), shape),
        name=name,
        use_resource=node.op not in REF_VARIABLE_OPS,
        validate_shape=shape is not None and None not in shape,
        shape=shape,
    )


def _free_scope(graph_def: Any) -> str:
    taken = {name for node in graph_def.node for name in (node.name, *scopes(node.name))}
    name, count = _VARIABLES, 0
    while name in taken:
        count += 1
        name = f"{_VARIABLES}_{count}"
    return name


def _main_op(tf: Any, graph: Any, nodes: Iterable[str]) -> Any:
    operations = [graph.get_operation_by_name(name) for name in nodes]
    return tf.group(*operations, name="initialise") if operations else None


def _signature_def(tf: Any, bound: BoundSignature) -> Any:
    signature: Signature = bound.signature
    build = tf.compat.v1.saved_model.build_signature_def
    inputs = zip(signature.inputs.values(), bound.feeds, strict=True)
    outputs = zip(signature.outputs.values(), bound.fetches, strict=True)
    return build(
        {spec.name: _tensor_info(tf, spec, tensor) for spec, tensor in inputs},
        {spec.name: _tensor_info(tf, spec, tensor) for spec, tensor in outputs},
        signature.method_name or _PREDICT,
    )


def _tensor_info(tf: Any, spec: TensorSpec, tensor: str) -> Any:
    from tensorflow.core.protobuf import meta_graph_pb2

    return meta_graph_pb2.TensorInfo(
        name=tensor,
        dtype=tf.as_dtype(spec.dtype.value).as_datatype_enum,
        tensor_shape=tf.TensorShape(spec.shape).as_proto(),
    )


def _name(thing: Any) -> str:
    return thing if isinstance(thing, str) else str(thing.name)


def _text(value: Any) -> str:
    item = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
