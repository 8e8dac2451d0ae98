"""Predict over gRPC, asked by the real stubs; what comes back is checked against TensorFlow and against arithmetic."""

import asyncio
import concurrent.futures

import grpc
import numpy as np
import pytest
from serving_clients import TIMEOUT_S, ServingClient, predict_request, tensor
from serving_models import DEFAULT_SCALE, DTYPES, SLOW_S
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

f32 = np.float32
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def client(serving_server):
    with ServingClient(serving_server.grpc_address) as client:
        yield client


def refusal(client, model, inputs, *outputs, **spec):
    with pytest.raises(grpc.RpcError) as refused:
        client.predict(model, inputs, *outputs, **spec)
    return refused.value.code(), refused.value.details()


ONE = {"x": f32([[1.0]])}


@pytest.mark.parametrize("shape", [[1], [1, 1], [3, 1], [3], [], [1, 1, 1], [0, 1]])
@pytest.mark.parametrize("model", ["half_plus_two", "half_plus_two_tf2"])
def test_whatever_shape_the_model_takes(client, model, shape):
    values = np.arange(np.prod(shape, dtype=int), dtype=f32).reshape(shape)
    response = client.predict(model, {"x": values})
    assert list(response.outputs["y"].float_val) == (values / 2 + 2).ravel().tolist()
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == shape
    assert not response.outputs["y"].tensor_content


def test_the_response_says_what_answered(client):
    for asked in ({}, {"version": 123}, {"signature": "serving_default"}):
        spec = client.predict("half_plus_two", ONE, **asked).model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("half_plus_two", 123, "serving_default")
        assert not spec.version_label
    assert client.predict("two_versions", ONE).model_spec.version.value == 2
    assert client.outputs("two_versions", ONE, version=1)["y"] == 2.5
    assert client.outputs("two_versions", ONE, version=2)["y"] == 3.5


def test_a_label_leads_to_its_version(client, serving_server):
    labelled = {"label": "stable", "version": "1"}
    assert serving_server.request("POST", "/models/two_versions/labels", labelled).status == 200
    assert client.predict("two_versions", ONE, label="stable").model_spec.version.value == 1
    assert [status.version for status in client.status("two_versions", label="stable")] == [1]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("as_content", [True, False])
def test_every_dtype_goes_in_and_comes_out(client, tf, name, as_content):
    dtype = tf.dtypes.as_dtype(name)
    values = {
        "string": np.array([b"", b"a\0\xff", "é".encode()], object),
        "bool": np.array([True, False, True]),
    }.get(name)
    if values is None:
        values = np.array([0, 1, 3]).astype(dtype.as_numpy_dtype)
    given = tf.make_tensor_proto(values) if as_content else as_list(tf, values, dtype)
    outputs = client.outputs("dtypes", {"x": given}, signature=name)
    assert outputs["y"].dtype == tf.make_ndarray(tf.make_tensor_proto(values)).dtype
    assert outputs["y"].tolist() == values.tolist()
    assert outputs["twice"].tolist() == np.stack([values, values], 1).tolist()


def as_list(tf, values, dtype):
    """A TensorProto with a list of values, which TensorFlow makes of Python's, but not of 16-bit floats."""
    if dtype not in (tf.half, tf.bfloat16):
        return tf.make_tensor_proto(values.tolist(), dtype=dtype, shape=values.shape)
    bits = values.view(np.uint16).tolist()
    return TensorProto(
        dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(values.shape).as_proto(), half_val=bits
    )


def test_a_list_shorter_than_its_shape_repeats_its_last_value(client, tf):
    short = tf.make_tensor_proto(0.0, shape=[3, 1])
    short.float_val[:] = [2.0, 4.0]
    assert client.outputs("half_plus_two", {"x": short})["y"].ravel().tolist() == [3, 4, 4]


