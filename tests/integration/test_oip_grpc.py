"""The Open Inference Protocol over gRPC, asked by Triton's own client against a server process."""

import asyncio
import queue
import threading
import uuid

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.utils.shared_memory as shm
from native_server import RunningServer
from oip_clients import SERVICE, TIMEOUT_S, Stream, given, stub, typed_request, wanted
from oip_models import BEYOND, DATATYPES
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

f32 = np.float32
X = f32([[1, 2, 3, 4]])
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

VALUES = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[65504, -np.inf]], np.float16),
    "BF16": np.array([[3.0, -np.inf]], BFLOAT16),
    "FP32": np.array([[1e-45, np.nan]], np.float32),
    "FP64": np.array([[5e-324, 1e308]], np.float64),
    "BYTES": np.array([[b"", b"\x00\xff\n"]], object),
}
FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@pytest.fixture(scope="module")
def client(oip_server):
    with tritonclient.grpc.InferenceServerClient(oip_server.grpc_address) as client:
        yield client


@pytest.fixture
async def aio_client(oip_server):
    async with tritonclient.grpc.aio.InferenceServerClient(oip_server.grpc_address) as client:
        yield client


def refusal(call, *args, **options):
    with pytest.raises(InferenceServerException) as refused:
        call(*args, **options)
    return refused.value.status().removeprefix("StatusCode."), refused.value.message()


# -- what is told ----------------------------------------------------------------------------------------------------


