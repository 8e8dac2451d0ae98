"""TensorFlow Serving's batching parameters and undeclared shapes, with its own clients against a real server.

Batches wait for ten seconds to fill up and close at once when they are full, so what meets in a call is not left to
chance.
"""

from __future__ import annotations

import re

import grpc
import numpy as np
import pytest
from model_server import ModelServer, request
from native_server import TIMEOUT_S

BATCHING = """
max_batch_size { value: 16 }  max_execution_batch_size { value: 8 }  enable_large_batch_splitting { value: true }
batch_timeout_micros { value: 10000000 }  max_enqueued_batches { value: 8 }  num_batch_threads { value: 2 }
allowed_batch_sizes: 4  allowed_batch_sizes: 8  pad_variable_length_inputs: true
"""
MODELS = ("half_plus_two", "half_plus_two_tf2", "shapes", "no_negatives", "mixed", "tflite", "examples")


@pytest.fixture(scope="module")
def server(serving_repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    configs = "".join(
        f"config {{ name: '{name}' base_path: '{serving_repository / name}' model_platform: 'tensorflow' }}"
        for name in MODELS
    )
    (folder / "models.config").write_text(f"model_config_list {{ {configs} }}")
    (folder / "batching.config").write_text(BATCHING)
    flags = (
        f"--model_config_file={folder}/models.config",
        "--enable_batching",
        f"--batching_parameters_file={folder}/batching.config",
    )
    with ModelServer(*flags) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


@pytest.fixture(scope="module")
def stubs(server):
    with server.stubs() as made:
        yield made


def together(stubs, model, *values, signature=""):
    """The outcome of calls that are in flight at once: outputs ``name`` to array, or the error."""
    asked = [request(model, value, signature_name=signature) for value in values]
    calls = [stubs.prediction.Predict.future(each, timeout=TIMEOUT_S) for each in asked]
    return [call.exception() or call.result().outputs for call in calls]


def floats(outputs, name="y"):
    return list(outputs[name].float_val)


def calls_of(server, model):
    """How many calls of a model there were, and rows in all."""
    text = server.get("/metrics", accept="text/plain").body.decode()
    found = [re.search(rf'tensorhost_batch_rows_{kind}{{model="{model}".*}} (\d+)', text) for kind in ("count", "sum")]
    return [int(match[1]) if match else 0 for match in found]


def test_requests_share_a_call(server, stubs):
    before = calls_of(server, "half_plus_two_tf2")
    outcomes = together(stubs, "half_plus_two_tf2", *[[[float(value)]] for value in range(8)])
    assert [floats(outcome) for outcome in outcomes] == [[value / 2 + 2] for value in range(8)]
    after = calls_of(server, "half_plus_two_tf2")
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 8]


def test_a_request_of_more_rows_than_a_call_is_run_in_parts(stubs):
    [outcome] = together(stubs, "half_plus_two_tf2", [[float(value)] for value in range(16)])
    assert floats(outcome) == [value / 2 + 2 for value in range(16)]


@pytest.mark.parametrize("model", ["half_plus_two_tf2", "tflite"])
def test_one_of_more_rows_than_a_batch_is_refused_in_tensorflow_servings_words(stubs, model):
    [error] = together(stubs, model, [[0.0]] * 17)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "Task size 17 is larger than maximum input batch size 16"


def test_the_same_over_rest(server):
    answer = server.request("POST", "/v1/models/half_plus_two_tf2:predict", {"instances": [[0.0]] * 17})
    assert answer.status == 400
    assert answer.json == {"error": "Task size 17 is larger than maximum input batch size 16"}


def test_rows_of_different_lengths_share_a_call_filled_up_with_their_first_element(server, stubs):
    before = calls_of(server, "shapes")
    outcomes = together(stubs, "shapes", [[1.0, 2.0, 3.0]] * 4, [[5.0]] * 3, [[7.0, 1.0]])
    assert [floats(outcome, "sums") for outcome in outcomes] == [[6.0] * 4, [15.0] * 3, [15.0]]
    assert calls_of(server, "shapes")[0] - before[0] == 1


def test_a_bad_row_fails_alone(stubs):
    values = [[float(value)] for value in (4, 9, -1, 16, 25, 36, -4, 49)]
    outcomes = together(stubs, "no_negatives", *values)
    assert [outcome for outcome in outcomes if isinstance(outcome, grpc.RpcError)] == [outcomes[2], outcomes[6]]
    assert {outcomes[index].code() for index in (2, 6)} == {grpc.StatusCode.INVALID_ARGUMENT}
    good = [floats(outcome) for index, outcome in enumerate(outcomes) if index not in (2, 6)]
    assert good == [[2.0], [3.0], [4.0], [5.0], [6.0], [7.0]]


def test_undeclared_shapes_do_not_wait_for_others(stubs):
    values = [[1.0, 2.0, 5.0], 4.0, [], [[[2.0]]]]
    outcomes = together(stubs, "half_plus_two", *values)
    assert [floats(outcome) for outcome in outcomes] == [[2.5, 3.0, 4.5], [4.0], [], [3.0]]
    sizes = [[dim.size for dim in outcome["y"].tensor_shape.dim] for outcome in outcomes]
    assert sizes == [[3], [], [0], [1, 1, 1]]


def test_shapes_that_end_tensorflows_process_are_refused_and_cost_nobody_else(stubs):
    shapes = [(), (3,), (1, 16), (1, 1, 4, 4, 1), (1,) * 10]
    good = np.ones((8, 4, 4, 1))
    outcomes = together(stubs, "shapes", *[np.zeros(shape) for shape in shapes], good, signature="image")
    for error in outcomes[:-1]:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "rank" in error.details()
    assert floats(outcomes[-1]) == [1.0] * 32


def test_models_that_tensorflow_lite_serves_take_declared_shapes_only(stubs):
    [error] = together(stubs, "tflite", [1.0])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "shape [1]" in error.details()


def test_what_cannot_share_calls_is_served_alone_at_once(stubs):
    asked = request("mixed", [[1.0, 2.0]], signature_name="total")
    asked.inputs["a"].CopyFrom(asked.inputs["x"])
    del asked.inputs["x"]
    found = stubs.prediction.Predict(asked, timeout=TIMEOUT_S).outputs
    assert (floats(found, "total"), floats(found)) == ([3.0], [-1.0, -2.0])


def test_signatures_over_examples_share_calls(server):
    signatures = server.get("/models/examples/versions/1").json["signatures"]
    assert {name: each["batching"]["batched"] for name, each in signatures.items()} == {
        "serving_default": True,
        "regress": True,
        "classes_only": True,
        "not_examples": True,
    }
    assert signatures["regress"]["batching"]["filledUpTo"] == [4, 8]
    assert all(each["warmupComplete"] for each in signatures.values())
