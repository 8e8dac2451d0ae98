"""Paths of TensorFlow Serving's REST API, and what is none."""

import pytest

from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.rest.targets import Api, Target, find_target


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("POST", "/v1/models/m:predict", Target(Api.PREDICT, "m")),
        ("POST", "/V1/MODELS/m:Predict", Target(Api.PREDICT, "m")),
        ("POST", "/v1/models/m/versions/12:classify", Target(Api.CLASSIFY, "m", 12)),
        ("POST", "/v1/models/m/versions/0012:classify", Target(Api.CLASSIFY, "m", 12)),
        ("POST", "/v1/models/m/versions/9223372036854775807:predict", Target(Api.PREDICT, "m", 2**63 - 1)),
        ("POST", "/v1/models/m/labels/a%2Fb:regress", Target(Api.REGRESS, "m", None, "a/b")),
        ("POST", "/v1/models/a%2Fb%3A:predict", Target(Api.PREDICT, "a/b:")),
        ("GET", "/v1/models/m", Target(Api.STATUS, "m")),
        ("GET", "/v1/models/m/", Target(Api.STATUS, "m")),
        ("GET", "/v1/models/metadata", Target(Api.STATUS, "metadata")),
        ("GET", "/v1/models/m/versions/3", Target(Api.STATUS, "m", 3)),
        ("GET", "/v1/models/m/labels/l", Target(Api.STATUS, "m", None, "l")),
        ("GET", "/v1/models/m/metadata", Target(Api.METADATA, "m")),
        ("GET", "/v1/models/m/versions/3/metadata", Target(Api.METADATA, "m", 3)),
        ("GET", "/v1/models/m/labels/l/METADATA", Target(Api.METADATA, "m", None, "l")),
        ("GET", "/v1/models", Target(Api.LIST)),
        ("GET", "/v1/models/", Target(Api.LIST)),
    ],
)
def test_paths(method: str, path: str, target: Target) -> None:
    assert find_target(method, path) == target


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/m:predict"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/m:predict/"),
        ("POST", "/v1/models/m/versions/x:predict"),
        ("POST", "/v1/models/m/versions/1/labels/l:predict"),
        ("POST", "/v1/models/m/versions/\u0661:predict"),
        ("POST", "/v1/models/m:predict\n"),
        ("GET", "/v1/"),
        ("GET", "/v1/models/m/versions"),
        ("GET", "/v1/models/m/foo"),
        ("PUT", "/v1/models/m"),
        ("HEAD", "/v1/models/m"),
    ],
)
def test_what_is_no_route(method: str, path: str) -> None:
    with pytest.raises(ServingError) as caught:
        find_target(method, path)
    assert caught.value.status is RpcStatus.INVALID_ARGUMENT
    assert caught.value.message == f"Malformed request: {method} {path}"


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", f"/v1/models/m/versions/{2**63}:predict", f"Failed to convert version: {2**63} to numeric."),
        ("GET", "/v1/models/m/versions/" + "9" * 5000, f"Failed to convert version: {'9' * 256} to numeric."),
        ("GET", "/v1/models/versions/1", "Missing model name in request."),
        ("GET", "/v1/models/labels/l", "Missing model name in request."),
        ("GET", "/v1/models/versions/1/metadata", "Missing model name in request."),
    ],
)
def test_what_is_wrong_with_a_route(method: str, path: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        find_target(method, path)
    assert caught.value.message == message


def test_a_very_long_path_is_cut_in_the_message() -> None:
    with pytest.raises(ServingError) as caught:
        find_target("GET", "/v1/" + "x" * 10_000)
    assert len(caught.value.message) < 300