def test_several_inputs_and_outputs(client):
    inputs = {"a": f32([[1, -2], [3, 4]]), "n": np.int64([1, 2]), "word": np.array([b"x", b"y"], object)}
    outputs = client.outputs("mixed", inputs)
    assert outputs["sum"].tolist() == [0, 9]
    assert outputs["sum"].dtype == np.float64
    assert outputs["flags"].tolist() == [[True, False], [True, True]]
    assert outputs["word"].tolist() == [b"x", b"y"]
    a = {"a": inputs["a"], "scale": f32(3)}
    assert client.outputs("mixed", a, signature="scaled")["y"].tolist() == [[3, -6], [9, 12]]


def test_only_the_outputs_asked_for(client):
    a = {"a": f32([[1, 2]])}
    assert set(client.outputs("mixed", a, signature="total")) == {"total", "y"}
    assert set(client.outputs("mixed", a, "y", signature="total")) == {"y"}
    assert client.outputs("mixed", a, "total", "y", signature="total")["total"] == 3


def test_inputs_with_default_values_may_be_left_out(client):
    x = f32([1, 2])
    outputs = client.outputs("defaults", {"x": x})
    assert outputs["y"].tolist() == (x * DEFAULT_SCALE).tolist()
    assert outputs["said"].tolist() == [b"hello there"] * 2
    outputs = client.outputs("defaults", {"x": x, "scale": f32([10]), "word": np.array(b"you", object)})
    assert outputs["y"].tolist() == [10, 20]
    assert outputs["said"].tolist() == [b"hello you"] * 2
    code, text = refusal(client, "defaults", {"scale": f32([10])})
    assert code is INVALID
    assert text.startswith("Signature input alias: x(feed name: ")
    assert text.endswith("to be in the request {scale}, or default input alias set: scale,word")


@pytest.mark.parametrize("model", ["tflite", "tflite_metadata"])
def test_tflite_models(client, model):
    assert client.outputs(model, {"x": f32([[1], [4]])})["y"].tolist() == [[2.5], [4]]


def test_strings_come_back_byte_for_byte(client):
    outputs = client.outputs("text", {"text": np.array([b"a\xff\0", b""], object)})
    assert outputs["doubled_bytes"].tolist() == [b"a\xff\0a\xff\0", b""]
    assert outputs["length"].tolist() == [3, 0]


