"""Models as TensorFlow Serving's users have them, each with what it must answer said beside it.

Version folders have integer names. A process that must not import TensorFlow itself has them made by another:
``python serving_models.py FOLDER``.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SLOW_S = 0.6
DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "half",
    "bfloat16",
    "float",
    "double",
    "complex64",
    "complex128",
    "string",
)
"""Signatures of ``dtypes``, as TensorFlow Serving's messages name the types."""
CLASSES = ("cat", "dog", "mouse")
DEFAULT_SCALE, DEFAULT_WORD = np.float32([3.0]), np.array(b"there", object)


def write_repository(tf: Any, root: Path) -> None:
    """Fill ``root`` with every model below, by the names of their folders."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_half_plus_two_tf1(tf, root / "half_plus_two" / "00000123")
        write_half_plus(tf, root / "half_plus_two_tf2" / "1", 2.0)
        write_half_plus(tf, root / "half_plus_three" / "1", 3.0)
        write_half_plus(tf, root / "two_versions" / "1", 2.0)
        write_half_plus(tf, root / "two_versions" / "2", 3.0)
        for write in (_examples, _text, _mixed, _defaults, _dtypes, _shapes, _slow, _no_negatives):
            write(tf, root)
    write_tflite(root / "tflite" / "1")
    write_tflite(root / "tflite_metadata" / "1", signature_in_metadata=True)


def write_in_another_process(root: Path) -> None:
    """``write_repository`` without TensorFlow in this process."""
    subprocess.run([sys.executable, __file__, str(root)], check=True, capture_output=True)


def write_half_plus_two_tf1(tf: Any, folder: Path, plus: float = 2.0) -> None:
    """A model of TensorFlow 1: predict, regress and classify; serialized Examples; reference variables; an asset.

    ``serving_default``: x float [-1,1] → y = x/2 + 2. ``regress_x_to_y``: inputs string [-1] of Examples with the
    float feature ``x`` (required) → outputs float [-1,1]; ``regress_x2_to_y3``: the feature ``x2`` (default 0) → x2/2
    + 3; ``classify_x_to_y``: → scores float [-1,1], no classes.
    """
    v1 = tf.compat.v1
    note = folder.parent / "note.txt"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("made for tests\n", encoding="utf-8")
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=0.5, use_resource=False)
        b = v1.get_variable("b", initializer=plus, use_resource=False)
        c = v1.get_variable("c", initializer=3.0, use_resource=False)
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        features = {
            "x": v1.FixedLenFeature([1], tf.float32),
            "x2": v1.FixedLenFeature([1], tf.float32, default_value=[0.0]),
        }
        parsed = v1.io.parse_example(serialized, features)
        x = v1.placeholder_with_default(parsed["x"], [None, 1], name="x")
        x2 = tf.identity(parsed["x2"], name="x2")
        y, y3 = tf.add(a * x, b, name="y"), tf.add(a * x2, c, name="y3")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(note), name="filename_tensor"))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": _signature_def(v1, {"x": x}, {"y": y}, "predict"),
                "regress_x_to_y": _signature_def(v1, {"inputs": serialized}, {"outputs": y}, "regress"),
                "regress_x2_to_y3": _signature_def(v1, {"inputs": serialized}, {"outputs": y3}, "regress"),
                "classify_x_to_y": _signature_def(v1, {"inputs": serialized}, {"scores": y}, "classify"),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    note.unlink()


def _signature_def(v1: Any, inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {name: info(tensor) for name, tensor in inputs.items()},
        {name: info(tensor) for name, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


def write_half_plus(tf: Any, folder: Path, plus: float) -> None:
    """A model of TensorFlow 2: ``serving_default``, x float [-1,1] → y = x/2 + ``plus``."""
    module = tf.Module()
    module.a, module.b = tf.Variable(0.5), tf.Variable(plus)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def half_plus(x):
        return {"y": module.a * x + module.b}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": half_plus})


def _examples(tf: Any, root: Path) -> None:
    """``examples``: signatures over Examples with the features ``x`` float [2] and ``id`` int64 [1] (default 7).

    ``serving_default`` (classify): inputs → classes string [-1,3] (CLASSES), scores float [-1,3] = x0, x1, x0+x1.
    ``regress``: inputs → outputs float [-1] = x0 + id. ``classes_only``: inputs → classes. ``not_examples``: x float
    [-1] → y. All methods are predict, as TensorFlow 2 writes them.
    """
    features = {
        "x": tf.io.FixedLenFeature([2], tf.float32),
        "id": tf.io.FixedLenFeature([1], tf.int64, default_value=[7]),
    }
    serialized = tf.TensorSpec([None], tf.string, name="inputs")

    def classes_of(x):
        return tf.tile(tf.constant([CLASSES]), [tf.shape(x)[0], 1])

    @tf.function(input_signature=[serialized])
    def classify(inputs):
        x = tf.io.parse_example(inputs, features)["x"]
        return {"classes": classes_of(x), "scores": tf.concat([x, tf.reduce_sum(x, 1, keepdims=True)], 1)}

    @tf.function(input_signature=[serialized])
    def regress(inputs):
        parsed = tf.io.parse_example(inputs, features)
        return {"outputs": parsed["x"][:, 0] + tf.cast(parsed["id"][:, 0], tf.float32)}

    @tf.function(input_signature=[serialized])
    def classes_only(inputs):
        return {"classes": classes_of(tf.io.parse_example(inputs, features)["x"])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def not_examples(x):
        return {"y": -x}

    signatures = {
        "serving_default": classify,
        "regress": regress,
        "classes_only": classes_only,
        "not_examples": not_examples,
    }
    tf.saved_model.save(tf.Module(), str(root / "examples" / "1"), signatures=signatures)


def _text(tf: Any, root: Path) -> None:
    """``text``: text string [-1] → upper string, doubled_bytes string (the input twice), length int32, all [-1]."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def describe(text):
        return {
            "upper": tf.strings.upper(text),
            "doubled_bytes": tf.strings.join([text, text]),
            "length": tf.strings.length(text),
        }

    tf.saved_model.save(tf.Module(), str(root / "text" / "1"), signatures={"serving_default": describe})