def test_every_method_of_the_service_is_served(client):
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    missing = []
    for method in methods:
        path = f"/{SERVICE}/{method.name}"
        if method.client_streaming:
            call = client._channel.stream_stream(path)(iter([]), timeout=TIMEOUT_S)
            assert list(call) == []
            continue
        try:
            client._channel.unary_unary(path)(b"", timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED and "not supported" not in error.details():
                missing.append((method.name, error.details()))
    assert missing == []


def test_health(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("identity", "2")
    assert not client.is_model_ready("identity", "9")
    assert not client.is_model_ready("nope")
    assert refusal(client.is_model_ready, "identity", "abc")[0] == "INVALID_ARGUMENT"


def test_metadata(client):
    assert client.get_server_metadata().name == "tensorhost"
    assert "binary_tensor_data" in client.get_server_metadata().extensions
    told = client.get_model_metadata("identity")
    assert (told.name, list(told.versions), told.platform) == ("identity", ["1", "2"], "tensorflow_savedmodel")
    assert [(each.name, each.datatype, list(each.shape)) for each in told.inputs] == [("x", "FP32", [-1, 4])]
    assert [(each.name, each.datatype, list(each.shape)) for each in told.outputs] == [("y", "FP32", [-1, 4])]
    assert list(client.get_model_metadata("identity", "1").versions) == ["1"]
    every = client.get_model_metadata("datatypes")
    assert {each.name: each.datatype for each in every.inputs} == {name.lower(): name for name in DATATYPES}


def test_what_is_not_there_has_no_metadata(client):
    nope = ("NOT_FOUND", "Request for unknown model: 'nope' is not found")
    assert refusal(client.get_model_metadata, "nope") == nope
    assert refusal(client.get_model_config, "nope") == nope
    version = ("NOT_FOUND", "Request for unknown model: 'identity' version 99 is not found")
    assert refusal(client.get_model_metadata, "identity", "99") == version
    assert refusal(client.get_model_config, "identity", "99") == version
    assert refusal(client.get_model_metadata, "identity", "abc")[0] == "INVALID_ARGUMENT"
    assert refusal(client.get_inference_statistics, "nope")[0] == "INVALID_ARGUMENT"


def test_config(client):
    config = client.get_model_config("identity").config
    assert (config.name, config.platform) == ("identity", "tensorflow_savedmodel")
    assert config.max_batch_size == 32
    assert [(each.name, each.data_type, list(each.dims)) for each in config.input] == [("x", 11, [4])]
    assert config.HasField("dynamic_batching")
    assert client.get_model_config("slow").config.max_batch_size == 0


def test_statistics_count_what_was_asked(client):
    def counted():
        (stats,) = client.get_inference_statistics("simple", "1").model_stats
        return stats

    before = counted()
    rows = np.ones((3, 16), np.int32)
    client.infer("simple", [given("INPUT0", rows), given("INPUT1", rows)])
    refusal(client.infer, "simple", [given("INPUT0", rows)])
    after = counted()
    assert after.inference_count - before.inference_count == 3
    assert after.execution_count - before.execution_count == 1
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert after.last_inference > before.last_inference
    assert sum(each.compute_infer.count for each in after.batch_stats) == after.execution_count
    assert {(each.name, each.version) for each in client.get_inference_statistics().model_stats} >= {
        ("identity", "1"),
        ("identity", "2"),
    }


# -- asking a model --------------------------------------------------------------------------------------------------


def test_infer(client):
    result = client.infer(
        "identity", [given("x", X)], request_id="one", parameters={"mine": 3, "text": "t", "on": True}
    )
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("identity", "2", "one")
    assert (result.as_numpy("y") == 2 * X).all()
    echoed = response.parameters
    assert (echoed["mine"].int64_param, echoed["text"].string_param, echoed["on"].bool_param) == (3, "t", True)
    assert (client.infer("identity", [given("x", X)], model_version="1").as_numpy("y") == X).all()
    assert client.infer("identity", [given("x", X)]).get_response().id == ""
    assert client.infer("identity", [given("x", X[:0])]).as_numpy("y").shape == (0, 4)


def test_every_datatype_as_raw_contents(client):
    inputs = [given(name.lower(), values) for name, values in VALUES.items()]
    result = client.infer("datatypes", inputs)
    for name, values in VALUES.items():
        output = result.get_output(f"{name.lower()}_out")
        assert output.datatype == name
        assert not output.HasField("contents")
        found = result.as_numpy(f"{name.lower()}_out")
        if name == "BYTES":
            assert found.tolist() == values.tolist()
        else:
            assert (found.dtype, found.tobytes()) == (values.dtype, values.tobytes())


def test_every_datatype_as_typed_contents(client):
    request = typed_request("typed")
    for name, field in FIELDS.items():
        added = request.inputs.add(name=name.lower(), datatype=name, shape=[1, 2])
        getattr(added.contents, field).extend(VALUES[name].reshape(-1).tolist())
    response = stub(client).ModelInfer(request, timeout=TIMEOUT_S)
    assert not response.raw_output_contents
    answered = {output.name.removesuffix("_out").upper(): output for output in response.outputs}
    assert answered.keys() == FIELDS.keys()
    for name, field in FIELDS.items():
        assert (answered[name].datatype, list(answered[name].shape)) == (name, [1, 2])
        found = getattr(answered[name].contents, field)
        assert np.array_equal(np.array(found, VALUES[name].dtype), VALUES[name].ravel(), equal_nan=name == "FP32")


def test_texts(client):
    words = np.array(["a", "é", ""], object)
    for texts in (words, words.reshape(3, 1)):
        result = client.infer("text", [given("text", texts)])
        assert result.as_numpy("said").tolist() == [[b"hello a"], ["hello é".encode()], [b"hello "]]
        assert result.as_numpy("length").tolist() == [[1], [2], [0]]


def test_requested_outputs_in_their_order(client):
    rows = np.arange(16, dtype=np.int32).reshape(1, 16)
    inputs = [given("INPUT1", rows), given("INPUT0", rows * 3)]
    result = client.infer("simple", inputs, outputs=[wanted("OUTPUT1"), wanted("OUTPUT0")])
    assert [output.name for output in result.get_response().outputs] == ["OUTPUT1", "OUTPUT0"]
    assert (result.as_numpy("OUTPUT1") == rows * 2).all()
    assert (result.as_numpy("OUTPUT0") == rows * 4).all()
    one = client.infer("simple", inputs, outputs=[wanted("OUTPUT0")])
    assert [output.name for output in one.get_response().outputs] == ["OUTPUT0"]


def test_classification(client):
    result = client.infer("identity", [given("x", f32([[3, 1, 4, 2]]))], outputs=[wanted("y", class_count=2)])
    assert [text.decode() for text in result.as_numpy("y").ravel()] == ["8.000000:2", "6.000000:0"]


def test_compressed_messages(client):
    rows = np.zeros((32, 4), f32)
    result = client.infer("identity", [given("x", rows)], compression_algorithm="gzip")
    assert (result.as_numpy("y") == rows).all()


def test_a_large_tensor_comes_back_whole(client):
    words = np.array([b"w" * 2**20] * 16, object)
    result = client.infer("text", [given("text", words)])
    assert (result.as_numpy("length") == 2**20).all()
    assert result.as_numpy("said").tolist() == [[b"hello " + word] for word in words]


def test_requests_at_once(client):
    answers: queue.Queue = queue.Queue()
    for number in range(64):
        client.async_infer(
            "identity",
            [given("x", X * number)],
            lambda result, error, number=number: answers.put((number, result, error)),
        )
    for _ in range(64):
        number, result, error = answers.get(timeout=TIMEOUT_S)
        assert error is None
        assert (result.as_numpy("y") == 2 * X * number).all()


def test_a_timeout_is_honoured(client):
    slow = [given("x", f32([BEYOND + 0.5]))]
    code, text = refusal(client.infer, "slow", slow, timeout=20_000)
    assert code == "UNAVAILABLE"
    assert "deadline" in text
    assert client.infer("slow", [given("x", f32([1]))], timeout=int(TIMEOUT_S * 1e6), priority=1).as_numpy("y") == [1]


def test_a_less_urgent_request_waits_for_a_later_one(client):
    answered: queue.Queue = queue.Queue()
    for name, priority in [("running", 0), ("low", 3), ("high", 1)]:
        client.async_infer(
            "slow",
            [given("x", f32([BEYOND + 0.3]))],
            lambda result, error, name=name: answered.put((name, error)),
            priority=priority,
        )
    assert [answered.get(timeout=TIMEOUT_S) for _ in range(3)][-1] == ("low", None)


async def test_asyncio_client(aio_client):
    aio = tritonclient.grpc.aio
    assert await aio_client.is_server_live()
    assert await aio_client.is_model_ready("identity")
    asked = [
        aio_client.infer("identity", [given("x", X * number, aio)], request_id=str(number)) for number in range(32)
    ]
    for number, result in enumerate(await asyncio.gather(*asked)):
        assert result.get_response().id == str(number)
        assert (result.as_numpy("y") == 2 * X * number).all()
    with pytest.raises(InferenceServerException, match="unknown model: 'nope'"):
        await aio_client.infer("nope", [given("x", X, aio)])


async def test_asyncio_stream(aio_client):
    aio = tritonclient.grpc.aio

    async def requests():
        for number in range(10):
            yield {
                "model_name": "identity" if number != 5 else "nope",
                "inputs": [given("x", X * number, aio)],
                "request_id": str(number),
            }

    seen = []
    async for result, error in aio_client.stream_infer(requests(), stream_timeout=TIMEOUT_S):
        seen.append("error" if error is not None else int(result.get_response().id))
    assert seen == [0, 1, 2, 3, 4, "error", 6, 7, 8, 9]


# -- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "named"),
    [
        ({"z": X}, (), "'z'"),
        ({"x": X.astype(np.float64)}, (), "'x'"),
        ({"x": X[:, :3]}, (), "'x'"),
        ({"x": X[0]}, (), "'x'"),
        ({"x": np.zeros((33, 4), f32)}, (), "'x'"),
        ({}, (), "'x'"),
        ({"x": X, "z": X}, (), "'z'"),
        ({"x": X}, ("z",), "'z'"),
        ({"x": X}, ("y", "y"), "'y'"),
    ],
)
def test_what_does_not_fit_the_model_is_named(client, inputs, outputs, named):
    tensors, asked = [given(*each) for each in inputs.items()], [wanted(each) for each in outputs]
    code, text = refusal(client.infer, "identity", tensors, outputs=asked or None)
    assert code == "INVALID_ARGUMENT"
    assert named in text


def test_an_input_given_twice_is_named(client):
    assert refusal(client.infer, "identity", [given("x", X), given("x", X)])[0] == "INVALID_ARGUMENT"


def test_models_and_versions_that_are_not_there(client):
    x = [given("x", X)]
    assert refusal(client.infer, "nope", x) == ("NOT_FOUND", "Request for unknown model: 'nope' is not found")
    assert refusal(client.infer, "identity", x, model_version="99")[0] == "NOT_FOUND"
    assert refusal(client.infer, "identity", x, model_version="abc")[0] == "INVALID_ARGUMENT"
    assert refusal(client.infer, "identity", x, model_version="-1")[0] == "INVALID_ARGUMENT"


def test_a_message_may_have_64_mebibytes(client):
    def word(mebibytes):
        return [given("text", np.array([b"w" * (mebibytes * 2**20)], object))]

    assert client.infer("text", word(40)).as_numpy("length") == [40 * 2**20]
    code, text = refusal(client.infer, "text", word(64))
    assert code == "RESOURCE_EXHAUSTED"
    assert f"grpc_max_message_bytes allows {64 * 2**20}." in text


# -- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_answers_in_order_and_goes_on_after_an_error(client):
    with Stream(client) as stream:
        for number in range(200):
            model, shape = ("identity", X) if number % 10 else ("nope", X)
            stream.send(model, [given("x", shape * number)], request_id=str(number))
        for number in range(200):
            result, error = stream.next()
            if number % 10:
                assert error is None
                response = result.get_response()
                assert response.id == str(number)
                assert response.parameters["triton_final_response"].bool_param
                assert (result.as_numpy("y") == 2 * X * number).all()
            else:
                assert "unknown model: 'nope'" in error.message()
                assert result is None or result.get_response().id == str(number)


def test_an_error_on_a_stream_carries_the_id_of_its_request(client):
    requests = [typed_request("nope", id="first"), typed_request("identity", id="second")]
    answers = list(stub(client).ModelStreamInfer(iter(requests), timeout=TIMEOUT_S))
    assert [answer.infer_response.id for answer in answers] == ["first", "second"]
    assert all(answer.error_message for answer in answers)
    assert answers[0].error_message == "Request for unknown model: 'nope' is not found"


def test_a_stream_that_asks_for_statuses_ends_at_the_first_error(client):
    requests = [typed_request("nope", id="first"), typed_request("identity", id="second")]
    call = stub(client).ModelStreamInfer(iter(requests), timeout=TIMEOUT_S, metadata=[("triton_grpc_error", "true")])
    with pytest.raises(grpc.RpcError) as refused:
        list(call)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_cancelled_stream_leaves_nothing_behind(client):
    def calls():
        (stats,) = client.get_inference_statistics("slow").model_stats
        return stats.execution_count

    before = calls()
    with Stream(client) as stream:
        for _ in range(8):
            stream.send("slow", [given("x", f32([BEYOND + 0.3]))])
        assert stream.next()[1] is None
        client.stop_stream(cancel_requests=True)
    # One call at a time, in the order in which they came: all eight would be over before this one.
    assert client.infer("slow", [given("x", f32([1]))]).as_numpy("y") == [1]
    assert calls() - before < 9


def test_a_stream_is_finished_when_the_server_stops(oip_repository):
    options = ("--grpc-port", -1, "--poll-interval-s", 0, "--settle-s", 0, "--inline-threshold-ms", 0)
    with RunningServer(oip_repository / "slow", *options) as server:
        server.wait_for("ready")
        with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
            more = threading.Event()

            def requests():
                for number in range(3):
                    request = typed_request("slow", id=str(number))
                    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1])
                    tensor.contents.fp32_contents.append(BEYOND + 0.3)
                    yield request
                more.wait(TIMEOUT_S)

            call = stub(client).ModelStreamInfer(requests(), timeout=TIMEOUT_S)
            assert next(call).infer_response.id == "0"
            server.process.terminate()
            assert [next(call).infer_response.id for _ in range(2)] == ["1", "2"]
            with pytest.raises(grpc.RpcError) as ended:
                next(call)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            more.set()
        assert server.process.wait(TIMEOUT_S) == 0


