"""What a path under /v2 means, for whom, and what is none."""

import pytest

from tensorhost.core.errors import MethodNotAllowedError, NotFoundError
from tensorhost.frontends.oip.rest.targets import Api, Target, find_target
from tensorhost.frontends.rpc import Role


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/v2", Target(Api.SERVER)),
        ("GET", "/v2/health/live", Target(Api.LIVE)),
        ("GET", "/v2/health/ready", Target(Api.READY)),
        ("GET", "/v2/models", Target(Api.MODELS)),
        ("GET", "/v2/models/stats", Target(Api.ALL_STATISTICS)),
        ("GET", "/v2/models/m", Target(Api.MODEL, {"name": "m"})),
        ("GET", "/v2/models/m/versions/007", Target(Api.MODEL, {"name": "m", "version": "007"})),
        ("GET", "/v2/models/m/ready", Target(Api.MODEL_READY, {"name": "m"})),
        ("GET", "/v2/models/m/versions/1/ready", Target(Api.MODEL_READY, {"name": "m", "version": "1"})),
        ("GET", "/v2/models/m/config", Target(Api.CONFIG, {"name": "m"})),
        ("GET", "/v2/models/m/versions/1/stats", Target(Api.STATISTICS, {"name": "m", "version": "1"})),
        ("POST", "/v2/models/m/infer", Target(Api.INFER, {"name": "m"})),
        ("POST", "/v2/models/a%2Fb/infer", Target(Api.INFER, {"name": "a/b"})),
        ("POST", "/v2/models/m/versions/2/generate", Target(Api.GENERATE, {"name": "m", "version": "2"})),
        ("POST", "/v2/models/m/generate_stream", Target(Api.GENERATE_STREAM, {"name": "m"})),
        ("POST", "/v2/repository/index", Target(Api.INDEX)),
        ("POST", "/v2/repository/r/index", Target(Api.INDEX, {"repository": "r"})),
        ("POST", "/v2/repository/models/m/load", Target(Api.LOAD, {"name": "m"})),
        ("POST", "/v2/repository/r/models/m/unload", Target(Api.UNLOAD, {"repository": "r", "name": "m"})),
        ("GET", "/v2/trace/setting", Target(Api.TRACE)),
        ("POST", "/v2/models/m/trace/setting", Target(Api.UPDATE_TRACE, {"name": "m"})),
        ("GET", "/v2/logging", Target(Api.LOGGING)),
        ("GET", "/v2/systemsharedmemory/status", Target(Api.SHARED_STATUS)),
        ("GET", "/v2/systemsharedmemory/region/a/status", Target(Api.SHARED_STATUS, {"region": "a"})),
        ("POST", "/v2/systemsharedmemory/unregister", Target(Api.SHARED_UNREGISTER)),
        ("POST", "/v2/cudasharedmemory/region/a/register", Target(Api.CUDA_REGISTER, {"region": "a"})),
    ],
)
def test_paths_mean_their_route(method, path, target):
    assert find_target(method, path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/v2/",
        "/v2/nope",
        "/v2/models/",
        "/v2/models/m/",
        "/v2/models/m/versions/abc",
        "/v2/models/m/versions/-1/infer",
        "/v2/models/m/versions/١",
        "/v2/models/a/b/infer",
        "/v2/models/m/infer\n",
        "/v2/models/" + "m" * 300 + "/nope",
        "/V2",
    ],
)
def test_what_is_no_route_is_not_found(path):
    for method in ("GET", "POST"):
        with pytest.raises(NotFoundError, match=r"^Not Found$"):
            find_target(method, path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("HEAD", "/v2/health/live", ["GET"]),
        ("GET", "/v2/models/m/infer", ["POST"]),
        ("GET", "/v2/repository/index", ["POST"]),
        ("DELETE", "/v2/logging", ["GET", "POST"]),
    ],
)
def test_another_method_is_told_which_ones_there_are(method, path, allowed):
    with pytest.raises(MethodNotAllowedError, match=r"^Method Not Allowed$") as caught:
        find_target(method, path)
    assert caught.value.details["allowed"] == allowed


def test_what_changes_the_server_needs_control():
    assert {api for api in Api if api.role is Role.CONTROL} == {
        Api.LOAD,
        Api.UNLOAD,
        Api.UPDATE_TRACE,
        Api.UPDATE_LOGGING,
        Api.SHARED_REGISTER,
        Api.SHARED_UNREGISTER,
        Api.CUDA_REGISTER,
        Api.CUDA_UNREGISTER,
    }


def test_no_two_routes_answer_the_same():
    assert len({(api.method, api.path) for api in Api}) == len(Api)
