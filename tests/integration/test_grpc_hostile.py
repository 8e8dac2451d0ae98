"""Requests that are no requests: each gets its status, and the server goes on as if nothing had been."""

import grpc
import numpy as np
import pytest
from serving_clients import ServingClient, example, fill_examples, fill_spec, predict_request, tensor
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2

f32 = np.float32
ONE = {"x": f32([[1.0]])}
PARSING = ("INVALID_ARGUMENT", "tensor parsing error: x")


@pytest.fixture(scope="module")
def client(serving_server):
    with ServingClient(serving_server.grpc_address) as client:
        yield client


@pytest.fixture(autouse=True)
def still_serving(client):
    """After every test the same server answers as before."""
    yield
    assert client.outputs("half_plus_two", ONE)["y"].tolist() == [[2.5]]


def refusal(call, *args, **options):
    with pytest.raises(grpc.RpcError) as refused:
        call(*args, **options)
    return refused.value.code().name, refused.value.details()


def test_a_request_cut_off_anywhere(client):
    whole = predict_request("half_plus_two", {"x": f32([[1], [2]])}, signature="serving_default", version=123)
    data = whole.SerializeToString()
    for end in range(len(data)):
        code, text = refusal(client.send, "Predict", data[:end])
        assert code in ("INVALID_ARGUMENT", "NOT_FOUND"), (end, text)


MESSAGES = {
    "Predict": "PredictRequest",
    "Classify": "ClassificationRequest",
    "Regress": "RegressionRequest",
    "MultiInference": "MultiInferenceRequest",
    "GetModelMetadata": "tensorflow.serving.GetModelMetadataRequest",
}


@pytest.mark.parametrize("method", MESSAGES)
def test_bytes_that_are_no_message(client, method):
    for data in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 10_000, bytes(range(256))):
        code, text = refusal(client.send, method, data)
        assert code == "INVALID_ARGUMENT"
        # By the name that clients know, whatever we call what we read it as.
        assert text == f"These bytes are not a message {MESSAGES[method]}."
    assert refusal(client.send, method, b"")[0] == "INVALID_ARGUMENT"
    assert refusal(client.send, "GetModelStatus", b"\xff", "ModelService")[0] == "INVALID_ARGUMENT"
    assert refusal(client.send, "HandleReloadConfigRequest", b"\xff", "ModelService")[0] == "INVALID_ARGUMENT"


def shaped(*sizes, **fields):
    made = TensorProto(dtype=1, **fields)
    for size in sizes:
        made.tensor_shape.dim.add(size=size)
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (shaped(-1, float_val=[1.0]), PARSING),
        (shaped(-1, -1, float_val=[1.0]), PARSING),
        (shaped(2, tensor_content=b"\0" * 7), PARSING),
        (shaped(2, tensor_content=b"\0" * 12), PARSING),
        (shaped(*[1] * 300, float_val=[1.0]), PARSING),
        (TensorProto(dtype=0, float_val=[1.0]), PARSING),
        (TensorProto(dtype=9999), PARSING),
        (TensorProto(dtype=20), PARSING),
        (TensorProto(dtype=21), PARSING),
        (TensorProto(dtype=101), PARSING),
        (shaped(2**31, float_val=[1.0]), ("RESOURCE_EXHAUSTED", None)),
        (shaped(2**31, 2**31, 2**31, float_val=[1.0]), ("RESOURCE_EXHAUSTED", None)),
        (shaped(2**62, 0, 2**62, float_val=[1.0]), (None, None)),
        (shaped(2**63 - 1, 2, float_val=[1.0]), ("RESOURCE_EXHAUSTED", None)),
        (shaped(2**40), ("RESOURCE_EXHAUSTED", None)),
    ],
)
def test_tensors_that_are_not_what_they_claim(client, given, expected):
    unknown_rank = TensorProto.FromString(given.SerializeToString())
    unknown_rank.tensor_shape.unknown_rank = True
    for each in (given, unknown_rank):
        code, text = refusal(client.predict, "shapes", {"x": each}, signature="any_rank")
        assert code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
        if each is given:
            assert expected[0] in (None, code)
            assert expected[1] in (None, text)


