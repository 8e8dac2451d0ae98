"""Freezing and importing in pieces: the graph must be the one TensorFlow's own calls give, node for node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tensorhost.runtimes.tensorflow import graph_freeze, graph_import
from tensorhost.runtimes.tensorflow.graph_freeze import freeze, import_frozen
from tensorhost.runtimes.tensorflow.graph_import import import_in_pieces


def nodes_of(graph_def):
    """Every node by name, serialised; colocation, a hint, and the order of nodes do not count."""
    nodes = {}
    for node in graph_def.node:
        node.attr.pop("_class", None)
        node.attr.pop("_output_shapes", None)
        nodes[node.name] = node.SerializeToString(deterministic=True)
    return nodes


def whole(tf, graph_def):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return graph.as_graph_def()


def in_pieces(tf, graph_def):
    with tf.Graph().as_default() as graph:
        import_in_pieces(tf, graph_def)
    return graph.as_graph_def()


def variables_graph(tf, session, *, loop=False, use_resource=True):
    """A graph of weights small, large and huge, read at top level, in a function and through a loop."""
    rng = np.random.default_rng(0)
    v1 = tf.compat.v1
    weights = [
        v1.get_variable(f"w{i}", initializer=rng.normal(size=(size, 8)).astype(dtype), use_resource=use_resource)
        for i, (size, dtype) in enumerate([(8, "f4"), (1000, "f4"), (70_000, "f4"), (500, "f2"), (500, "f8")])
    ]
    total = sum(tf.cast(tf.reduce_sum(weight, 0), tf.float32) for weight in weights)
    if loop:
        big = weights[1]
        _, total, _ = tf.while_loop(
            lambda i, v, w: i < 3, lambda i, v, w: (i + 1, v + tf.reduce_sum(w, 0), w), (0, total, big.read_value())
        )
    with tf.control_dependencies([tf.no_op(name="awaited")]):
        tf.identity(total, name="y")
    session.run(v1.global_variables_initializer())


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("use_resource", [False, True])
def test_a_frozen_graph_is_the_one_tensorflow_gives(tf, monkeypatch, loop, use_resource):
    monkeypatch.setattr(graph_import, "PIECE_NODES", 3)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        variables_graph(tf, session, loop=loop, use_resource=use_resource)
        frozen = freeze(tf, session, ["y"], [])
        expected = tf.compat.v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
    assert {weight.shape for weight in frozen.weights.values()} == {(1000, 8), (70_000, 8), (500, 8)}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(expected, name="")
        answer = session.run("y:0")
    for _ in range(2):  # importing leaves it whole
        with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
            import_frozen(tf, frozen)
            np.testing.assert_array_equal(session.run("y:0"), answer)
        values = {n.name: tf.make_ndarray(n.attr["value"].tensor) for n in expected.node if n.op == "Const"}
        for name, value in values.items():
            imported = graph.get_operation_by_name(name)
            np.testing.assert_array_equal(tf.make_ndarray(imported.get_attr("value")), value)
        structure = [{n.name: (n.op, list(n.input)) for n in g.node} for g in (graph.as_graph_def(), expected)]
        assert structure[0] == structure[1]
        assert graph.graph_def_versions.producer == whole(tf, expected).versions.producer


def test_variables_to_keep_stay_variables(tf):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables_graph(tf, session)
        frozen = freeze(tf, session, ["y"], ["w1"])
    assert [node.name for node in frozen.graph_def.node if node.op == "VarHandleOp"] == ["w1"]
    assert "w1" not in frozen.weights


def test_a_conversion_that_hides_stand_ins_is_made_again_with_the_values(tf, monkeypatch):
    def other(session, graph_def, roots, **_):
        values = session.run([f"{node.name}:0" for node in graph_def.node if node.op == "VariableV2"])
        with tf.Graph().as_default() as graph:
            tf.constant(np.sum([value.size for value in values]), name="y")
        return graph.as_graph_def()

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables_graph(tf, session, use_resource=False)
        monkeypatch.setattr(tf.compat.v1.graph_util, "convert_variables_to_constants", other)
        frozen = freeze(tf, session, ["y"], [])
    assert frozen.weights == {}
    assert tf.make_ndarray(frozen.graph_def.node[0].attr["value"].tensor) == 8 * (8 + 1000 + 70_000 + 500 + 500)


@pytest.mark.parametrize("piece_nodes", [1, 2, 7])
@pytest.mark.parametrize("folder", ["half_plus_two", "strings", "loop", "shapes", "edges"])
def test_pieces_add_up_to_the_graph(tf, models: Path, monkeypatch, folder, piece_nodes):
    from tensorflow.python.saved_model import loader_impl

    monkeypatch.setattr(graph_import, "PIECE_NODES", piece_nodes)
    graph_def = loader_impl.parse_saved_model(str(models / folder)).meta_graphs[0].graph_def
    imported, expected = in_pieces(tf, graph_def), whole(tf, graph_def)
    assert nodes_of(imported) == nodes_of(expected)
    functions = [{f.signature.name: f for f in g.library.function} for g in (imported, expected)]
    assert functions[0].keys() == functions[1].keys()
    assert all(functions[0][name].node_def == functions[1][name].node_def for name in functions[0])


def test_loops_of_tensorflow_1_stay_in_one_piece(tf, tf1_models: Path, monkeypatch):
    from tensorflow.python.saved_model import loader_impl

    monkeypatch.setattr(graph_import, "PIECE_NODES", 1)
    graph_def = loader_impl.parse_saved_model(str(tf1_models / "control_flow")).meta_graphs[0].graph_def
    assert any(node.op == "NextIteration" for node in graph_def.node)
    assert nodes_of(in_pieces(tf, graph_def)) == nodes_of(whole(tf, graph_def))


def test_pieces_are_small(tf, monkeypatch):
    sizes = []
    real = tf.import_graph_def
    monkeypatch.setattr(
        tf, "import_graph_def", lambda piece, **how: sizes.append(piece.ByteSize()) or real(piece, **how)
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for i in range(12):
            tf.compat.v1.get_variable(f"v{i}", initializer=np.ones(200_000, np.float32))
        tf.add_n([v.read_value() for v in tf.compat.v1.global_variables()], name="y")
        session.run(tf.compat.v1.global_variables_initializer())
        frozen = freeze(tf, session, ["y"], [])
    with tf.Graph().as_default():
        import_frozen(tf, frozen)
    assert len(sizes) > 4
    assert max(sizes) <= graph_import.PIECE_BYTES + 4096
    assert graph_freeze.FETCH_BYTES >= graph_import.PIECE_BYTES


def test_a_node_named_like_a_scope_keeps_its_name(tf, monkeypatch):
    monkeypatch.setattr(graph_import, "PIECE_NODES", 1)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.constant(1.0, name="a")
        inside = tf.compat.v1.get_variable("a/in", initializer=np.ones(1000, np.float32))
        tf.identity(tf.reduce_sum(inside.read_value()) + tf.constant(2.0, name="y/left"), name="y")
        tf.add(tf.compat.v1.get_default_graph().get_tensor_by_name("y:0"), 1.0, name="z")
        session.run(tf.compat.v1.global_variables_initializer())
        frozen = freeze(tf, session, ["z", "a"], [])
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        import_frozen(tf, frozen)
        assert session.run(["z:0", "a:0"]) == [1003.0, 1.0]
    assert {"a", "a/in", "y", "y/left", "z"} <= {node.name for node in graph.as_graph_def().node}


def test_a_source_that_is_nowhere_is_an_error(tf):
    with tf.Graph().as_default() as graph:
        tf.identity(tf.constant(1.0, name="a"), name="b")
    graph_def = graph.as_graph_def()
    del graph_def.node[0]
    with tf.Graph().as_default(), pytest.raises(KeyError):
        import_in_pieces(tf, graph_def)
