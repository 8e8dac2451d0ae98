"""TensorFlow.js models that were made to do harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contract_damage import SECRET, Attack, json_attack

HUGE = 2**31


def _weight(**fields: Any) -> Attack:
    return json_attack(lambda document: document["weightsManifest"][0]["weights"][0].update(fields))


def _paths(*paths: Any) -> Attack:
    return json_attack(lambda document: document["weightsManifest"][0].update(paths=list(paths)))


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


TFJS: Mapping[str, Attack] = {
    "a shard above the folder": _paths(f"../{SECRET}"),
    "a shard by absolute path": _paths("/etc/hostname"),
    "a shard that is an address": _paths("http://localhost/weights.bin"),
    "a shard through a link": _linked_shard,
    "a shard that is the folder": _paths("."),
    "a shard without a name": _paths(""),
    "a shard that is a number": _paths(7),
    "no shard": _paths(),
    "one shard a thousand times": json_attack(
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
    "all weights of one name": json_attack(
        lambda document: [weight.update(name="w") for weight in document["weightsManifest"][0]["weights"]]
    ),
    "no manifest": json_attack(lambda document: document.update(weightsManifest=[])),
    "a topology that is a list": json_attack(lambda document: document.update(modelTopology=[1])),
    "a deep document": _nested(1000),
    "a bottomless document": _nested(100_000),
}


def _nodes(change: Callable[[list[Any]], None]) -> Attack:
    return json_attack(lambda document: change(document["modelTopology"]["node"]))


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


TFJS_GRAPH: Mapping[str, Attack] = {
    "an operation that reads files": _nodes(_read_file),
    "an operation nobody knows": _nodes(lambda nodes: nodes[-1].update(op="Unheard")),
    "a node that reads itself": _nodes(_self_cycle),
    "nodes in a circle": _nodes(_cycle),
    "a node without a name": _nodes(lambda nodes: nodes[-1].update(name="")),
    "a node of no kind": _nodes(lambda nodes: nodes[-1].pop("op")),
    "two nodes of one name": _nodes(lambda nodes: nodes.append(dict(nodes[-1]))),
    "an input that is not there": _nodes(lambda nodes: nodes[-1].update(input=["nowhere"])),
    "a value of many gigabytes": _nodes(_fill),
    "nodes that are texts": json_attack(lambda document: document["modelTopology"].update(node=["x", 3])),
    "a signature of something else": json_attack(
        lambda document: document.update(signature={"inputs": {"x": {"name": "nowhere:0"}}, "outputs": {}})
    ),
}
