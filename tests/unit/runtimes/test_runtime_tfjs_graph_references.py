"""Graph models against what TensorFlow.js itself answered; ``tests/data/tfjs/README.md`` says how that was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.runtimes import load

FOLDER = Path(__file__).parents[2] / "data/tfjs/graph"
CASES = sorted(path.name for path in FOLDER.iterdir())


def array_of(recorded, dtype):
    if dtype == np.dtype(object):
        return np.array([text.encode() for text in recorded["values"]], object).reshape(recorded["shape"])
    return np.array([float(value) for value in recorded["values"]]).reshape(recorded["shape"]).astype(dtype)


def public_inputs(reference, signature):
    given = {name.removesuffix(":0"): recorded for name, recorded in reference["inputs"].items()}
    return {name: array_of(given[name], spec.dtype.numpy) for name, spec in signature.inputs.items()}


def test_there_are_references():
    assert len(CASES) >= 13


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_tensorflow_js(options, tf, case):
    reference = json.loads((FOLDER / case / "reference.json").read_text())
    runtime = load(FOLDER / case, options)
    try:
        signature = runtime.signatures[DEFAULT_SIGNATURE]
        inputs = public_inputs(reference, signature)
        for spec in signature.inputs.values():
            spec.check(inputs[spec.name])
        outputs = runtime.run(DEFAULT_SIGNATURE, inputs)
    finally:
        runtime.close()
    assert len(outputs) == len(reference["outputs"])
    # In the order of the file; structured keys rename them.
    for (key, recorded), (name, output) in zip(reference["outputs"].items(), outputs.items(), strict=True):
        assert output.dtype == signature.outputs[name].dtype.numpy, name
        assert signature.outputs[name].admits(output.shape), name
        expected = array_of(recorded, np.dtype(object) if recorded["dtype"] == "string" else np.dtype(float))
        if output.dtype == object:
            assert output.tolist() == expected.tolist(), key
        else:
            np.testing.assert_allclose(output.astype(float), expected, rtol=1e-4, atol=1e-5, err_msg=key, strict=True)


@pytest.mark.parametrize(
    ("case", "path"),
    [("control_version_1", "frozen graph, session,"), ("control_functional", "frozen graph, single-threaded session,")],
)
def test_functional_control_flow_keeps_the_cheapest_call(options, tf, case, path):
    runtime = load(FOLDER / case, options)
    assert runtime.call_path(DEFAULT_SIGNATURE).startswith(path)
    runtime.close()


def test_the_references_have_every_operation_that_only_tensorflow_js_knows(tf):
    """So that none of them is expanded without its answer being compared."""
    written = {
        node["op"]
        for case in CASES
        for graph in [json.loads((FOLDER / case / "model.json").read_text())["modelTopology"]]
        for nodes in (graph["node"], *(f["nodeDef"] for f in graph["library"].get("function", [])))
        for node in nodes
    }
    from tensorflow.python.framework import op_def_registry

    unknown = {op for op in written if op_def_registry.get(op) is None}
    assert unknown | {"_FusedConv2D", "_FusedMatMul"} == {
        "DepthwiseConv2d",
        "FusedDepthwiseConv2dNative",
        "Prelu",
        "_FusedConv2D",
        "_FusedMatMul",
    }