@pytest.mark.parametrize(
    ("model", "inputs", "outputs", "spec", "code", "text"),
    [
        ("foo", ONE, (), {}, "NOT_FOUND", "Servable not found for request: Latest(foo)"),
        ("foo", ONE, (), {"version": 3}, "NOT_FOUND", "Servable not found for request: Specific(foo, 3)"),
        (
            "half_plus_two",
            ONE,
            (),
            {"version": 99},
            "NOT_FOUND",
            "Servable not found for request: Specific(half_plus_two, 99)",
        ),
        ("half_plus_two", ONE, (), {"label": "foo"}, "INVALID_ARGUMENT", "Unrecognized servable version label: foo"),
        ("half_plus_two", ONE, (), {"label": "123"}, "INVALID_ARGUMENT", "Unrecognized servable version label: 123"),
        ("", ONE, (), {}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            "half_plus_two",
            ONE,
            (),
            {"signature": "foo"},
            "FAILED_PRECONDITION",
            'Serving signature key "foo" not found.',
        ),
        (
            "half_plus_two",
            {},
            (),
            {},
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            "half_plus_two",
            ONE | {"more": f32([1])},
            (),
            {},
            "INVALID_ARGUMENT",
            (
                "input size does not match signature: 2!=1 len({more,x}) != len({x}). "
                "Sent extra: {more}. Missing but required: {}."
            ),
        ),
        (
            "half_plus_two",
            {"z": f32([1])},
            (),
            {},
            "INVALID_ARGUMENT",
            (
                "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
                "Inputs expected to be in the request {z}, or default input alias set: "
            ),
        ),
        (
            "half_plus_two",
            {"x": np.int32([[1]])},
            (),
            {},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but int32 is provided",
        ),
        (
            "half_plus_two",
            {"x": np.array([b"1"], object)},
            (),
            {},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
        ),
        (
            "mixed",
            {"a": f32([[1, 2]]), "n": np.float64([1]), "word": np.array([b""], object)},
            (),
            {},
            "INVALID_ARGUMENT",
            "Expects arg[1] to be int64 but double is provided",
        ),
        (
            "half_plus_two",
            ONE,
            ("z",),
            {},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        ("half_plus_two", ONE, ("y", "y"), {}, "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    ],
)
def test_faults_have_the_codes_and_texts_of_tensorflow_serving(client, model, inputs, outputs, spec, code, text):
    assert refusal(client, model, inputs, *outputs, **spec) == (grpc.StatusCode[code], text)


def test_a_request_without_a_model_spec(client):
    with pytest.raises(grpc.RpcError) as refused:
        client.prediction.Predict(predict_pb2.PredictRequest(inputs={"x": tensor(1.0)}), timeout=TIMEOUT_S)
    assert (refused.value.code(), refused.value.details()) == (INVALID, "Missing ModelSpec")


@pytest.mark.parametrize(
    ("signature", "values"), [("matrix", f32([1, 2, 3])), ("matrix", f32([[1, 2]])), ("image", f32([[1]]))]
)
def test_what_the_model_itself_refuses_is_the_clients_fault(client, signature, values):
    code, text = refusal(client, "shapes", {"x": values}, signature=signature)
    assert code is INVALID
    assert "The model refused the input" in text
    good = {"x": f32([[1, 2, 3]])}
    assert client.outputs("shapes", good, signature="matrix")["y"].tolist() == [[6, 6]]


def test_a_bad_row_never_fails_its_neighbours(client):
    """Thirty-two at once, every fourth of which the model refuses."""
    requests = [predict_request("no_negatives", {"x": f32([-1 if n % 4 == 3 else n * n])}) for n in range(32)]
    calls = [client.prediction.Predict.future(request, timeout=TIMEOUT_S) for request in requests]
    for number, call in enumerate(calls):
        if number % 4 == 3:
            assert call.code() is INVALID
            assert "negative" in call.details()
        else:
            assert list(call.result().outputs["y"].float_val) == [number]


def test_many_threads_of_one_client(client):
    def ask(number):
        return client.outputs("half_plus_two", {"x": f32([[number]] * (number % 5 + 1))})["y"].ravel().tolist()

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for number, answer in enumerate(threads.map(ask, range(200))):
            assert answer == [number / 2 + 2] * (number % 5 + 1)


async def test_the_stubs_of_asyncio(serving_server):
    async with grpc.aio.insecure_channel(serving_server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        requests = [predict_request("half_plus_three", {"x": f32([[number]])}) for number in range(100)]
        answers = await asyncio.gather(*(stub.Predict(request, timeout=TIMEOUT_S) for request in requests))
        assert [answer.outputs["y"].float_val[0] for answer in answers] == [n / 2 + 3 for n in range(100)]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(predict_request("foo", ONE), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_deadline_is_kept(client):
    with pytest.raises(grpc.RpcError) as refused:
        client.prediction.Predict(predict_request("slow", {"x": f32([1])}), timeout=SLOW_S / 6)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.outputs("slow", {"x": f32([1])})["y"].tolist() == [1]


def test_a_call_given_up_takes_nobody_with_it(client):
    given_up = client.prediction.Predict.future(predict_request("slow", {"x": f32([1])}), timeout=TIMEOUT_S)
    other = client.prediction.Predict.future(predict_request("slow", {"x": f32([2])}), timeout=TIMEOUT_S)
    given_up.cancel()
    assert list(other.result().outputs["y"].float_val) == [2]


def test_large_tensors_go_through(client):
    values = np.arange(600_000, dtype=f32).reshape(-1, 1)
    assert np.array_equal(client.outputs("half_plus_two", {"x": values})["y"], values / 2 + 2)
