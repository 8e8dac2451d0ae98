"""KServe's clients, of REST and of gRPC, ask a real server; answers are compared with what the models compute."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tests.clients.kserve_package import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RequestedOutput,
    RESTConfig,
)

ROWS = np.float32([[1, 2, 3, 4], [5, 6, 7, 8]])
TYPED: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False]]),
    **{f"INT{bits}": np.array([[-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.array([[0, 2**bits - 1]], f"uint{bits}") for bits in (8, 16, 32, 64)},
    "FP32": np.float32([[-1.5, 1e30]]),
    "FP64": np.array([[-0.1, 1e300]]),
    "BYTES": np.array([["ä", ""]], object),
}
"""One row for each input of the model ``typed``: all datatypes that KServe has, but FP16, which it sends as no JSON."""


@pytest.fixture
def url(server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def rest():
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        yield client


@pytest.fixture
async def first_protocol():
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        yield client


@pytest.fixture
async def over_grpc(server):
    async with InferenceGRPCClient(server.grpc_address, retries=0) as client:
        yield client


def given(name: str, array: np.ndarray, datatype: str, *, binary: bool = True) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def typed(*, binary: bool) -> list[InferInput]:
    return [given(name.lower(), array, name, binary=binary) for name, array in TYPED.items()]


def as_texts(array: np.ndarray) -> np.ndarray:
    """Strings as text: what is answered as binary data comes as bytes over gRPC."""
    decoded = [value.decode() if isinstance(value, bytes) else value for value in array.ravel()]
    return np.array(decoded, object).reshape(array.shape)


def assert_echoed(response: Any) -> None:
    answered = {output.name: output for output in response.outputs}
    assert set(answered) == {f"{name.lower()}_out" for name in TYPED}
    for name, array in TYPED.items():
        output = answered[f"{name.lower()}_out"]
        found = output.as_numpy()
        assert (output.datatype, found.dtype) == (name, array.dtype)
        np.testing.assert_array_equal(as_texts(found) if name == "BYTES" else found, array)


# -- REST, protocol v2 -----------------------------------------------------------------------------------------------


async def test_health(rest, url):
    assert await rest.is_server_live(url) is True
    assert await rest.is_server_ready(url) is True
    assert await rest.is_model_ready(url, "identity") is True
    assert await rest.is_model_ready(url, "nope") is False


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("wants_binary", [False, True])
async def test_numbers(rest, url, binary, wants_binary):
    asked = InferRequest(
        "identity",
        [given("x", ROWS, "FP32", binary=binary)],
        request_id="mine",
        parameters={"binary_data_output": wants_binary},
    )
    response = await rest.infer(url, asked, model_name="identity")
    assert (response.id, response.model_name) == ("mine", "identity")
    np.testing.assert_array_equal(response.get_output_by_name("y").as_numpy(), 2 * ROWS)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("wants_binary", [False, True])
async def test_every_datatype(rest, url, binary, wants_binary):
    asked = InferRequest("typed", typed(binary=binary), parameters={"binary_data_output": wants_binary})
    assert_echoed(await rest.infer(url, asked, model_name="typed"))


@pytest.mark.parametrize("wants_binary", [False, True])
async def test_half_precision(rest, url, wants_binary):
    halves = np.float16([[1.5, -65504]])
    asked = InferRequest("half", [given("fp16", halves, "FP16")], parameters={"binary_data_output": wants_binary})
    output = (await rest.infer(url, asked, model_name="half")).get_output_by_name("fp16_out")
    assert (output.datatype, output.as_numpy().dtype) == ("FP16", np.float16)
    np.testing.assert_array_equal(output.as_numpy(), halves)


@pytest.mark.parametrize("binary", [False, True])
async def test_texts_and_outputs_by_name(rest, url, binary):
    texts = np.array(["you", "ö"], object)
    wanted = [RequestedOutput("said", {"binary_data": binary}), RequestedOutput("length")]
    asked = InferRequest("text", [given("text", texts, "BYTES", binary=binary)], request_outputs=wanted)
    response = await rest.infer(url, asked, model_name="text")
    assert [output.name for output in response.outputs] == ["said", "length"]
    assert as_texts(response.outputs[0].as_numpy()).tolist() == [["hello you"], ["hello ö"]]
    assert response.outputs[1].as_numpy().tolist() == [[3], [2]]


@pytest.mark.parametrize("data", [ROWS, ROWS.ravel().tolist(), ROWS.tolist()])
async def test_data_as_they_are(rest, url, data):
    asked = InferRequest("identity", [InferInput("x", [2, 4], "FP32", data)])
    response = await rest.infer(url, asked, model_name="identity")
    np.testing.assert_array_equal(response.get_output_by_name("y").as_numpy(), 2 * ROWS)


async def test_why_nothing_is_answered(rest, url):
    unknown = InferRequest("identity", [given("z", ROWS, "FP32")])
    with pytest.raises(httpx.HTTPStatusError, match="unexpected inference input 'z' for model 'identity', '400 "):
        await rest.infer(url, unknown, model_name="identity")
    with pytest.raises(httpx.HTTPStatusError, match="Request for unknown model: 'nope' is not found, '404 "):
        await rest.infer(url, unknown, model_name="nope")


# -- REST, protocol v1, which is TensorFlow Serving's ----------------------------------------------------------------


async def test_protocol_v1(first_protocol, url):
    assert await first_protocol.is_server_live(url) is True
    answer = await first_protocol.infer(url, {"instances": ROWS.tolist()}, model_name="identity")
    assert answer == {"predictions": (2 * ROWS).tolist()}
    with pytest.raises(httpx.HTTPStatusError, match="'404 Not Found'"):
        await first_protocol.infer(url, {"instances": ROWS.tolist()}, model_name="nope")


async def test_nothing_is_explained(first_protocol, url):
    with pytest.raises(httpx.HTTPStatusError, match="Malformed request: POST /v1/models/identity:explain"):
        await first_protocol.explain(url, "identity", {"instances": ROWS.tolist()})


# -- gRPC ------------------------------------------------------------------------------------------------------------


async def test_health_over_grpc(over_grpc):
    assert await over_grpc.is_server_live() is True
    assert await over_grpc.is_server_ready() is True
    assert await over_grpc.is_model_ready("identity") is True
    assert await over_grpc.is_model_ready("nope") is False


@pytest.mark.parametrize("binary", [False, True])
async def test_numbers_over_grpc(over_grpc, binary):
    x = given("x", ROWS, "FP32", binary=binary)
    response = await over_grpc.infer(InferRequest("identity", [x], request_id="mine", parameters={"also": 1}))
    assert (response.id, response.model_name, response.model_version) == ("mine", "identity", "1")
    assert response.parameters["also"].int64_param == 1
    np.testing.assert_array_equal(response.get_output_by_name("y").as_numpy(), 2 * ROWS)


@pytest.mark.parametrize("binary", [False, True])
async def test_every_datatype_over_grpc(over_grpc, binary):
    assert_echoed(await over_grpc.infer(InferRequest("typed", typed(binary=binary))))


async def test_half_precision_over_grpc(over_grpc):
    halves = np.float16([[1.5, -65504]])
    response = await over_grpc.infer(InferRequest("half", [given("fp16", halves, "FP16")]))
    np.testing.assert_array_equal(response.get_output_by_name("fp16_out").as_numpy(), halves)


async def test_why_nothing_is_answered_over_grpc(over_grpc):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await over_grpc.infer(InferRequest("identity", [given("z", ROWS, "FP32")]))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "unexpected inference input 'z' for model 'identity'"
