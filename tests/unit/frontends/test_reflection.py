"""Server reflection, called as a transport calls it."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as messages

from tensorhost.codecs.protobuf import POOL
from tensorhost.frontends.reflection import Reflection
from tensorhost.frontends.rpc import RpcContext, RpcError, RpcStatus

SERVICES = ["tensorflow.serving.PredictionService", "grpc.health.v1.Health"]


async def ask(*requests, version=0):
    async def stream():
        for request in requests:
            yield request if isinstance(request, bytes) else request.SerializeToString()

    rpc = Reflection(SERVICES, POOL).rpcs()[version]
    return [messages.ServerReflectionResponse.FromString(each) async for each in rpc.handler(stream(), RpcContext())]


def test_both_versions_have_their_path():
    assert [rpc.path for rpc in Reflection(SERVICES, POOL).rpcs()] == [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ]


@pytest.mark.parametrize("version", [0, 1])
async def test_services_are_listed(version):
    (listed,) = await ask(messages.ServerReflectionRequest(list_services=""), version=version)
    assert sorted(each.name for each in listed.list_services_response.service) == sorted(SERVICES)


async def test_a_service_is_described_with_all_that_its_messages_need():
    (described,) = await ask(
        messages.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService")
    )
    files = [FileDescriptorProto.FromString(each) for each in described.file_descriptor_response.file_descriptor_proto]
    names = {file.name for file in files}
    assert {dependency for file in files for dependency in file.dependency} <= names
    assert any(service.name == "PredictionService" for file in files for service in file.service)


async def test_an_unknown_symbol_is_an_error_in_the_stream_which_goes_on():
    unknown, listed = await ask(
        messages.ServerReflectionRequest(file_containing_symbol="no.Such"),
        messages.ServerReflectionRequest(list_services=""),
    )
    assert unknown.error_response.error_code == RpcStatus.NOT_FOUND
    assert listed.list_services_response.service


async def test_bytes_that_are_no_request_end_the_stream():
    with pytest.raises(RpcError) as raised:
        await ask(b"\x0a\xff")
    assert raised.value.status is RpcStatus.INVALID_ARGUMENT
