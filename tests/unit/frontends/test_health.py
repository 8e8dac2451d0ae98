"""The gRPC health service, called as a transport calls it."""

import asyncio
from types import SimpleNamespace

import pytest

from tensorhost.codecs.protobuf import message_class
from tensorhost.frontends import health
from tensorhost.frontends.health import Health
from tensorhost.frontends.rpc import RpcContext, RpcError, RpcStatus

Request = message_class("grpc.health.v1.HealthCheckRequest")
Response = message_class("grpc.health.v1.HealthCheckResponse")
Listed = message_class("grpc.health.v1.HealthListResponse")
SERVICE = "tensorflow.serving.PredictionService"


class Service:
    """A health service whose server and models are what a test says."""

    def __init__(self):
        self.models = {"up": True, "down": False}
        self.group = SimpleNamespace(ready=True)
        manager = SimpleNamespace(models=lambda: self.models, find=lambda name: self.models[name] or None)
        self.health = Health([SERVICE], manager, self.group)
        self.handlers = {rpc.path.rpartition("/")[2]: rpc.handler for rpc in self.health.rpcs()}

    async def check(self, service):
        response = await self.handlers["Check"](Request(service=service).SerializeToString(), RpcContext())
        return name_of(response)

    def watch(self, service):
        async def requests():
            yield Request(service=service).SerializeToString()

        return self.handlers["Watch"](requests(), RpcContext())

    async def list(self):
        listed = Listed.FromString(await self.handlers["List"](b"", RpcContext()))
        return {name: name_of(response) for name, response in listed.statuses.items()}


def name_of(response):
    if isinstance(response, bytes):
        response = Response.FromString(response)
    return Response.ServingStatus.Name(response.status)


@pytest.fixture
def service():
    return Service()


@pytest.mark.parametrize("name", ["", SERVICE, "PredictionService", "ModelService", "grpc.health.v1.Health"])
async def test_the_server_and_its_services_serve_when_the_server_is_ready(service, name):
    assert await service.check(name) == "SERVING"
    service.group.ready = False
    assert await service.check(name) == "NOT_SERVING"


async def test_a_model_serves_while_a_version_of_it_does_whether_or_not_the_server_is_ready(service):
    service.group.ready = False
    assert await service.check("up") == "SERVING"
    assert await service.check("down") == "NOT_SERVING"


async def test_nothing_serves_once_the_server_drains(service):
    service.health.begin_drain()
    assert {await service.check(name) for name in ("", SERVICE, "up")} == {"NOT_SERVING"}


async def test_an_unknown_name_is_not_found(service):
    with pytest.raises(RpcError) as raised:
        await service.check("nobody")
    assert raised.value.status is RpcStatus.NOT_FOUND


async def test_all_are_listed(service):
    assert await service.list() == {
        **dict.fromkeys(["", SERVICE, "PredictionService", "ModelService", "grpc.health.v1.Health", "up"], "SERVING"),
        "down": "NOT_SERVING",
    }


async def test_too_many_to_list_is_resource_exhausted(service):
    service.models = dict.fromkeys(map(str, range(1000)), True)
    with pytest.raises(RpcError) as raised:
        await service.list()
    assert raised.value.status is RpcStatus.RESOURCE_EXHAUSTED


async def test_bytes_that_are_no_request_are_an_invalid_argument(service):
    with pytest.raises(RpcError) as raised:
        await service.handlers["Check"](b"\x0a\xff", RpcContext())
    assert raised.value.status is RpcStatus.INVALID_ARGUMENT


async def test_a_watch_tells_each_change_once(service, monkeypatch):
    monkeypatch.setattr(health, "_POLL_S", 0.001)
    watch = service.watch("new")
    assert name_of(await anext(watch)) == "SERVICE_UNKNOWN"
    coming = asyncio.ensure_future(anext(watch))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not coming.done()
    service.models["new"] = False
    assert name_of(await coming) == "NOT_SERVING"
    service.models["new"] = True
    assert name_of(await anext(watch)) == "SERVING"
    service.health.begin_drain()
    assert name_of(await anext(watch)) == "NOT_SERVING"
    await watch.aclose()


async def test_the_number_of_watches_has_a_limit_and_those_that_end_make_room(service, monkeypatch):
    monkeypatch.setattr(health, "_MAX_WATCHES", 1)
    first, second = service.watch(""), service.watch("")
    await anext(first)
    with pytest.raises(RpcError) as raised:
        await anext(second)
    assert raised.value.status is RpcStatus.RESOURCE_EXHAUSTED
    await first.aclose()
    third = service.watch("")
    assert name_of(await anext(third)) == "SERVING"
    await third.aclose()
