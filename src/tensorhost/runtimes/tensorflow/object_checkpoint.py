"""Values of variables by the objects that own them, for SavedModels whose own restore operation leaves some out.

Such is what ``tf.saved_model.save`` writes of a Keras 3 model: it restores copies of the variables, and the signatures
read the originals. TensorFlow itself never notices, since it restores objects. Here nothing but those left out is read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tensorhost.runtimes.tensorflow.graph_scan import node_name, reached_from, variables_in

_OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


def restore_left_out(tf: Any, session: Any, meta_graph: Any, prefix: str, wanted: Collection[str]) -> None:
    """Assign to the variables that the meta graph's restore operation does not reach.

    Args:
        tf: the ``tensorflow`` module.
        session: a Session of the meta graph's graph.
        meta_graph: a MetaGraphDef; without an object graph nothing is done.
        prefix: path of the checkpoint.
        wanted: nodes of the variables that are needed.
    """
    graph_def = meta_graph.graph_def
    restored = variables_in(reached_from(graph_def, [node_name(meta_graph.saver_def.restore_op_name)]))
    left_out = [node for node in graph_def.node if node.name in wanted and node.name not in restored]
    if not left_out or not meta_graph.HasField("object_graph_def"):
        return
    reader = tf.train.load_checkpoint(prefix)
    keys = _checkpoint_keys(meta_graph.object_graph_def, reader)
    for node in left_out:
        key = keys.get(node.attr["shared_name"].s.decode() or node.name)
        if key is not None:
            _assign(tf, session, node, reader.get_tensor(key))


def _checkpoint_keys(object_graph: Any, reader: Any) -> dict[str, str]:
    """Where the checkpoint has each variable's value, by the variable's name. Objects have one number in both."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    if not reader.has_tensor(_OBJECT_GRAPH_KEY):
        return {}
    content = reader.get_tensor(_OBJECT_GRAPH_KEY)
    tracked = trackable_object_graph_pb2.TrackableObjectGraph.FromString(content).nodes
    return {
        saved.variable.name: node.attributes[0].checkpoint_key
        for saved, node in zip(object_graph.nodes, tracked, strict=False)
        if saved.WhichOneof("kind") == "variable" and len(node.attributes) == 1
    }


def _assign(tf: Any, session: Any, node: Any, value: Any) -> None:
    with session.graph.as_default():
        handle = session.graph.get_tensor_by_name(f"{node.name}:0")
        given = tf.compat.v1.placeholder(tf.as_dtype(node.attr["dtype"].type))
        assign = tf.raw_ops.AssignVariableOp(resource=handle, value=given)
        session.run(assign, {given: value})
