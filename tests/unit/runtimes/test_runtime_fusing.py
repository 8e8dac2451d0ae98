"""Switching off the fusing of operations where TensorFlow does not ask the Session: in functions called at run time."""

from __future__ import annotations

import warnings

import pytest

from tensorhost.runtimes.tensorflow.graph_rewrite import stop_fusing_in_calls


@pytest.fixture
def graph_def(tf):
    """A function that is called, and one more within it."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def outer(x):
        @tf.function(experimental_attributes={"_noinline": True})
        def inner(y):
            return y + 1

        return inner(x) * 2

    with warnings.catch_warnings(), tf.Graph().as_default() as graph:
        warnings.simplefilter("ignore")
        outer(tf.compat.v1.placeholder(tf.float32, []))
    return graph.as_graph_def()


def calls(graph_def):
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    return [node for nodes in bodies for node in nodes if node.op.endswith("PartitionedCall")]


def test_every_call_is_told_and_keeps_what_it_had(tf, graph_def):
    assert len(calls(graph_def)) == 2
    config = tf.compat.v1.ConfigProto(device_count={"CPU": 3})
    calls(graph_def)[0].attr["config_proto"].s = config.SerializeToString()
    calls(graph_def)[1].attr["config_proto"].s = b""
    others = [node.SerializeToString() for node in graph_def.node if not node.op.endswith("PartitionedCall")]
    stop_fusing_in_calls(graph_def)
    config.graph_options.rewrite_options.remapping = 2  # off
    first, second = (tf.compat.v1.ConfigProto.FromString(call.attr["config_proto"].s) for call in calls(graph_def))
    assert first == config
    assert second.graph_options == config.graph_options
    assert not second.device_count
    assert others == [node.SerializeToString() for node in graph_def.node if not node.op.endswith("PartitionedCall")]