# -- control ---------------------------------------------------------------------------------------------------------


def states(client, **options):
    index = client.get_model_repository_index(**options).models
    return {(each.name, each.version): (each.state, each.reason) for each in index}


def test_unload_and_load(client):
    assert states(client)["text", "1"] == ("READY", "")
    client.unload_model("text")
    assert states(client)["text", "1"] == ("UNAVAILABLE", "unloaded")
    assert not client.is_model_ready("text")
    code, _ = refusal(client.infer, "text", [given("text", np.array([b"a"], object))])
    assert code == "NOT_FOUND"
    client.load_model("text")
    assert states(client)["text", "1"] == ("READY", "")
    assert client.infer("text", [given("text", np.array([b"a"], object))]).as_numpy("length") == [1]
    client.unload_model("nope")
    assert refusal(client.load_model, "nope")[0] == "INTERNAL"
    assert refusal(client.load_model, "text", config="{}")[0] == "UNIMPLEMENTED"
    named = service_pb2.RepositoryIndexRequest(repository_name="mine")
    with pytest.raises(grpc.RpcError) as refused:
        stub(client).RepositoryIndex(named, timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_settings(client):
    assert client.get_trace_settings("identity").settings["trace_level"].value == ["OFF"]
    assert refusal(client.update_trace_settings, settings={"trace_file": "/tmp/mine"})[0] == "INVALID_ARGUMENT"
    assert client.get_log_settings().settings["log_info"].bool_param
    assert refusal(client.update_log_settings, {"log_file": "/tmp/mine"})[0] == "INVALID_ARGUMENT"
    changed = client.update_log_settings({"log_verbose_level": 1})
    assert changed.settings["log_verbose_level"].uint32_param == 1
    assert client.update_log_settings({"log_verbose_level": 0}).settings["log_verbose_level"].uint32_param == 0


def test_shared_memory(client):
    key = f"/tensorhost_{uuid.uuid4().hex}"
    region = shm.create_shared_memory_region("in", key, 32)
    try:
        shm.set_shared_memory_region(region, [X])
        client.register_system_shared_memory("here", key, 32)
        (status,) = client.get_system_shared_memory_status("here").regions.values()
        assert (status.name, status.key, status.byte_size) == ("here", key, 32)
        x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        x.set_shared_memory("here", 16)
        y = wanted("y")
        y.set_shared_memory("here", 16, offset=16)
        result = client.infer("identity", [x], outputs=[y])
        said = result.get_output("y")
        assert (said.datatype, list(said.shape), dict(said.parameters)) == ("FP32", [1, 4], {})
        assert (shm.get_contents_as_numpy(region, f32, [1, 4], offset=16) == 2 * X).all()
        # Too small, and outside.
        for bad in ((8, 0), (16, 24)):
            y.set_shared_memory("here", *bad)
            assert refusal(client.infer, "identity", [x], outputs=[y])[0] == "INVALID_ARGUMENT"
        x.set_shared_memory("nowhere", 16)
        assert refusal(client.infer, "identity", [x])[0] in ("INVALID_ARGUMENT", "NOT_FOUND")
        client.unregister_system_shared_memory("here")
        assert not client.get_system_shared_memory_status().regions
    finally:
        shm.destroy_shared_memory_region(region)
    assert refusal(client.register_system_shared_memory, "out", "/tensorhost_/../../etc/passwd", 1)[0] in (
        "INVALID_ARGUMENT",
        "PERMISSION_DENIED",
    )


def test_cuda_shared_memory_is_not_supported(client):
    client.unregister_cuda_shared_memory()
    assert not client.get_cuda_shared_memory_status().regions
    code, text = refusal(client.register_cuda_shared_memory, "gpu", b"AAAA", 0, 16)
    assert (code, "not supported" in text) == ("UNIMPLEMENTED", True)
