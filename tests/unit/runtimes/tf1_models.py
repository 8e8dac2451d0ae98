"""The TensorFlow 1 style SavedModels the tests load."""

from __future__ import annotations

from pathlib import Path


def write_all(tf, root):
    _half_plus_two(tf, root)
    _control_flow(tf, root)
    _tagged(tf, root, "train_only", [["train"]])
    _tagged(tf, root, "two_tags", [["train"], ["serve"]])
    _tagged(tf, root, "no_serve", [["train"], ["eval"]])
    _unservable(tf, root)


def _builder(tf, path: Path):
    return tf.compat.v1.saved_model.Builder(str(path))


def _info(tf, tensor):
    return tf.compat.v1.saved_model.build_tensor_info(tensor)


def _signature(tf, inputs, outputs, method):
    return tf.compat.v1.saved_model.build_signature_def(
        {key: _info(tf, tensor) for key, tensor in inputs.items()},
        {key: _info(tf, tensor) for key, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


def _half_plus_two(tf, root):
    """Predict, classify and regress; serialized Examples; reference variables; a table filled from an asset."""
    v1 = tf.compat.v1
    names = root / "classes.txt"
    names.write_text("even\nodd\n", encoding="utf-8")
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=0.5, use_resource=False)
        b = v1.get_variable("b", initializer=2.0, use_resource=False)
        asset = tf.constant(str(names), name="asset_path")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE
            ),
            "unknown",
        )
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = v1.io.parse_example(serialized, {"x": v1.FixedLenFeature([1], tf.float32)})["x"]
        x = v1.placeholder(tf.float32, [None], name="x")
        y = tf.add(a * x, b, name="y")
        y_parsed = a * parsed + b
        classes = table.lookup(tf.cast(parsed, tf.int64) % 2)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = _builder(tf, root / "half_plus_two")
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": _signature(tf, {"x": x}, {"y": y}, "predict"),
                "echo": _signature(tf, {"x": x}, {"x": x, "again": x, "y": y}, "predict"),
                "regress": _signature(tf, {"inputs": serialized}, {"outputs": y_parsed}, "regress"),
                "classify": _signature(
                    tf, {"inputs": serialized}, {"classes": classes, "scores": y_parsed}, "classify"
                ),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
            strip_default_attrs=True,
        )
        builder.save()
    names.unlink()


def _control_flow(tf, root):
    """Switch and Merge nodes, which the single-threaded executor refuses."""
    from tensorflow.python.ops import control_flow_util

    v1 = tf.compat.v1
    before = control_flow_util.ENABLE_CONTROL_FLOW_V2
    control_flow_util.ENABLE_CONTROL_FLOW_V2 = False
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None], name="x")
            scale = v1.get_variable("scale", initializer=2.0, use_resource=True)
            looped = v1.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * scale), [tf.constant(0), x])[1]
            y = v1.cond(tf.reduce_sum(x) > 0, lambda: looped, lambda: -looped)
            session.run(v1.global_variables_initializer())
            builder = _builder(tf, root / "control_flow")
            builder.add_meta_graph_and_variables(
                session, ["serve"], signature_def_map={"serving_default": _signature(tf, {"x": x}, {"y": y}, "predict")}
            )
            builder.save()
    finally:
        control_flow_util.ENABLE_CONTROL_FLOW_V2 = before


def _tagged(tf, root, name, tag_lists):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", initializer=3.0)
        session.run(v1.global_variables_initializer())
        signatures = {"serving_default": _signature(tf, {"x": x}, {"y": x * weight}, "predict")}
        builder = _builder(tf, root / name)
        builder.add_meta_graph_and_variables(session, tag_lists[0], signature_def_map=signatures)
        for tags in tag_lists[1:]:
            builder.add_meta_graph(tags, signature_def_map=signatures)
        builder.save()


def _unservable(tf, root):
    """One plain signature beside one with a quantised and one with a sparse input."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        small = v1.placeholder(tf.qint8, [None], name="small")
        sparse = v1.sparse_placeholder(tf.float32, name="sparse")
        y = tf.identity(x * 3.0)
        total = v1.sparse_reduce_sum(sparse)
        builder = _builder(tf, root / "unservable")
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "plain": _signature(tf, {"x": x}, {"y": y}, "predict"),
                "quantised": _signature(tf, {"x": small}, {"y": y}, "predict"),
                "sparse": _signature(tf, {"x": sparse}, {"y": total}, "predict"),
            },
        )
        builder.save()