def test_strings_that_are_not_what_they_claim(client):
    for content in (b"\xff" * 20, b"\x05abc", b"\x01a", b"\xff\xff\xff\xff\x7f"):
        given = TensorProto(dtype=7, tensor_content=content)
        given.tensor_shape.dim.add(size=2)
        code, text = refusal(client.predict, "text", {"text": given})
        assert (code, text) == ("INVALID_ARGUMENT", "tensor parsing error: text")


def test_names_of_any_length(client):
    for model in ("a" * 1_000_000, "../../etc/passwd", "é", "\0", "half_plus_two/123"):
        code, text = refusal(client.predict, model, ONE)
        assert code == "NOT_FOUND"
        assert len(text) < 2000
    code, text = refusal(client.predict, "half_plus_two", {name * 100_000: f32([1]) for name in "abc"})
    assert code == "INVALID_ARGUMENT"
    assert len(text) < 2000
    assert refusal(client.predict, "half_plus_two", ONE, *["o" * 100_000] * 3)[0] == "INVALID_ARGUMENT"
    assert refusal(client.predict, "half_plus_two", ONE, signature="s" * 1_000_000)[0] == "FAILED_PRECONDITION"
    assert refusal(client.predict, "half_plus_two", ONE, label="l" * 1_000_000)[0] == "INVALID_ARGUMENT"


def test_ten_thousand_inputs_and_tasks(client):
    many = predict_pb2.PredictRequest()
    fill_spec(many.model_spec, "half_plus_two")
    for number in range(10_000):
        many.inputs[str(number)].CopyFrom(tensor(1.0))
    assert refusal(client.send, "Predict", many.SerializeToString())[0] == "INVALID_ARGUMENT"
    tasks = inference_pb2.MultiInferenceRequest()
    for number in range(10_000):
        fill_spec(tasks.tasks.add(method_name="tensorflow/serving/regress").model_spec, "half_plus_two", str(number))
    fill_examples(tasks.input, example(x=[1.0]))
    assert refusal(client.send, "MultiInference", tasks.SerializeToString())[0] == "INVALID_ARGUMENT"


def test_the_last_of_two_tensors_of_one_name_counts(client):
    first = predict_request("half_plus_two", {"x": f32([[1.0]])})
    second = predict_pb2.PredictRequest(inputs={"x": tensor(f32([[3.0]]))})
    both = first.SerializeToString() + second.SerializeToString()
    response = predict_pb2.PredictResponse.FromString(client.send("Predict", both))
    assert list(response.outputs["y"].float_val) == [3.5]


def test_examples_that_are_none(client):
    request = classification_pb2.ClassificationRequest()
    fill_spec(request.model_spec, "examples")
    # An Input whose list holds bytes that are no Example.
    garbage = b"\xff" * 20
    listed = b"\x0a" + bytes([len(garbage)]) + garbage
    data = request.SerializeToString() + b"\x12" + bytes([len(listed) + 2]) + b"\x0a" + bytes([len(listed)]) + listed
    code, text = refusal(client.send, "Classify", data)
    assert code == "INVALID_ARGUMENT"
    assert "example" in text
    deep = b""
    for _ in range(200):
        deep = b"\x0a" + _length(len(deep)) + deep
    assert refusal(client.send, "Classify", request.SerializeToString() + b"\x12" + _length(len(deep)) + deep)[0] in (
        "INVALID_ARGUMENT",
    )


def test_versions_of_any_number(client):
    for version in (-1, -(2**63), 2**63 - 1):
        assert refusal(client.predict, "half_plus_two", ONE, version=version) == (
            "NOT_FOUND",
            f"Servable not found for request: Specific(half_plus_two, {version})",
        )
        assert refusal(client.status, "half_plus_two", version=version)[0] == "NOT_FOUND"


def test_methods_that_are_not_there(client):
    for method, service in (("PredictStreamed", "PredictionService"), ("SessionRun", "SessionService")):
        assert refusal(client.send, method, b"", service)[0] == "UNIMPLEMENTED"


def _length(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _length(value >> 7)