def _mixed(tf: Any, root: Path) -> None:
    """``mixed``: inputs of several dtypes, several outputs, several signatures.

    ``serving_default``: a float [-1,2], n int64 [-1], word string [-1] → sum double [-1] = a0 + a1 + n, flags bool
    [-1,2] = a > 0, word string [-1]. ``scaled``: a float [-1,2], scale float [] → y = a * scale. ``total``: a float
    [-1,2] → total float [] of all rows, y = -a (an output without rows).
    """
    a = tf.TensorSpec([None, 2], tf.float32, name="a")

    @tf.function(
        input_signature=[a, tf.TensorSpec([None], tf.int64, name="n"), tf.TensorSpec([None], tf.string, name="word")]
    )
    def several(a, n, word):
        total = tf.reduce_sum(tf.cast(a, tf.float64), 1) + tf.cast(n, tf.float64)
        return {"sum": total, "flags": a > 0.0, "word": tf.identity(word)}

    @tf.function(input_signature=[a, tf.TensorSpec([], tf.float32, name="scale")])
    def scaled(a, scale):
        return {"y": a * scale}

    @tf.function(input_signature=[a])
    def total(a):
        return {"total": tf.reduce_sum(a), "y": -a}

    signatures = {"serving_default": several, "scaled": scaled, "total": total}
    tf.saved_model.save(tf.Module(), str(root / "mixed" / "1"), signatures=signatures)


def _defaults(tf: Any, root: Path) -> None:
    """``defaults``: x float [-1], scale float [1] (DEFAULT_SCALE), word string [] (DEFAULT_WORD) → y = x * scale, said.

    ``said`` is ``hello WORD`` for every row. The SignatureDef has the default values: whoever leaves an input out gets
    them.
    """
    vector = tf.TensorSpec([1], tf.float32, name="scale")

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            vector,
            tf.TensorSpec([], tf.string, name="word"),
        ]
    )
    def scale_by(x, scale, word):
        return {"y": x * scale, "said": tf.strings.join([tf.fill(tf.shape(x), "hello"), word], " ")}

    folder = root / "defaults" / "1"
    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": scale_by})
    _edit_signature(folder, {"scale": DEFAULT_SCALE, "word": DEFAULT_WORD})


def _edit_signature(folder: Path, defaults: dict[str, np.ndarray]) -> None:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    definition = saved.meta_graphs[0].signature_def["serving_default"]
    for name, value in defaults.items():
        definition.defaults[name].CopyFrom(tf.make_tensor_proto(value))
    file.write_bytes(saved.SerializeToString())
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def _dtypes(tf: Any, root: Path) -> None:
    """``dtypes``: a signature per name in DTYPES, x of that type [-1] → y the same values, twice [-1,2]."""

    def echo_of(name):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.dtypes.as_dtype(name), name="x")])
        def echo(x):
            return {"y": tf.identity(x), "twice": tf.stack([x, x], 1)}

        return echo

    signatures = {name: echo_of(name) for name in DTYPES}
    signatures["serving_default"] = signatures["float"]
    tf.saved_model.save(tf.Module(), str(root / "dtypes" / "1"), signatures=signatures)


