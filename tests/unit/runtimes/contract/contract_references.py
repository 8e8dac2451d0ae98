"""The formats' own runtimes, asked directly: what a loaded model must agree with."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contract_case import Ask

from tensorhost.core.tensors import Array, Tensors

Fixture = Callable[[str], Any]


def saved_model(fixture: Fixture, path: Path) -> Ask:
    """``tf.saved_model.load`` and its signatures."""
    tf = fixture("tf")
    loaded = tf.saved_model.load(str(path), tags=["serve"])

    def ask(signature: str, inputs: Tensors) -> Mapping[str, Array]:
        values = loaded.signatures[signature](**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: value.numpy() for name, value in values.items()}

    return ask


def keras(inputs: Sequence[str], outputs: Sequence[str]) -> Callable[[Fixture, Path], Ask]:
    """``keras.saving.load_model``, its inputs and outputs in the order of the names given."""

    def open_model(fixture: Fixture, path: Path) -> Ask:
        module = fixture("keras")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = module.saving.load_model(path, compile=False)
        structure = model.inputs[0] if isinstance(model, module.Sequential) else model.input

        def ask(_signature: str, given: Tensors) -> Mapping[str, Array]:
            tensors = [fixture("tf").constant(given[name]) for name in inputs]
            values = module.tree.flatten(model(module.tree.pack_sequence_as(structure, tensors), training=False))
            return {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}

        return ask

    return open_model


def litert(_fixture: Fixture, path: Path) -> Ask:
    """A LiteRT interpreter of its own for every call."""
    from ai_edge_litert.interpreter import Interpreter

    def ask(signature: str, inputs: Tensors) -> Mapping[str, Array]:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        if signature in interpreter.get_signature_list():
            return interpreter.get_signature_runner(signature)(**inputs)
        ports = interpreter.get_input_details()
        for port in ports:
            interpreter.resize_tensor_input(port["index"], inputs[port["name"]].shape)
        interpreter.allocate_tensors()
        for port in ports:
            interpreter.set_tensor(port["index"], inputs[port["name"]])
        interpreter.invoke()
        return {port["name"]: interpreter.get_tensor(port["index"]) for port in interpreter.get_output_details()}

    return ask


def recorded_inputs(path: Path) -> dict[str, Array]:
    """The inputs for which TensorFlow.js' answers are stored beside the model, by name."""
    return _arrays(json.loads((path.parent / "reference.json").read_text(encoding="utf-8"))["inputs"])


def recorded(_fixture: Fixture, path: Path) -> Ask:
    """What TensorFlow.js answered: only for inputs made of rows of the recorded ones."""
    reference = json.loads((path.parent / "reference.json").read_text(encoding="utf-8"))
    return by_rows(_arrays(reference["inputs"]), _arrays(reference["outputs"]))


class Recorded(NamedTuple):
    """Inputs and the outputs that go with them, row by row, by name."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def keras_2(archive: Path, name: str) -> Recorded:
    """What Keras 2 answered for one model of the archive."""
    with zipfile.ZipFile(archive) as opened:
        arrays = np.load(io.BytesIO(opened.read(f"{name}.npz")))
    inputs = {key.removeprefix("in:"): arrays[key] for key in arrays if key.startswith("in:")}
    outputs = {key.replace("out:", "output_"): arrays[key] for key in arrays if key.startswith("out:")}
    return Recorded(inputs, outputs)


def by_rows(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Ask:
    """The recorded outputs for inputs made of recorded rows."""
    name, known = next(iter(inputs.items()))

    def ask(_signature: str, given: Tensors) -> Mapping[str, Array]:
        rows = [next(row for row in range(len(known)) if np.array_equal(known[row], asked)) for asked in given[name]]
        return {output: array[rows] for output, array in outputs.items()}

    return ask


def _arrays(recorded: Any) -> dict[str, Array]:
    named = recorded.items() if isinstance(recorded, dict) else ((entry["name"], entry) for entry in recorded)
    return {name: _array(entry) for name, entry in named}


def _array(entry: Any) -> Array:
    if entry["dtype"] == "string":
        made = np.empty(len(entry["values"]), object)
        made[:] = [text.encode() for text in entry["values"]]
        return made.reshape(entry["shape"])
    return np.array(entry["values"], entry["dtype"]).reshape(entry["shape"])
