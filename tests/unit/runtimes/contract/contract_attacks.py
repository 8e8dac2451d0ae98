"""Models that were made to do harm: they ask for much memory, lead out of their folder, or never end.

What an attack must not reach is a file named SECRET beside the model's folder.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contract_damage import Attack, root_of

from tensorhost.runtimes import ModelFormat

SECRET = "secret.bin"
HUGE = 2**31
UNITS = 1_500_000_000


FOR_THE_PROBE = {
    (ModelFormat.GRAPH_DEF.value, "a function that calls itself"): "kills TensorFlow",
    (ModelFormat.SAVED_MODEL.value, "a value of forty gigabytes"): "TensorFlow waits ten seconds for the memory",
    (ModelFormat.GRAPH_DEF.value, "a value of forty gigabytes"): "TensorFlow waits ten seconds for the memory",
    (ModelFormat.TFJS.value, "a value of many gigabytes"): "TensorFlow waits ten seconds for the memory",
    (ModelFormat.KERAS.value, "a layer of many gigabytes"): "TensorFlow waits ten seconds for the memory",
    (ModelFormat.KERAS_H5.value, "a layer of many gigabytes"): "TensorFlow waits ten seconds for the memory",
    ("tfjs layers", "a layer of many gigabytes"): "TensorFlow waits ten seconds for the memory",
}
"""Attacks that only a process of its own withstands, and why."""


def made_attacks(kind: str) -> Mapping[str, Attack]:
    """The attacks on models of a kind: a format, or ``tfjs layers``."""
    return _ATTACKS.get(kind, {})


def _json(change: Callable[[Any], None], name: str | None = None) -> Attack:
    """Changes a JSON document: the model file itself, or the file ``name`` in its archive."""

    def attack(model: Path) -> Path:
        if name is None:
            document = json.loads(model.read_bytes())
            change(document)
            model.write_bytes(json.dumps(document).encode())
            return model
        with zipfile.ZipFile(model) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        document = json.loads(members[name])
        change(document)
        members[name] = json.dumps(document).encode()
        with zipfile.ZipFile(model, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return model

    return attack


# -- TensorFlow.js ---------------------------------------------------------------------------------------------------


def _weight(**fields: Any) -> Attack:
    return _json(lambda document: document["weightsManifest"][0]["weights"][0].update(fields))


def _paths(*paths: Any) -> Attack:
    return _json(lambda document: document["weightsManifest"][0].update(paths=list(paths)))


def _linked_shard(model: Path) -> Path:
    shard = next(file for file in model.parent.iterdir() if file.suffix == ".bin")
    (model.parent.parent / SECRET).write_bytes(shard.read_bytes())
    shard.unlink()
    shard.symlink_to(model.parent.parent / SECRET)
    return model


def _nested(depth: int) -> Attack:
    def attack(model: Path) -> Path:
        document = json.loads(model.read_bytes())
        content = json.dumps(document)[:-1] + ', "userDefinedMetadata": ' + "[" * depth + "]" * depth + "}"
        model.write_bytes(content.encode())
        return model

    return attack


_TFJS = {
    "a shard above the folder": _paths(f"../{SECRET}"),
    "a shard by absolute path": _paths("/etc/hostname"),
    "a shard that is an address": _paths("http://localhost/weights.bin"),
    "a shard through a link": _linked_shard,
    "a shard that is the folder": _paths("."),
    "a shard without a name": _paths(""),
    "a shard that is a number": _paths(7),
    "no shard": _paths(),
    "one shard a thousand times": _json(
        lambda document: document["weightsManifest"][0].update(paths=document["weightsManifest"][0]["paths"] * 1000)
    ),
    "a shape larger than the shard": _weight(shape=[3, 1000]),
    "a shape of many gigabytes": _weight(shape=[HUGE, HUGE]),
    "a shape of 2^63": _weight(shape=[2**63]),
    "a negative shape": _weight(shape=[-1, 3]),
    "a shape of fractions": _weight(shape=[1.5]),
    "a shape that is a text": _weight(shape="[3]"),
    "no shape": _weight(shape=None),
    "zero times much": _weight(shape=[0, HUGE]),
    "an unknown element type": _weight(dtype="resource"),
    "numbers that are texts": _weight(dtype="string"),
    "quantised without end": _weight(quantization={"dtype": "uint8", "scale": 1e308, "min": -1e308}),
    "quantised to an unknown type": _weight(quantization={"dtype": "uint4", "scale": 1, "min": 0}),
    "all weights of one name": _json(
        lambda document: [weight.update(name="w") for weight in document["weightsManifest"][0]["weights"]]
    ),
    "no manifest": _json(lambda document: document.update(weightsManifest=[])),
    "a topology that is a list": _json(lambda document: document.update(modelTopology=[1])),
    "a deep document": _nested(1000),
    "a bottomless document": _nested(100_000),
}


def _nodes(change: Callable[[list[Any]], None]) -> Attack:
    return _json(lambda document: change(document["modelTopology"]["node"]))


def _read_file(nodes: list[Any]) -> None:
    nodes.append({"name": "stolen", "op": "ReadFile", "input": [nodes[0]["name"]], "attr": {}})


def _cycle(nodes: list[Any]) -> None:
    computed = [node for node in nodes if node.get("input")]
    computed[0]["input"][0] = computed[-1]["name"]


def _self_cycle(nodes: list[Any]) -> None:
    for node in nodes:
        if node.get("input"):
            node["input"][0] = node["name"]


def _fill(nodes: list[Any]) -> None:
    """A constant of many gigabytes, made by an operation while the graph is prepared or run."""
    shape = {"dtype": "DT_INT32", "tensorShape": {"dim": [{"size": "2"}]}, "intVal": [200_000, 200_000]}
    value = {"dtype": "DT_FLOAT", "tensorShape": {}, "floatVal": [1.0]}
    for name, tensor in (("much_size", shape), ("much_value", value)):
        attributes = {"dtype": {"type": tensor["dtype"]}, "value": {"tensor": tensor}}
        nodes.append({"name": name, "op": "Const", "attr": attributes})
    types = {"T": {"type": "DT_FLOAT"}, "index_type": {"type": "DT_INT32"}}
    nodes.append({"name": "much", "op": "Fill", "input": ["much_size", "much_value"], "attr": types})


_TFJS_GRAPH = {
    "an operation that reads files": _nodes(_read_file),
    "an operation nobody knows": _nodes(lambda nodes: nodes[-1].update(op="Unheard")),
    "a node that reads itself": _nodes(_self_cycle),
    "nodes in a circle": _nodes(_cycle),
    "a node without a name": _nodes(lambda nodes: nodes[-1].update(name="")),
    "a node of no kind": _nodes(lambda nodes: nodes[-1].pop("op")),
    "two nodes of one name": _nodes(lambda nodes: nodes.append(dict(nodes[-1]))),
    "an input that is not there": _nodes(lambda nodes: nodes[-1].update(input=["nowhere"])),
    "a value of many gigabytes": _nodes(_fill),
    "nodes that are texts": _json(lambda document: document["modelTopology"].update(node=["x", 3])),
    "a signature of something else": _json(
        lambda document: document.update(signature={"inputs": {"x": {"name": "nowhere:0"}}, "outputs": {}})
    ),
}


# -- Keras configurations: in TensorFlow.js layers models, archives, HDF5 files --------------------------------------


def _layers(document: Any) -> list[Any]:
    document = document.get("modelTopology", document)
    document = document.get("model_config", document)
    config = document["config"]
    return config["layers"] if isinstance(config, dict) else config


def _first_with(document: Any, setting: str) -> dict[str, Any]:
    return next(layer["config"] for layer in _layers(document) if setting in layer["config"])


def _huge_layer(document: Any) -> None:
    _first_with(document, "units")["units"] = UNITS


def _unknown_layer(document: Any) -> None:
    _layers(document)[-1]["class_name"] = "Unheard"


def _lambda(document: Any) -> None:
    layer = _layers(document)[-1]
    layer.update(class_name="Lambda", module="keras.layers", config={"name": "code", "function": ["4wE=", None, None]})


def _any_function(document: Any) -> None:
    """What CVE-2025-1550 did: a configuration that names a function of any module."""
    layer = _layers(document)[-1]
    layer["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "getcwd",
        "registered_name": "getcwd",
    }


def _no_layers(document: Any) -> None:
    _layers(document).clear()


def _layers_that_are_texts(document: Any) -> None:
    _layers(document)[:] = ["a", 3, None]


def _itself(document: Any) -> None:
    """A model inside a model inside …, three hundred deep."""
    inner = json.loads(json.dumps(document.get("modelTopology", document).get("model_config", document)))
    for _ in range(300):
        inner = {"class_name": "Sequential", "config": {"name": "deep", "layers": [inner]}}
    _layers(document).append(inner)


_CONFIGURATIONS: Mapping[str, Callable[[Any], None]] = {
    "a layer of many gigabytes": _huge_layer,
    "a layer nobody knows": _unknown_layer,
    "Python code in a layer": _lambda,
    "a function of any module": _any_function,
    "no layers": _no_layers,
    "layers that are texts": _layers_that_are_texts,
    "models in models in models": _itself,
}


# -- Keras archives --------------------------------------------------------------------------------------------------


def _members(change: Callable[[dict[str, bytes]], None]) -> Attack:
    def attack(model: Path) -> Path:
        with zipfile.ZipFile(model) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return model

    return attack


def _weights(write: Callable[[Any], None]) -> Attack:
    """Changes the HDF5 file of weights in an archive."""

    def attack(model: Path) -> Path:
        def change(members: dict[str, bytes]) -> None:
            scratch = model.parent / "weights.h5"
            scratch.write_bytes(members["model.weights.h5"])
            _hdf5(write)(scratch)
            members["model.weights.h5"] = scratch.read_bytes()
            scratch.unlink()

        return _members(change)(model)

    return attack


_KERAS = {
    "a bomb": _members(lambda members: members.update({"model.weights.h5": bytes(300 * 2**20)})),
    "a bomb beside": _members(lambda members: members.update({"assets/more.bin": bytes(300 * 2**20)})),
    "a member above the folder": _members(
        lambda members: members.update({f"../{SECRET}": b"x", f"../../{SECRET}": b"x"})
    ),
    "a member by absolute path": _members(
        lambda members: members.update({str(Path(tempfile.gettempdir(), SECRET)): b"x"})
    ),
    "no configuration": _members(lambda members: members.pop("config.json")),
    "no weights": _members(lambda members: members.pop("model.weights.h5")),
    "weights that are text": _members(lambda members: members.update({"model.weights.h5": b"no weights"})),
    "a configuration that is a list": _members(lambda members: members.update({"config.json": b"[]"})),
    "a bottomless configuration": _members(
        lambda members: members.update({"config.json": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"})
    ),
}


# -- HDF5 ------------------------------------------------------------------------------------------------------------


def _hdf5(write: Callable[[Any], None]) -> Attack:
    def attack(model: Path) -> Path:
        import h5py

        with h5py.File(model, "r+") as file:
            write(file)
        return model

    return attack


def _datasets(file: Any) -> list[str]:
    import h5py

    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _huge_dataset(file: Any) -> None:
    """Declares a terabyte and stores nothing of it."""
    name = _datasets(file)[0]
    del file[name]
    file.create_dataset(name, shape=(2**19, 2**19), dtype="float32", chunks=(1024, 1024), compression="gzip")


def _compressed_dataset(file: Any) -> None:
    """400 MB of zeros that take 400 KB."""
    import numpy as np

    name = _datasets(file)[0]
    del file[name]
    data = file.create_dataset(name, shape=(100, 2**20), dtype="float32", chunks=(1, 2**20), compression="gzip")
    for row in range(100):
        data[row] = np.zeros(2**20, np.float32)


def _linked_dataset(file: Any) -> None:
    import h5py

    name = _datasets(file)[0]
    del file[name]
    file[name] = h5py.ExternalLink(f"../{SECRET}", "/secret")


def _external_storage(file: Any) -> None:
    name = _datasets(file)[0]
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape=shape, dtype=dtype, external=[("/etc/passwd", 0, 2**20)])


def _circle(file: Any) -> None:
    import h5py

    group = file[_datasets(file)[0]].parent
    group["again"] = h5py.SoftLink(group.name)
    group["round"] = group


def _other_shape(file: Any) -> None:
    name = _datasets(file)[0]
    del file[name]
    file.create_dataset(name, shape=(1, 1), dtype="float32")


def _texts(file: Any) -> None:
    name = _datasets(file)[0]
    del file[name]
    file.create_dataset(name, data=[b"a", b"b"])


_HDF5: Mapping[str, Callable[[Any], None]] = {
    "weights of a terabyte": _huge_dataset,
    "weights that unpack a thousandfold": _compressed_dataset,
    "weights in another file": _linked_dataset,
    "weights stored in another file": _external_storage,
    "groups in a circle": _circle,
    "weights of another shape": _other_shape,
    "weights that are texts": _texts,
}


def _config_attribute(change: Callable[[Any], None]) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        document = json.loads(file.attrs["model_config"])
        change(document)
        file.attrs["model_config"] = json.dumps(document)

    return write


def _attribute(value: Any) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        file.attrs["model_config"] = value

    return write


_H5_ONLY = {
    "no configuration": _hdf5(lambda file: file.attrs.__delitem__("model_config")),
    "a configuration that is a number": _hdf5(_attribute(7)),
    "a configuration that is no JSON": _hdf5(_attribute("{")),
    "a configuration that is a list": _hdf5(_attribute("[]")),
    "weights only": _hdf5(lambda file: [file.attrs.__delitem__(name) for name in list(file.attrs)]),
}


# -- graphs of TensorFlow --------------------------------------------------------------------------------------------


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


_GRAPHS = {
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


_SAVED_MODEL = {"an asset above the folder": _asset_above, "text that nests without end": _as_text}


# -- TensorFlow Lite -------------------------------------------------------------------------------------------------


def _flat(change: Callable[[Any], None]) -> Attack:
    def attack(model: Path) -> Path:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        flat = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(model.read_bytes()), 0))
        change(flat)
        builder = flatbuffers.Builder()
        builder.Finish(flat.Pack(builder), b"TFL3")
        model.write_bytes(bytes(builder.Output()))
        return model

    return attack


def _tensors(**fields: Any) -> Attack:
    def change(flat: Any) -> None:
        for tensor in flat.subgraphs[0].tensors:
            for name, value in fields.items():
                setattr(tensor, name, value)

    return _flat(change)


def _operators(**fields: Any) -> Attack:
    def change(flat: Any) -> None:
        for operator in flat.subgraphs[0].operators:
            for name, value in fields.items():
                setattr(operator, name, value)

    return _flat(change)


def _operation(code: int) -> Attack:
    def change(flat: Any) -> None:
        for found in flat.operatorCodes:
            found.builtinCode, found.deprecatedBuiltinCode = code, min(code, 127)

    return _flat(change)


def _own_output(flat: Any) -> None:
    for operator in flat.subgraphs[0].operators:
        operator.inputs = list(operator.outputs) * len(operator.inputs)


def _endless_while(flat: Any) -> None:
    """A loop whose body is the graph the loop is in."""
    from ai_edge_litert import schema_py_generated as schema

    main = flat.subgraphs[0]
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = options.bodySubgraphIndex = 0
    flat.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE
    flat.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    operator = main.operators[0]
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = list(main.inputs), list(main.outputs)
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.WhileOptions, options
    main.operators = [operator]


_TFLITE = {
    "tensors of many gigabytes": _tensors(shape=[2**15, 2**15, 2**4]),
    "tensors whose size overflows": _tensors(shape=[2**31 - 1, 2**31 - 1, 2**31 - 1]),
    "tensors of negative size": _tensors(shape=[-7, 4]),
    "tensors without a shape": _tensors(shape=[]),
    "tensors of many dimensions": _tensors(shape=[1] * 200),
    "tensors of an unknown type": _tensors(type=99),
    "tensors that are texts": _tensors(type=5),
    "tensors in no buffer": _tensors(buffer=4096),
    "tensors all constant": _tensors(buffer=2),
    "tensors all variable": _tensors(isVariable=True),
    "operators that read beyond": _operators(inputs=[5000, 6000]),
    "operators that read before": _operators(inputs=[-5, -7]),
    "operators that write beyond": _operators(outputs=[5000]),
    "operators without inputs": _operators(inputs=[]),
    "operators without outputs": _operators(outputs=[]),
    "operators of no kind": _operators(opcodeIndex=77),
    "operators that read what they write": _flat(_own_output),
    "a loop in itself": _flat(_endless_while),
    "an unknown operation": _operation(9999),
    "another operation": _operation(3),  # a convolution
    "a third operation": _operation(36),  # a gathering
    "no graph": _flat(lambda flat: flat.subgraphs.clear()),
    "no operator codes": _flat(lambda flat: flat.operatorCodes.clear()),
    "no buffers": _flat(lambda flat: flat.buffers.clear()),
    "inputs that are not there": _flat(lambda flat: setattr(flat.subgraphs[0], "inputs", [400])),
    "outputs that are not there": _flat(lambda flat: setattr(flat.subgraphs[0], "outputs", [400])),
}

_ATTACKS: Mapping[str, Mapping[str, Attack]] = {
    ModelFormat.TFJS.value: _TFJS | _TFJS_GRAPH,
    "tfjs layers": _TFJS | {name: _json(change) for name, change in _CONFIGURATIONS.items()},
    ModelFormat.KERAS.value: _KERAS
    | {name: _json(change, "config.json") for name, change in _CONFIGURATIONS.items()}
    | {name: _weights(write) for name, write in _HDF5.items()},
    ModelFormat.KERAS_H5.value: _H5_ONLY
    | {name: _hdf5(_config_attribute(change)) for name, change in _CONFIGURATIONS.items()}
    | {name: _hdf5(write) for name, write in _HDF5.items()},
    ModelFormat.SAVED_MODEL.value: _GRAPHS | _SAVED_MODEL,
    ModelFormat.GRAPH_DEF.value: _GRAPHS,
    ModelFormat.TFLITE.value: _TFLITE,
}
