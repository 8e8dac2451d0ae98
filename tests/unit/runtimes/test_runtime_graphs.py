"""Rewriting and scanning graphs, and the wording of errors, without running a model."""

from __future__ import annotations

import numpy as np
import pytest

from tensorhost.core.errors import InvalidRequestError, ModelFailedError, OutOfMemoryError
from tensorhost.runtimes.tensorflow.errors import first_line, load_error, run_error
from tensorhost.runtimes.tensorflow.graph_rewrite import (
    forget_cluster_devices,
    keep_only,
    pad_pointwise_convolutions,
    read_before_gathering,
)
from tensorhost.runtimes.tensorflow.graph_scan import (
    changes_state,
    parameter_bytes,
    reached_from,
    refuse_endless_recursion,
)


def graph_of(tf, build):
    with tf.Graph().as_default() as graph:
        build()
    return graph.as_graph_def()


def paddings(graph_def):
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    return sorted(node.attr["padding"].s for nodes in bodies for node in nodes if node.op == "Conv2D")


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "changed"),
    [
        ((1, 1), 1, "VALID", 1),
        ((3, 3), 1, "VALID", 0),
        ((1, 1), 2, "VALID", 0),
        ((1, 1), 1, "SAME", 0),
        ((1, 3), 1, "VALID", 0),
    ],
)
@pytest.mark.parametrize("where", ["const", "variable", "function"])
def test_only_pointwise_convolutions_change(tf, kernel, stride, padding, changed, where):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 2])
        weights = np.zeros((*kernel, 2, 2), np.float32)
        held = tf.constant(weights) if where != "variable" else tf.compat.v1.get_variable("k", initializer=weights)
        if where == "function":
            tf.function(lambda a, b: tf.nn.conv2d(a, b, stride, padding), autograph=False)(x, held)
        else:
            tf.nn.conv2d(x, held, stride, padding)

    graph_def = graph_of(tf, build)
    before = paddings(graph_def)
    assert len(before) == 1
    assert pad_pointwise_convolutions(graph_def) == changed
    assert paddings(graph_def) == ([b"SAME"] if changed else before)


def test_a_function_called_with_different_kernels_is_left_alone(tf):
    def build():
        spec = [tf.TensorSpec([None, 8, 8, 2]), tf.TensorSpec([None, None, 2, 2])]
        shared = tf.function(lambda a, b: tf.nn.conv2d(a, b, 1, "VALID"), input_signature=spec, autograph=False)
        x = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 2])
        for size in (1, 3):
            shared(x, tf.constant(np.zeros((size, size, 2, 2), np.float32)))

    graph_def = graph_of(tf, build)
    assert pad_pointwise_convolutions(graph_def) == 0


def test_a_fed_kernel_is_left_alone(tf):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 2])
        tf.nn.conv2d(x, tf.compat.v1.placeholder(tf.float32, [1, 1, 2, 2]), 1, "VALID")

    assert pad_pointwise_convolutions(graph_of(tf, build)) == 0


def test_cluster_devices_are_forgotten_and_local_ones_kept(tf):
    def build():
        with tf.device("/job:worker/task:1/device:CPU:0"):
            tf.constant(1.0, name="far")
        with tf.device("/device:CPU:0"):
            tf.constant(1.0, name="near")

    graph_def = graph_of(tf, build)
    forget_cluster_devices(graph_def)
    assert {node.name: node.device for node in graph_def.node} == {"far": "", "near": "/device:CPU:0"}


def test_reaching_follows_inputs_and_functions_and_nothing_else(tf):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        inner = tf.function(lambda v: v + tf.constant([1.0, 2.0]), autograph=False)
        tf.identity(tf.function(lambda v: inner(v) * 2.0, autograph=False)(x), name="wanted")
        tf.function(lambda v: v - 1.0, autograph=False)(x)
        tf.constant(np.zeros(100, np.float32), name="unwanted")

    graph_def = graph_of(tf, build)
    reached = reached_from(graph_def, ["wanted", "absent"])
    names = {node.name for node in reached.nodes}
    assert {"wanted", "x"} <= names
    assert "unwanted" not in names
    assert len(reached.functions) == 2
    assert len(graph_def.library.function) == 3
    assert parameter_bytes(reached) == 12
    keep_only(graph_def, reached)
    assert len(graph_def.library.function) == 2


@pytest.mark.parametrize("resource", [True, False])
def test_writing_a_variable_changes_state_and_reading_does_not(tf, resource):
    def build():
        variable = tf.compat.v1.get_variable("v", initializer=[1.0, 2.0], use_resource=resource)
        tf.identity(variable * 2.0, name="read")
        tf.identity(tf.compat.v1.assign_add(variable, [1.0, 1.0]), name="write")

    graph_def = graph_of(tf, build)
    assert changes_state(reached_from(graph_def, ["read"])) is None
    assert "Assign" in (changes_state(reached_from(graph_def, ["write"])) or "")


