"""tritonclient over HTTP, with and without asyncio, unmodified, against a real server."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from native_server import TIMEOUT_S
from oip_models import DATATYPES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    import tritonclient.http.aio as triton_aio
    from tritonclient.utils import InferenceServerException, triton_to_np_dtype

X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture(scope="module")
def client(oip_server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{oip_server.port}", concurrency=4) as made:
        yield made


@pytest_asyncio.fixture
async def aio_client(oip_server) -> AsyncIterator[triton_aio.InferenceServerClient]:
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{oip_server.port}") as made:
        yield made


def tensor(name: str, values: np.ndarray[Any, Any], datatype: str, *, binary: bool = True) -> triton.InferInput:
    """An input with its data."""
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def values_of(datatype: str) -> np.ndarray[Any, Any]:
    """Two rows of two values that say whether a type was kept."""
    if datatype == "BYTES":
        return np.array([[b"", b"\xff\x00"], ["höh".encode(), b"x" * 300]], object)
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    kind = np.dtype(triton_to_np_dtype(datatype))
    if kind.kind in "iu":
        return np.array([[np.iinfo(kind).min, np.iinfo(kind).max], [0, 1]], kind)
    return np.array([[-1.5, 0.0], [2.0**-10, 3.0]], np.float32).astype(kind)


def test_health_metadata_and_configuration(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("identity", "2")
    assert not client.is_model_ready("identity", "3")
    assert not client.is_model_ready("nope")
    assert client.get_server_metadata()["name"] == "tensorhost"
    assert client.get_model_metadata("identity", "1")["versions"] == ["1"]
    assert client.get_model_config("simple")["max_batch_size"] == 32
    with pytest.raises(InferenceServerException, match="unknown model: 'nope'"):
        client.get_model_metadata("nope")


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("binary", [True, False])
def test_large_tensors_go_there_and_back(client, binary, compression):
    given = np.random.default_rng(0).random(200_000, np.float32)
    wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
    for _ in range(3):
        result = client.infer(
            "slow",
            [tensor("x", given, "FP32", binary=binary)],
            outputs=wanted,
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        np.testing.assert_array_equal(result.as_numpy("y"), given)


@pytest.mark.parametrize("output_binary", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_go_there_and_back(client, binary, output_binary):
    wanted = [triton.InferRequestedOutput("y", binary_data=output_binary)]
    result = client.infer(
        "identity", [tensor("x", X, "FP32", binary=binary)], outputs=wanted, request_id="q7", parameters={"mine": 3}
    )
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)
    response = result.get_response()
    assert (response["id"], response["model_version"], response["parameters"]) == ("q7", "2", {"mine": 3})
    assert ("data" in result.get_output("y")) is not output_binary


def test_every_datatype_keeps_its_values(client):
    given = {datatype: values_of(datatype) for datatype in DATATYPES}
    inputs = [tensor(datatype.lower(), values, datatype) for datatype, values in given.items()]
    result = client.infer("datatypes", inputs)
    for datatype, values in given.items():
        found = result.as_numpy(f"{datatype.lower()}_out")
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


def test_json_keeps_what_it_can_carry(client):
    given = {datatype: values_of(datatype) for datatype in DATATYPES}
    given["BYTES"] = np.array([["a", "ö"], ["", '"']], object)
    in_json = {datatype for datatype in DATATYPES if datatype not in ("FP16", "BF16")}
    inputs = [
        tensor(datatype.lower(), values, datatype, binary=datatype not in in_json) for datatype, values in given.items()
    ]
    outputs = [
        triton.InferRequestedOutput(f"{datatype.lower()}_out", binary_data=datatype not in in_json)
        for datatype in DATATYPES
    ]
    result = client.infer("datatypes", inputs, outputs=outputs)
    for datatype, values in given.items():
        found = result.as_numpy(f"{datatype.lower()}_out")
        if datatype == "BYTES":
            assert [str(value) for value in found.ravel()] == values.ravel().tolist()
        else:
            np.testing.assert_array_equal(found, values)


def test_several_inputs_and_outputs_in_any_order(client):
    numbers = np.arange(16, dtype=np.int32).reshape(1, 16)
    ones = np.ones_like(numbers)
    inputs = [tensor("INPUT1", ones, "INT32"), tensor("INPUT0", numbers, "INT32", binary=False)]
    result = client.infer("simple", inputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), numbers + 1)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), numbers - 1)
    only = client.infer("simple", inputs, outputs=[triton.InferRequestedOutput("OUTPUT1")])
    assert [output["name"] for output in only.get_response()["outputs"]] == ["OUTPUT1"]


def test_texts(client):
    texts = np.array([b"you", b"\xff\x00"], object)
    for given in (texts, texts.reshape(2, 1)):
        result = client.infer("text", [tensor("text", given, "BYTES")])
        assert result.as_numpy("said").tolist() == [[b"hello you"], [b"hello \xff\x00"]]
        assert result.as_numpy("length").tolist() == [[3], [2]]
    assert client.get_model_metadata("text")["outputs"][0]["shape"] == [-1, 1]
    with pytest.raises(InferenceServerException, match=r"Expected \[-1,1\], got \[1,2\]"):
        client.infer("text", [tensor("text", texts.reshape(1, 2), "BYTES")])


def test_classes(client):
    wanted = [triton.InferRequestedOutput("y", class_count=2)]
    result = client.infer("identity", [tensor("x", X, "FP32")], outputs=wanted)
    assert result.as_numpy("y").tolist() == [[b"6.000000:3", b"4.000000:2"], [b"14.000000:3", b"12.000000:2"]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_both_ways(client, algorithm):
    texts = np.array([b"x" * 1000] * 32, object)
    result = client.infer(
        "text",
        [tensor("text", texts, "BYTES")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("said").tolist() == [[b"hello " + text] for text in texts]


def test_many_requests_at_once(client):
    asked = [
        client.async_infer("identity", [tensor("x", X + number, "FP32")], request_id=str(number))
        for number in range(16)
    ]
    for number, request in enumerate(asked):
        result = request.get_result(timeout=TIMEOUT_S)
        assert result.get_response()["id"] == str(number)
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * (X + number))


def test_bodies_made_by_hand(client):
    body, length = triton.InferenceServerClient.generate_request_body([tensor("x", X, "FP32")])
    answer = client._post("v2/models/identity/infer", body, {"Inference-Header-Content-Length": str(length)}, None)
    parsed = triton.InferenceServerClient.parse_response_body(
        answer.read(), header_length=int(answer.get("Inference-Header-Content-Length"))
    )
    np.testing.assert_array_equal(parsed.as_numpy("y"), 2 * X)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("identity", [tensor("x", X.astype(np.float64), "FP64")], r"\[400\].*'x' data-type is 'FP64'"),
        ("identity", [tensor("x", X.reshape(4, 2), "FP32")], r"\[400\].*unexpected shape for input 'x'"),
        ("identity", [tensor("z", X, "FP32")], r"\[400\].*unexpected inference input 'z'"),
        ("simple", [tensor("INPUT0", np.zeros((1, 16), np.int32), "INT32")], r"\[400\].*'INPUT1'"),
        ("identity", [tensor("x", np.zeros((33, 4), np.float32), "FP32")], r"\[400\].*batch-size must be <= 32"),
        ("nope", [tensor("x", X, "FP32")], r"\[404\].*unknown model: 'nope'"),
    ],
)
def test_refusals_reach_the_caller(client, name, inputs, message):
    with pytest.raises(InferenceServerException, match=message):
        client.infer(name, inputs)


def test_models_are_unloaded_and_loaded(client):
    def versions() -> list[tuple[str, str]]:
        index = client.get_model_repository_index()
        return [(entry["state"], entry.get("reason", "")) for entry in index if entry["name"] == "simple"]

    client.unload_model("simple")
    try:
        assert not client.is_model_ready("simple")
        assert versions() == [("UNAVAILABLE", "unloaded")]
        with pytest.raises(InferenceServerException, match="unknown model: 'simple' has no available versions"):
            client.get_model_metadata("simple")
    finally:
        client.load_model("simple")
    assert client.is_model_ready("simple")
    assert versions() == [("READY", "")]
    client.unload_model("nope", unload_dependents=True)
    with pytest.raises(InferenceServerException, match="failed to load 'nope'"):
        client.load_model("nope")


def test_statistics_count_what_was_asked(client):
    def counts() -> tuple[int, int, int]:
        [stats] = client.get_inference_statistics("identity", "1")["model_stats"]
        inference = stats["inference_stats"]
        return stats["inference_count"], inference["success"]["count"], inference["fail"]["count"]

    before = counts()
    client.infer("identity", [tensor("x", X, "FP32")], model_version="1")
    with pytest.raises(InferenceServerException):
        client.infer("identity", [tensor("x", X.astype(np.float64), "FP64")], model_version="1")
    assert np.subtract(counts(), before).tolist() == [2, 1, 1]


def test_settings(client):
    trace = client.get_trace_settings("identity")
    assert client.update_trace_settings(settings={"trace_rate": None}) == trace
    before = client.get_log_settings()
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0}) == before
    with pytest.raises(InferenceServerException, match="log_file"):
        client.update_log_settings({"log_file": "/etc/passwd"})


def test_cuda_shared_memory_is_none_and_cannot_be(client):
    client.unregister_cuda_shared_memory()
    assert client.get_cuda_shared_memory_status() == []
    with pytest.raises(InferenceServerException, match="CUDA shared memory is not supported"):
        client.register_cuda_shared_memory("region", b"handle", 0, 64)


async def test_asyncio_does_all_of_it(aio_client):
    assert await aio_client.is_server_ready()
    assert await aio_client.is_model_ready("identity", "1")
    assert (await aio_client.get_model_metadata("identity"))["platform"] == "tensorflow_savedmodel"
    for binary in (True, False):
        result = await aio_client.infer(
            "identity",
            [tensor("x", X, "FP32", binary=binary)],
            outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
            request_id="q",
            response_compression_algorithm="gzip",
        )
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)
        assert result.get_response()["id"] == "q"
    texts = np.array([b"you"], object)
    said = await aio_client.infer("text", [tensor("text", texts, "BYTES")])
    assert said.as_numpy("said").tolist() == [[b"hello you"]]
    assert (await aio_client.get_inference_statistics("text"))["model_stats"][0]["name"] == "text"
    assert any(entry["name"] == "text" for entry in await aio_client.get_model_repository_index())
    with pytest.raises(InferenceServerException, match="unknown model: 'nope'"):
        await aio_client.infer("nope", [tensor("x", X, "FP32")])
