"""Requests of the Open Inference Protocol that are no requests: each gets its status, and the server goes on."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from oip_clients import SERVICE, TIMEOUT_S, given, stub, typed_request
from tritonclient.grpc import service_pb2

f32 = np.float32
X = f32([[1, 2, 3, 4]])
INVALID, TOO_LARGE = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"


@pytest.fixture(scope="module")
def client(oip_server):
    with tritonclient.grpc.InferenceServerClient(oip_server.grpc_address) as client:
        yield client


@pytest.fixture(autouse=True)
def still_serving(client):
    """After every test the same server answers as before."""
    yield
    assert (client.infer("identity", [given("x", X)]).as_numpy("y") == 2 * X).all()


def send(client, data, method="ModelInfer"):
    return client._channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=TIMEOUT_S)


def refusal(call, *args, **options):
    with pytest.raises(grpc.RpcError) as refused:
        call(*args, **options)
    return refused.value.code().name, refused.value.details()


def infer(client, request):
    return refusal(stub(client).ModelInfer, request, timeout=TIMEOUT_S)


def request_of(datatype="FP32", shape=(1, 4), raw=None, name="x", model="identity", **contents):
    request = typed_request(model)
    tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
    if contents:
        tensor.contents.CopyFrom(service_pb2.InferTensorContents(**contents))
    if raw is not None:
        request.raw_input_contents.append(raw)
    return request


def test_a_request_cut_off_anywhere(client):
    request = request_of(raw=X.tobytes())
    request.id, request.model_version = "one", "2"
    request.parameters["mine"].string_param = "yes"
    data = request.SerializeToString()
    # The last field is the raw contents, which nothing else of the message stands in for.
    for end in range(len(data)):
        code, text = refusal(send, client, data[:end])
        assert code in (INVALID, "NOT_FOUND"), (end, text)


@pytest.mark.parametrize(
    "method", [each.name for each in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]
)
def test_bytes_that_are_no_message(client, method):
    for data in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 10_000):
        if method == "ModelStreamInfer":
            path = f"/{SERVICE}/{method}"
            (answer,) = client._channel.stream_stream(path)(iter([data]), timeout=TIMEOUT_S)
            assert service_pb2.ModelStreamInferResponse.FromString(answer).error_message
        else:
            assert refusal(send, client, data, method)[0] == INVALID


@pytest.mark.parametrize(
    "request_",
    [
        request_of(raw=X.tobytes()[:-1]),
        request_of(raw=X.tobytes() + b"\0"),
        request_of(raw=b""),
        request_of(),
        request_of(shape=(-1, 4), raw=X.tobytes()),
        request_of(shape=(2**62, 4), raw=X.tobytes()),
        request_of(shape=(4, 1), raw=X.tobytes()),
        request_of(shape=(), raw=X.tobytes()),
        request_of(shape=[1] * 300, raw=X.tobytes()),
        request_of(datatype="", raw=X.tobytes()),
        request_of(datatype="FP33", raw=X.tobytes()),
        request_of(datatype="x" * 100_000, raw=X.tobytes()),
        request_of(datatype="BYTES", raw=X.tobytes()),
        request_of(fp32_contents=[1, 2, 3]),
        request_of(fp32_contents=[1, 2, 3, 4, 5]),
        request_of(fp64_contents=[1, 2, 3, 4]),
        request_of(fp32_contents=[1, 2, 3, 4], int_contents=[1]),
        request_of(raw=X.tobytes(), fp32_contents=[1, 2, 3, 4]),
        request_of(name="", raw=X.tobytes()),
        request_of(name="x" * 100_000, raw=X.tobytes()),
    ],
)
def test_tensors_that_are_not_what_they_claim(client, request_):
    code, text = infer(client, request_)
    assert code == INVALID
    assert text
    assert len(text) < 2000


def test_more_and_fewer_raw_contents_than_inputs(client):
    request = request_of(raw=X.tobytes())
    request.raw_input_contents.append(b"more")
    assert infer(client, request)[0] == INVALID
    two = typed_request("simple")
    for name in ("INPUT0", "INPUT1"):
        two.inputs.add(name=name, datatype="INT32", shape=[1, 16])
    two.raw_input_contents.append(bytes(64))
    assert infer(client, two)[0] == INVALID


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01",
        b"\x05\0\0\0abc",
        b"\xff\xff\xff\xffa",
        b"\x01\0\0\0a\x01\0\0\0b",
        b"\x01\0\0\0ab",
    ],
)
def test_texts_that_are_not_what_they_claim(client, raw):
    code, text = infer(client, request_of("BYTES", [1], raw, "text", "text"))
    assert code == INVALID
    assert "'text'" in text


def test_a_shape_of_millions_costs_nothing(client):
    huge = request_of("BYTES", [2**40], b"\0" * 8, "text", "text")
    assert infer(client, huge)[0] in (INVALID, TOO_LARGE)
    zero = request_of("FP32", [0, 4], b"")
    response = stub(client).ModelInfer(zero, timeout=TIMEOUT_S)
    assert list(response.outputs[0].shape) == [0, 4]
    assert infer(client, request_of("FP32", [0, 2**63 - 1], b""))[0] == INVALID


def test_names_and_ids_of_any_length(client):
    for name in ("a" * 1_000_000, "../../etc/passwd", "\0", "identity/1", ""):
        code, text = infer(client, request_of(raw=X.tobytes(), model=name))
        assert code == "NOT_FOUND"
        assert len(text) < 2000
    request = request_of(raw=X.tobytes())
    request.id = "i" * 100_000
    assert stub(client).ModelInfer(request, timeout=TIMEOUT_S).id == request.id
    for version in ("9" * 10_000, "1.0", " 1", "0x1", "١"):
        request.model_version = version
        assert infer(client, request)[0] == INVALID


def test_ten_thousand_inputs_outputs_and_parameters(client):
    many = typed_request("identity")
    for number in range(10_000):
        many.inputs.add(name=str(number), datatype="FP32", shape=[1])
    assert infer(client, many)[0] == INVALID
    outputs = request_of(raw=X.tobytes())
    for number in range(10_000):
        outputs.outputs.add(name=str(number))
    assert infer(client, outputs)[0] == INVALID
    parameters = request_of(raw=X.tobytes())
    for number in range(10_000):
        parameters.parameters[str(number)].int64_param = number
    assert len(stub(client).ModelInfer(parameters, timeout=TIMEOUT_S).parameters) == 10_000


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("timeout", "int64_param", -1),
        ("timeout", "string_param", "soon"),
        ("timeout", "double_param", 1.5),
        ("priority", "bool_param", True),
        ("priority", "int64_param", -(2**63)),
    ],
)
def test_parameters_that_are_not_what_they_should_be(client, name, field, value):
    request = request_of(raw=X.tobytes())
    setattr(request.parameters[name], field, value)
    code, text = infer(client, request)
    assert code == INVALID
    assert name in text


def test_places_in_shared_memory_that_are_none(client):
    for region, size, offset in (("nowhere", 16, 0), ("", 16, 0), ("nowhere", -1, 0), ("nowhere", 16, 2**62)):
        request = request_of()
        parameters = request.inputs[0].parameters
        parameters["shared_memory_region"].string_param = region
        parameters["shared_memory_byte_size"].int64_param = size
        parameters["shared_memory_offset"].int64_param = offset
        assert infer(client, request)[0] in (INVALID, "NOT_FOUND")


def test_garbage_between_the_requests_of_a_stream(client):
    good = request_of(raw=X.tobytes())
    good.id = "good"
    data = [good.SerializeToString(), b"\xff" * 50, b"", good.SerializeToString()]
    answers = client._channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(data), timeout=TIMEOUT_S)
    parsed = [service_pb2.ModelStreamInferResponse.FromString(answer) for answer in answers]
    assert [bool(answer.error_message) for answer in parsed] == [False, True, True, False]
    assert [answer.infer_response.id for answer in parsed] == ["good", "", "", "good"]


def test_hundreds_of_streams_that_go_away(client):
    calls = []
    for _ in range(200):
        call = client._channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        calls.append(call(iter([request_of(raw=X.tobytes()).SerializeToString()] * 3), timeout=TIMEOUT_S))
    for call in calls:
        call.cancel()
    assert client.is_server_ready()