def test_random_generators_and_mutable_tables_change_state(tf):
    def build():
        table = tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="t")
        tf.raw_ops.LookupTableInsertV2(table_handle=table, keys=["a"], values=tf.constant([1], tf.int64), name="insert")
        handle = tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=[3], shared_name="g")
        tf.raw_ops.StatefulUniformFullInt(resource=handle, algorithm=tf.constant(1, tf.int64), shape=[2], name="draw")

    graph_def = graph_of(tf, build)
    assert changes_state(reached_from(graph_def, ["insert"])) == "LookupTableInsertV2"
    assert changes_state(reached_from(graph_def, ["draw"])) == "StatefulUniformFullInt"


@pytest.mark.parametrize("batch_dims", [0, 1])
@pytest.mark.parametrize("where", ["graph", "function"])
def test_gathering_from_a_variable_becomes_reading_and_gathering(tf, where, batch_dims):
    values = np.arange(24, dtype=np.float16).reshape(2, 3, 4)

    def gather(handle, indices):
        tf.constant(0.0, name="Picked/axis")
        with tf.control_dependencies([tf.no_op(name="awaited")]):
            return tf.raw_ops.ResourceGather(
                resource=handle, indices=indices, dtype=tf.float16, batch_dims=batch_dims, name="Picked"
            )

    def build():
        handle = tf.raw_ops.VarHandleOp(dtype=tf.float16, shape=values.shape, shared_name="table")
        tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(values), name="set")
        indices = tf.constant([[1, 0], [0, 1]], tf.int32)
        tf.identity((gather if where == "graph" else tf.function(gather))(handle, indices), name="y")

    def answer():
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.import_graph_def(graph_def, name="")
            session.run("set")
            return session.run("y:0")

    graph_def = graph_of(tf, build)
    before = answer()
    read_before_gathering(graph_def)
    body = graph_def.node if where == "graph" else graph_def.library.function[0].node_def
    nodes = {node.name: node for node in body}
    assert len(nodes) == len(body)
    assert nodes["Picked"].op == "GatherV2"
    assert nodes["Picked/axis_1"].op == "Const"
    for name in ("Picked", "Picked/read"):
        assert nodes[name].input[-1] == "^awaited"
    np.testing.assert_array_equal(answer(), before)
    read_before_gathering(graph_def)
    assert len(body) == len(nodes)


def test_messages_lose_nodes_and_paths():
    text = "{{function_node f}} indices[1] = 7 is not in [0, 3) in /srv/models/x/1/file.txt\n\t [[{{node f/g}}]]"
    assert first_line(ValueError(text)) == "indices[1] = 7 is not in [0, 3) in (path)"
    assert first_line(ValueError("")) == "no reason given"
    assert len(first_line(ValueError("x" * 1000))) <= 301
    assert first_line(ValueError("3/4 of functional/dense/MatMul")) == "3/4 of functional/dense/MatMul"


def test_kinds_of_failure(tf):
    errors = tf.errors
    assert isinstance(run_error(tf, errors.ResourceExhaustedError(None, None, "OOM")), OutOfMemoryError)
    assert isinstance(load_error(tf, MemoryError()), OutOfMemoryError)
    assert isinstance(run_error(tf, errors.OutOfRangeError(None, None, "end")), InvalidRequestError)
    failed = run_error(tf, errors.PermissionDeniedError(None, None, "/etc/shadow"))
    assert isinstance(failed, ModelFailedError)
    assert failed.message == "The model failed while running (permission denied)."
    assert load_error(tf, ValueError("bad /a/b/c thing")).message == (
        "The model cannot be loaded (invalid model): bad (path) thing"
    )


def calling(tf, functions, op="PartitionedCall"):
    """A graph that calls the first of ``functions``, each of which calls the one it maps to, or none."""
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="call", op="PartitionedCall").attr["f"].func.name = next(iter(functions))
    for name, called in functions.items():
        body = graph_def.library.function.add()
        body.signature.name = name
        if called and op == "by name":
            body.node_def.add(name="call", op=called)
        elif called:
            body.node_def.add(name="call", op=op).attr["f"].func.name = called
    return reached_from(graph_def, ["call"])


@pytest.mark.parametrize("op", ["PartitionedCall", "StatefulPartitionedCall", "by name"])
@pytest.mark.parametrize("functions", [{"a": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_functions_that_call_each_other_without_end_are_refused(tf, functions, op):
    with pytest.raises(ModelFailedError, match=r"^A call of the graph's function 'a' never ends"):
        refuse_endless_recursion(calling(tf, functions, op))


@pytest.mark.parametrize(
    ("functions", "op"),
    [
        ({"a": "b", "b": "c", "c": ""}, "PartitionedCall"),
        ({"a": "", "unused": "unused"}, "PartitionedCall"),
        ({"a": "a"}, "StatelessIf"),
    ],
)
def test_calls_that_end_or_may_end_are_left_alone(tf, functions, op):
    refuse_endless_recursion(calling(tf, functions, op))
