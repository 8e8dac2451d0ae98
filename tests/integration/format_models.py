"""One model of every format, with questions and the answers of the format's own runtime or of plain numpy."""

from __future__ import annotations

import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "data"
WEIGHTS = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]], np.float32)


@dataclass(frozen=True)
class Served:
    """A model in the repository.

    Attributes:
        format: as the metadata must name it.
        runtime: the same.
        inputs: by name.
        outputs: what must be answered, by name.
    """

    format: str
    runtime: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


def write_repository(tf, keras, root: Path) -> dict[str, Served]:
    """Fill ``root``; what the models in it must answer.

    Beside each lies a ``broken_<name>``; there are ``broken_endless``, ``reloaded_tflite`` and ``reloaded_tfjs`` too.
    """
    x = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.5]], np.float32)
    served = {
        "saved_model": Served("saved_model", "tensorflow", {"x": x}, {"y": x @ WEIGHTS}),
        "saved_model_tf1": Served("saved_model", "tensorflow", {"x": x}, {"y": np.maximum(x @ WEIGHTS, 0)}),
        "graph_def": Served("graph_def", "tensorflow", {"features": x}, {"y": np.maximum(x @ WEIGHTS, 0)}),
        "keras_3": Served("keras", "tensorflow", {"x": x}, {"y": x @ WEIGHTS}),
        "keras_3_h5": Served("keras_h5", "tensorflow", {"x": x}, {"y": x @ WEIGHTS}),
        "tflite": Served("tflite", "litert", {"x": x}, {"y": x * 2.0}),
    }
    _write_saved_model(tf, root / "saved_model" / "1")
    _write_tf1(tf, root / "saved_model_tf1" / "1", root / "graph_def" / "1")
    (root / "graph_def" / "model.toml").write_text(
        '[graph]\ninputs = { features = "x" }\noutputs = { y = "positive:0" }\n', encoding="utf-8"
    )
    _write_keras(keras, root / "keras_3" / "1" / "model.keras", root / "keras_3_h5" / "1" / "model.h5")
    write_tflite(root / "tflite" / "1" / "model.tflite", 2.0)
    served |= {f"keras_2_{suffix}": _place_keras_2(root, suffix) for suffix in ("h5", "keras")}
    served |= {f"tfjs_{kind}": _place_tfjs(root, kind, name) for kind, name in TFJS.items()}
    shutil.copytree(root / "tflite", root / "reloaded_tflite")
    shutil.copytree(root / "tfjs_layers", root / "reloaded_tfjs")
    write_endless(tf, root / "broken_endless" / "1" / "graph.pb")
    for name in served:
        _break(root / name, root / f"broken_{name}")
    return served


TFJS = {"graph": "fused_in_functions", "layers": "several_inputs_outputs"}


def _write_saved_model(tf, folder: Path) -> None:
    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def multiply(x):
        return {"y": x @ module.weights}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": multiply})


def _write_tf1(tf, saved_model: Path, graph_def: Path) -> None:
    """The same graph as TensorFlow 1 saves it, and bare."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        y = tf.nn.relu(tf.matmul(x, tf.constant(WEIGHTS)), name="positive")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(saved_model))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    graph_def.mkdir(parents=True)
    (graph_def / "frozen.pb").write_bytes(graph.as_graph_def().SerializeToString())


def _write_keras(keras, *files: Path) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, use_bias=False, name="y")(x))
    model.set_weights([WEIGHTS])
    for file in files:
        file.parent.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(file)


def write_tflite(file: Path, factor: float) -> None:
    """``y = x * factor`` on rows of three."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    constant, code, multiply = schema.BufferT(), schema.OperatorCodeT(), schema.OperatorT()
    constant.data = np.frombuffer(np.float32(factor).tobytes(), np.uint8)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MUL
    code.version = 1
    multiply.inputs, multiply.outputs = [0, 1], [2]
    multiply.builtinOptionsType, multiply.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()
    graph.tensors = [_tensor(schema, "x", [1, 3], 0), _tensor(schema, "factor", [], 1), _tensor(schema, "y", [1, 3], 0)]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [multiply]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), constant]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(builder.Output()))


def _tensor(schema: Any, name: str, shape: list[int], buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, schema.TensorType.FLOAT32, buffer
    if shape:
        tensor.shapeSignature = [-1, *shape[1:]]
    return tensor


def _place_keras_2(root: Path, suffix: str) -> Served:
    """A model that Keras 2 saved, with Keras 2's answers."""
    folder = root / f"keras_2_{suffix}" / "1"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(DATA / "keras" / "references.zip") as archive:
        (folder / f"model.{suffix}").write_bytes(archive.read(f"nested_first.{suffix}"))
        recorded = np.load(io.BytesIO(archive.read("nested_first.npz")))
    inputs = {name.removeprefix("in:"): recorded[name] for name in recorded if name.startswith("in:")}
    model_format = "keras" if suffix == "keras" else "keras_h5"
    return Served(model_format, "tensorflow", inputs, {"output_0": recorded["out:0"]})


def _place_tfjs(root: Path, kind: str, name: str) -> Served:
    """A model of TensorFlow.js with its answers."""
    source = DATA / "tfjs" / kind / name
    shutil.copytree(source, root / f"tfjs_{kind}" / "1", ignore=shutil.ignore_patterns("reference.json"))
    recorded = json.loads((source / "reference.json").read_text(encoding="utf-8"))
    return Served("tfjs", "tensorflow", _arrays(recorded["inputs"]), _arrays(recorded["outputs"]))


def _arrays(recorded: Any) -> dict[str, np.ndarray]:
    entries = recorded.items() if isinstance(recorded, dict) else ((entry["name"], entry) for entry in recorded)
    return {name: np.array(entry["values"], entry["dtype"]).reshape(entry["shape"]) for name, entry in entries}


def double_shard(folder: Path) -> None:
    """Double every float of the one shard of a TensorFlow.js model."""
    [shard] = folder.glob("*.bin")
    shard.write_bytes((np.frombuffer(shard.read_bytes(), "<f4") * 2).tobytes())


def _break(good: Path, broken: Path) -> None:
    """A copy that is complete to look at: a third of its largest file lost, or of a TensorFlow.js model the end."""
    shutil.copytree(good, broken)
    files = [file for file in (broken / "1").rglob("*") if file.is_file() and file.suffix != ".json"]
    file = max(files, key=lambda file: (file.name == "saved_model.pb", file.stat().st_size))
    content = file.read_bytes()
    third = len(content) // 3
    end = b"" if file.suffix == ".bin" else content[2 * third :]
    file.write_bytes(content[:third] + b"\xff" * third + end)


def write_endless(tf, file: Path) -> None:
    """A frozen graph with a function that calls itself: importing it would kill TensorFlow."""
    number = tf.float32.as_datatype_enum
    graph = tf.compat.v1.GraphDef()
    x = graph.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = number
    graph.node.add(name="y", op="endless", input=["x"])
    function = graph.library.function.add()
    function.signature.name = "endless"
    function.signature.input_arg.add(name="x", type=number)
    function.signature.output_arg.add(name="y", type=number)
    function.node_def.add(name="again", op="endless", input=["x"])
    function.ret["y"] = "again:y:0"
    file.parent.mkdir(parents=True)
    file.write_bytes(graph.SerializeToString())
