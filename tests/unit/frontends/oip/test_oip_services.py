"""The methods of GRPCInferenceService, from bytes to bytes, in front of an engine without a model's runtime."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.codecs.protobuf import POOL, message_class
from tensorhost.frontends.oip import OpenInference, rpcs
from tensorhost.frontends.oip.services import model_infer
from tensorhost.frontends.oip.services.calls import SERVICE
from tensorhost.frontends.oip.services.stream_messages import stream_answer, stream_error
from tensorhost.frontends.rpc import Role, Rpc, RpcContext, RpcError, RpcStatus
from tensorhost.inference import Alone

pytestmark = pytest.mark.looptime

INFER_REQUEST = message_class("inference.ModelInferRequest")
INFER_RESPONSE = message_class("inference.ModelInferResponse")
STREAM_RESPONSE = message_class("inference.ModelStreamInferResponse")
ELSEWHERE = RpcContext(metadata={"via": "a proxy"}, peer="ipv4:127.0.0.1:1")


class Desk:
    """The methods, called as a transport calls them."""

    def __init__(self, **options):
        self.bench = EngineBench(**options)
        self.offered = OpenInference(self.bench.engine, self.bench.manager.settings, Alone(self.bench.manager))
        self.methods = {rpc.path.rpartition("/")[2]: rpc for rpc in rpcs(self.offered)}

    async def ask(self, method, context=None, **fields):
        request = message_class(f"inference.{method}Request")(**fields)
        data = await self.methods[method].handler(request.SerializeToString(), context or RpcContext())
        return message_class(f"inference.{method}Response").FromString(data)

    async def refusal(self, method, context=None, **fields):
        with pytest.raises(RpcError) as refused:
            await self.ask(method, context, **fields)
        return refused.value.status, refused.value.message

    async def stream(self, *requests, **metadata):
        async def arriving():
            for request in requests:
                yield request if isinstance(request, bytes) else request.SerializeToString()

        handler = self.methods["ModelStreamInfer"].handler
        return [
            STREAM_RESPONSE.FromString(answer) async for answer in handler(arriving(), RpcContext(metadata=metadata))
        ]


def infer_request(model="m", identifier="", raw=True, values=((1, 2),)):
    array = np.float32(values)
    request = INFER_REQUEST(model_name=model, id=identifier)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    if raw:
        request.raw_input_contents.append(array.tobytes())
    else:
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return request


async def infer(desk, request, context=None):
    data = await desk.methods["ModelInfer"].handler(request.SerializeToString(), context or RpcContext())
    desk.bench.check_idle()
    return INFER_RESPONSE.FromString(data)


async def test_every_method_of_the_service_is_there_with_its_role():
    service = POOL.FindServiceByName(SERVICE)
    methods = Desk().methods
    assert methods.keys() == {method.name for method in service.methods}
    control = {name for name, rpc in methods.items() if rpc.role is Role.CONTROL}
    assert control == {
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
    }
    assert [name for name, rpc in methods.items() if not isinstance(rpc, Rpc)] == ["ModelStreamInfer"]


async def test_an_answer_has_the_form_of_its_request():
    desk = Desk()
    raw = await infer(desk, infer_request(identifier="a"))
    assert (raw.id, raw.model_name, raw.model_version) == ("a", "m", "1")
    assert raw.raw_output_contents == [np.float32([2, 4]).tobytes()]
    assert not raw.outputs[0].HasField("contents")
    typed = await infer(desk, infer_request(raw=False))
    assert list(typed.outputs[0].contents.fp32_contents) == [2, 4]
    assert not typed.raw_output_contents


async def test_failures_have_tritons_statuses():
    desk = Desk()
    with pytest.raises(RpcError) as refused:
        await infer(desk, infer_request("nope"))
    assert (refused.value.status, refused.value.message) == (
        RpcStatus.NOT_FOUND,
        "Request for unknown model: 'nope' is not found",
    )
    late = RpcContext(deadline=desk.bench.engine.deadline(-1))
    with pytest.raises(RpcError) as refused:
        await infer(desk, infer_request(), late)
    assert refused.value.status is RpcStatus.UNAVAILABLE
    for method in desk.methods.keys() - {"ModelStreamInfer"}:
        with pytest.raises(RpcError) as refused:
            await desk.methods[method].handler(b"\xff", RpcContext())
        assert refused.value.status is RpcStatus.INVALID_ARGUMENT


async def test_a_large_answer_as_typed_contents_is_written_on_a_thread(monkeypatch):
    monkeypatch.setattr(model_infer, "OFF_LOOP_ELEMENTS", 1)
    answer = await infer(Desk(), infer_request(raw=False))
    assert list(answer.outputs[0].contents.fp32_contents) == [2, 4]


async def test_a_stream_answers_each_of_its_requests():
    answers = await Desk().stream(
        infer_request(identifier="a"), infer_request("nope", "b"), b"\xff", infer_request(identifier="d")
    )
    assert [answer.infer_response.id for answer in answers] == ["a", "b", "", "d"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, True, False]
    assert answers[1].error_message == "Request for unknown model: 'nope' is not found"
    assert answers[0].infer_response.parameters["triton_final_response"].bool_param


async def test_a_strict_stream_ends_with_the_status_of_its_first_failure():
    with pytest.raises(RpcError) as refused:
        await Desk().stream(infer_request(), infer_request("nope"), infer_request(), triton_grpc_error="true")
    assert refused.value.status is RpcStatus.NOT_FOUND


async def test_no_request_of_a_stream_goes_on_when_it_is_given_up():
    desk = Desk()

    async def arriving():
        for _ in range(4):
            yield infer_request().SerializeToString()
        await asyncio.Event().wait()

    stream = desk.methods["ModelStreamInfer"].handler(arriving(), RpcContext())
    await anext(stream)
    await stream.aclose()
    desk.bench.check_idle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("identifier", ["", "a", "é" * 100])
def test_what_a_stream_says_are_messages(identifier):
    response = INFER_RESPONSE(model_name="m", id=identifier)
    answer = STREAM_RESPONSE.FromString(stream_answer(response.SerializeToString()))
    assert answer.infer_response == response
    error = STREAM_RESPONSE.FromString(stream_error("wröng", identifier))
    assert (error.error_message, error.infer_response.id) == ("wröng", identifier)
    assert error.HasField("infer_response")


async def test_what_is_told():
    desk = Desk()
    assert (await desk.ask("ServerLive")).live
    assert (await desk.ask("ServerMetadata")).name == "tensorhost"
    assert (await desk.ask("ModelReady", name="m", version="1")).ready
    assert not (await desk.ask("ModelReady", name="m", version="7")).ready
    metadata = await desk.ask("ModelMetadata", name="m")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [("x", "FP32", [-1, 2])]
    assert (await desk.ask("ModelConfig", name="m")).config.name == "m"
    assert [each.name for each in (await desk.ask("ModelStatistics")).model_stats] == ["m"]
    assert (await desk.refusal("ModelMetadata", name="nope"))[0] is RpcStatus.NOT_FOUND
    assert (await desk.refusal("ModelReady", name="m", version="x"))[0] is RpcStatus.INVALID_ARGUMENT
    assert (await desk.refusal("ModelStatistics", name="m", version="x"))[0] is RpcStatus.INVALID_ARGUMENT


async def test_a_server_that_is_about_to_stop_is_not_ready():
    desk = Desk()
    desk.offered.begin_drain()
    assert not (await desk.ask("ServerReady")).ready
    assert (await desk.ask("ServerLive")).live


async def test_settings_are_read_by_everybody_and_changed_by_who_may_control():
    desk = Desk()
    assert (await desk.ask("TraceSetting", ELSEWHERE)).settings["trace_rate"].value == ["1000"]
    assert not (await desk.ask("LogSettings", ELSEWHERE)).settings["log_file"].string_param
    trace = {"trace_rate": message_class("inference.TraceSettingRequest.SettingValue")(value=["1000"])}
    logs = {"log_verbose_level": message_class("inference.LogSettingsRequest.SettingValue")(uint32_param=0)}
    for method, settings in (("TraceSetting", trace), ("LogSettings", logs)):
        assert (await desk.refusal(method, ELSEWHERE, settings=settings))[0] is RpcStatus.PERMISSION_DENIED
        assert (await desk.ask(method, settings=settings)).settings


async def test_shared_memory_that_is_off_says_so():
    desk = Desk()
    status, message = await desk.refusal("SystemSharedMemoryStatus")
    assert status is RpcStatus.UNIMPLEMENTED
    assert "oip_shared_memory" in message
    assert (await desk.refusal("CudaSharedMemoryRegister", name="gpu"))[0] is RpcStatus.UNIMPLEMENTED
    assert not (await desk.ask("CudaSharedMemoryStatus")).regions
    await desk.ask("CudaSharedMemoryUnregister")


async def test_a_load_that_brings_its_model_is_refused():
    parameter = message_class("inference.ModelRepositoryParameter")
    status, message = await Desk().refusal(
        "RepositoryModelLoad", model_name="m", parameters={"file:1/model.pb": parameter(bytes_param=b"x")}
    )
    assert status is RpcStatus.UNIMPLEMENTED
    assert "file:1/model.pb" in message
    assert (await Desk().refusal("RepositoryIndex", repository_name="mine"))[0] is RpcStatus.UNIMPLEMENTED
    index = (await Desk().ask("RepositoryIndex")).models
    assert [(each.name, each.version, each.state) for each in index] == [
        ("m", "0", "UNAVAILABLE"),
        ("m", "1", "READY"),
    ]
