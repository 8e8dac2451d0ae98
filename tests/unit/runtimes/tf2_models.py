"""The TensorFlow 2 SavedModels the tests load."""

from __future__ import annotations

import numpy as np

CAST_DTYPES = ("bfloat16", "float16", "float64", "int8", "int64", "uint8", "bool", "complex64")


def write_all(tf, root):
    spec = tf.TensorSpec

    def save(name, module, **signatures):
        tf.saved_model.save(module, str(root / name), signatures=signatures)

    half = tf.Module()
    half.a, half.b = tf.Variable(0.5), tf.Variable(2.0)

    @tf.function(input_signature=[spec([None], tf.float32, name="x")])
    def half_plus_two(x):
        return {"y": half.a * x + half.b}

    @tf.function(input_signature=[spec([None], tf.float32, name="x")])
    def half_plus_three(x):
        return {"y": half.a * x + half.b + 1.0}

    save("half_plus_two", half, serving_default=half_plus_two, plus_three=half_plus_three)

    edges = tf.Module()
    edges.state = tf.Variable(np.arange(4, dtype=np.float32))

    @tf.function(input_signature=[spec([None, 4], tf.float32, name="x")])
    def through(x):
        return {
            "same": x,
            "first": x[:1],
            "relu": tf.nn.relu(x),
            "constant": tf.constant(np.arange(1000, dtype=np.float32)),
            "variable": tf.identity(edges.state),
            "scalar": tf.reduce_sum(x),
        }

    save("edges", edges, serving_default=through)

    counter = tf.Module()
    counter.total = tf.Variable(np.zeros(3, np.int32))

    @tf.function(input_signature=[spec([3], tf.int32, name="by")])
    def add(by):
        return {"total": counter.total.assign_add(by)}

    @tf.function(input_signature=[])
    def peek():
        return {"total": counter.total.read_value()}

    save("counter", counter, serving_default=add, peek=peek)

    strings = tf.Module()
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64)), -1
    )
    strings.table = table

    @tf.function(input_signature=[spec([None], tf.string, name="text")])
    def look_up(text):
        return {"id": table.lookup(text), "upper": tf.strings.upper(text), "first": tf.strings.upper(text[0])}

    save("strings", strings, serving_default=look_up)

    vocabulary = root / "vocabulary.txt"
    vocabulary.write_text("red\ngreen\nblue\n", encoding="utf-8")
    assets = tf.Module()
    assets.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        1,
    )

    @tf.function(input_signature=[spec([None], tf.string, name="word")])
    def index(word):
        return {"index": assets.table.lookup(word)}

    save("assets", assets, serving_default=index)
    vocabulary.unlink()

    loop = tf.Module()

    @tf.function(input_signature=[spec([None], tf.float32, name="x"), spec([], tf.int32, name="times")])
    def double(x, times):
        return {"y": tf.while_loop(lambda i, _: i < times, lambda i, v: (i + 1, v * 2.0), (0, x))[1]}

    save("loop", loop, serving_default=double)

    shapes = tf.Module()

    @tf.function(input_signature=[spec(None, tf.float32, name="x")])
    def any_rank(x):
        return {"y": x * 2.0}

    @tf.function(input_signature=[spec([None], tf.int32, name="index")])
    def pick(index):
        return {"y": tf.gather(tf.constant([1.0, 2.0, 3.0]), index)}

    @tf.function(input_signature=[spec([None], tf.string, name="path")])
    def read(path):
        return {"y": tf.map_fn(tf.io.read_file, path)}

    save("shapes", shapes, serving_default=any_rank, pick=pick, read=read)

    casts = tf.Module()
    signatures = {}
    for name in CAST_DTYPES:
        dtype = tf.as_dtype(name)
        signatures[f"as_{name}"] = tf.function(
            lambda x: {"same": tf.identity(x), "twice": tf.concat([x, x], 0)},
            input_signature=[spec([None], dtype, name="x")],
        )
    save("casts", casts, **signatures)

    @tf.function(input_signature=[spec([None, 8, 8, 24], tf.float32, name="x")])
    def pointwise(x):
        y = tf.nn.bias_add(tf.nn.conv2d(x, edges_kernel, 1, "VALID"), edges_bias)
        return {"y": y + tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, 4]])}

    rng = np.random.default_rng(0)
    crash = tf.Module()
    crash.kernel = edges_kernel = tf.Variable(rng.normal(size=(1, 1, 24, 28)).astype(np.float32))
    crash.bias = edges_bias = tf.Variable(rng.normal(size=28).astype(np.float32))
    save("pointwise", crash, serving_default=pointwise)

    tables = tf.Module()
    tables.half = tf.Variable(rng.normal(size=(300, 5)).astype(np.float16))
    tables.single = tf.Variable(rng.normal(size=(300, 5)).astype(np.float32))
    tables.batched = tf.Variable(rng.normal(size=(2, 300, 5)).astype(np.float16))

    @tf.function
    def rows_of(table, ids):
        return tf.gather(table, ids)

    @tf.function
    def nested(table, ids):
        return tf.cast(rows_of(table, ids), tf.float32) * 2.0 + tf.cast(tf.gather_nd(table, ids[:, None]), tf.float32)

    @tf.function
    def by_batch(ids):
        return tf.raw_ops.ResourceGather(
            resource=tables.batched.handle, indices=tf.stack([ids, ids]), dtype=tf.float16, batch_dims=1
        )

    @tf.function(input_signature=[spec([None], tf.int64, name="ids")])
    def embed(ids):
        zeros = tf.zeros_like(tf.gather(tables.single, ids))
        looped = tf.while_loop(
            lambda i, _: i < 3, lambda i, v: (i + 1, v + tf.cast(nested(tables.half, ids), tf.float32)), (0, zeros)
        )
        return {
            "half": tf.gather(tables.half, ids),
            "nested_half": nested(tables.half, ids),
            "nested_single": nested(tables.single, ids),
            "batched": by_batch(ids),
            "looped": looped[1],
        }

    save("embeddings", tables, serving_default=embed)

    nothing = tf.Module()
    nothing.value = tf.Variable(1.0)
    save("nothing", nothing)
