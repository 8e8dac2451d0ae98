import asyncio
import threading

import pytest

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.errors import RuntimeMissingError
from tensorhost.frontends.rpc import Role, RpcContext, RpcError, RpcStatus
from tensorhost.frontends.tfserving.services import profiler_service
from tensorhost.frontends.tfserving.services.profiler_service import ProfilerService
from tensorhost.runtimes.tensorflow import profiling
from tensorhost.runtimes.tensorflow.profiling import Profile, ProfilerBusyError, TracerLevels

Request = message_class("tensorflow.ProfileRequest")
Response = message_class("tensorflow.ProfileResponse")
Terminate = message_class("tensorflow.TerminateRequest")
SPACE = message_class("tensorflow.profiler.XSpace")(hostnames=["here"]).SerializeToString()


class FakeProfiles:
    """What ``Profile`` would be: begun, then finished, with a gate in front of the beginning."""

    def __init__(self):
        self.levels = []
        self.finished = 0
        self.failure = None
        self.space = SPACE
        self.may_begin = threading.Event()
        self.may_begin.set()

    def begin(self, levels):
        assert self.may_begin.wait(20)
        if self.failure is not None:
            raise self.failure
        self.levels.append(levels)
        return self

    def finish(self):
        self.finished += 1
        return self.space


@pytest.fixture
def profiles(monkeypatch):
    profiles = FakeProfiles()
    monkeypatch.setattr(profiler_service, "Profile", profiles.begin)
    return profiles


def ask(service, milliseconds=1, **fields):
    request = Request(duration_ms=milliseconds, **fields)
    return asyncio.ensure_future(service.profile(request.SerializeToString(), RpcContext()))


async def terminate(service, session):
    return await service.terminate(Terminate(session_id=session).SerializeToString(), RpcContext())


async def until(condition):
    while not condition():  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.001)


def test_all_of_it_is_for_those_who_may_control():
    assert {rpc.role for rpc in ProfilerService().rpcs()} == {Role.CONTROL}


async def test_the_trace_comes_back_as_older_servers_sent_it(profiles):
    response = Response.FromString(await ask(ProfilerService(), repository_root="/nowhere"))
    assert [(tool.name, tool.data) for tool in response.tool_data] == [("xplane.pb", SPACE)]
    assert not response.empty_trace
    assert profiles.levels == [TracerLevels()]
    assert profiles.finished == 1


async def test_the_trace_comes_back_as_a_message_for_those_who_ask(profiles):
    request_options = {"version": 1, "host_tracer_level": 3, "python_tracer_level": 1, "device_tracer_level": 0}
    response = Response.FromString(await ask(ProfilerService(), emit_xspace=True, opts=request_options))
    assert list(response.xspace.hostnames) == ["here"]
    assert not response.tool_data
    assert profiles.levels == [TracerLevels(3, 1, 0)]


async def test_an_empty_trace_is_called_that(profiles):
    profiles.space = b""
    response = Response.FromString(await ask(ProfilerService()))
    assert response.empty_trace
    assert not response.tool_data


async def test_one_at_a_time(profiles):
    service = ProfilerService()
    first = ask(service, 60_000, session_id="first")
    await until(lambda: profiles.levels)
    with pytest.raises(RpcError) as refused:
        await ask(service)
    assert refused.value.status is RpcStatus.ALREADY_EXISTS
    await terminate(service, "first")
    assert Response.FromString(await first).tool_data
    assert Response.FromString(await ask(service)).tool_data


async def test_only_the_session_named_is_ended(profiles):
    service = ProfilerService()
    with pytest.raises(RpcError) as refused:
        await terminate(service, "")
    assert refused.value.status is RpcStatus.NOT_FOUND
    running = ask(service, 60_000, session_id="a")
    await until(lambda: profiles.levels)
    with pytest.raises(RpcError):
        await terminate(service, "b")
    await terminate(service, "a")
    await running


@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_does_not_leave_the_profiler_running(profiles, begun):
    service = ProfilerService()
    if not begun:
        profiles.may_begin.clear()
    left = ask(service, 60_000)
    await (until(lambda: profiles.levels) if begun else asyncio.sleep(0))
    left.cancel()
    await asyncio.sleep(0)
    profiles.may_begin.set()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert profiles.finished == len(profiles.levels) == 1
    await ask(service)


async def test_a_profile_has_a_longest_time(profiles):
    with pytest.raises(RpcError) as refused:
        await ask(ProfilerService(), 10**9)
    assert refused.value.status is RpcStatus.INVALID_ARGUMENT
    assert not profiles.levels


async def test_somebody_else_profiles_the_process(profiles):
    profiles.failure = ProfilerBusyError("Busy.")
    service = ProfilerService()
    with pytest.raises(RpcError) as refused:
        await ask(service)
    assert refused.value.status is RpcStatus.ALREADY_EXISTS
    profiles.failure = None
    await ask(service)


def test_without_tensorflow_there_is_nothing_to_see(monkeypatch):
    monkeypatch.setitem(profiling.sys.modules, "tensorflow", None)
    with pytest.raises(RuntimeMissingError):
        Profile(TracerLevels())