def _shapes(tf: Any, root: Path) -> None:
    """``shapes``: ``serving_default``, x float [-1,-1] → sums float [-1] (variable length); ``any_rank``: x float of
    unknown rank → doubled; ``matrix``: x float [-1,3] → y = x @ ones [3,2]; ``image``: x float [-1,4,4,1] → y, a mean
    over each 2x2 square, [-1,2,2,1]."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def row_sums(x):
        return {"sums": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def any_rank(x):
        return {"doubled": x * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def matrix(x):
        return {"y": x @ tf.ones([3, 2])}

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1], tf.float32, name="x")])
    def image(x):
        return {"y": tf.nn.avg_pool2d(x, 2, 2, "VALID")}

    signatures = {"serving_default": row_sums, "any_rank": any_rank, "matrix": matrix, "image": image}
    tf.saved_model.save(tf.Module(), str(root / "shapes" / "1"), signatures=signatures)


def _slow(tf: Any, root: Path) -> None:
    """``slow``: x float [-1] → y = x, after SLOW_S seconds of work."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def busy(x):
        until = tf.timestamp() + SLOW_S
        spins = tf.while_loop(lambda _: tf.timestamp() < until, lambda spun: (spun + 1.0,), (tf.constant(0.0),))[0]
        return {"y": x + 0.0 * spins}

    tf.saved_model.save(tf.Module(), str(root / "slow" / "1"), signatures={"serving_default": busy})
    (root / "slow" / "model.toml").write_text("[batching]\nenabled = false\n", encoding="utf-8")


def _no_negatives(tf: Any, root: Path) -> None:
    """``no_negatives``: x float [-1] → y, the square root; the whole call fails where any row is negative."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def root_of(x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x >= 0.0), ["negative", x])]):
            return {"y": tf.sqrt(x)}

    tf.saved_model.save(tf.Module(), str(root / "no_negatives" / "1"), signatures={"serving_default": root_of})


def write_tflite(folder: Path, plus: float = 2.0, *, signature_in_metadata: bool = False) -> None:
    """``model.tflite``: ``serving_default``, x float [-1,1] → y = x/2 + ``plus``.

    The signature is TensorFlow Lite's own, or, as converters for TensorFlow Serving once wrote it, a SignatureDef in
    the metadata.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: list[int], value: float | None = None) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), shape, schema.TensorType.FLOAT32
        if shape:
            made.shapeSignature = [-1, *shape[1:]]
        if value is not None:
            made.buffer = buffer(np.float32(value).tobytes())
        return made

    def buffer(content: bytes) -> int:
        made = schema.BufferT()
        made.data = np.frombuffer(content, np.uint8)
        model.buffers.append(made)
        return len(model.buffers) - 1

    def operator(kind: int, options: Any, options_type: int, inputs: list[int], output: int) -> Any:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        model.operatorCodes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes) - 1, inputs, [output]
        made.builtinOptions, made.builtinOptionsType = options, options_type
        return made

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, model.metadata, model.signatureDefs = [], [], []
    graph.tensors = [
        tensor("x:0", [1, 1]),
        tensor("a", [], 0.5),
        tensor("ax", [1, 1]),
        tensor("b", [], plus),
        tensor("y:0", [1, 1]),
    ]
    graph.inputs, graph.outputs = [0], [4]
    multiply, add = schema.BuiltinOptions.MulOptions, schema.BuiltinOptions.AddOptions
    graph.operators = [
        operator(schema.BuiltinOperator.MUL, schema.MulOptionsT(), multiply, [0, 1], 2),
        operator(schema.BuiltinOperator.ADD, schema.AddOptionsT(), add, [2, 3], 4),
    ]
    if signature_in_metadata:
        entry = schema.MetadataT()
        entry.name, entry.buffer = b"signature_defs_metadata", buffer(_serialized_signatures())
        model.metadata.append(entry)
    else:
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = b"serving_default", 0
        definition.inputs, definition.outputs = [_port(schema, "x", 0)], [_port(schema, "y", 4)]
        model.signatureDefs.append(definition)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(bytes(builder.Output()))


def _port(schema: Any, name: str, index: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), index
    return made


def _serialized_signatures() -> bytes:
    """A FlexBuffer map of serialized SignatureDefs, written field by field: this needs no TensorFlow."""
    from flatbuffers import flexbuffers

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    def port(name: bytes) -> bytes:
        shape = field(3, b"".join(field(2, b"\x08" + size) for size in (b"\xff" * 9 + b"\x01", b"\x01")))
        info = field(1, name + b":0") + b"\x10\x01" + shape
        return field(1, name) + field(2, info)

    definition = field(1, port(b"x")) + field(2, port(b"y")) + field(3, b"tensorflow/serving/predict")
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Key("serving_default")
        builder.Blob(definition)
    return bytes(builder.Finish())


def main() -> None:
    """Write the repository into the folder that the first argument names."""
    import tensorflow

    write_repository(tensorflow, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
