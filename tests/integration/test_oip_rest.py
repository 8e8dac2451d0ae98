"""The Open Inference Protocol over HTTP, asked of a real server as a real Triton was asked, and as it should not be.

Statuses and texts are those recorded with Triton 2.51, but for what it answers 500 to where a client is at fault.
"""

from __future__ import annotations

import gzip
import http.client
import json
import struct
from typing import Any

import numpy as np
import pytest
from native_server import TIMEOUT_S, Answer, RunningServer, exchange

f32 = np.float32
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
RAW = f32([1, 2, 3, 4]).tobytes()
LENGTH = "Inference-Header-Content-Length"
INFER = "/v2/models/identity/infer"


def ask(server: RunningServer, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """A request whose body is bytes, or text, or what becomes JSON."""
    data = body if isinstance(body, bytes | str | None) else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    try:
        return exchange(connection, method, path, data.encode() if isinstance(data, str) else data, headers)
    finally:
        connection.close()


def infer(server: RunningServer, body: Any, path: str = INFER, **headers: str) -> Any:
    """The answer to an infer request that must succeed."""
    answer = ask(server, "POST", path, body, **headers)
    assert answer.status == 200, answer.body[:2000]
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def refusal(server: RunningServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Status and text of a request that must fail, in the one shape."""
    answer = ask(server, method, path, body, **headers)
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    return answer.status, answer.json["error"]


def with_binary(header: Any, *tensors: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with binary tensor data."""
    text = json.dumps(header).encode()
    return b"".join([text, *tensors]), {LENGTH.replace("-", "_"): str(len(text))}


def binary_input(name: str = "x", shape: Any = (1, 4), datatype: str = "FP32", size: int = 16) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "parameters": {"binary_data_size": size}}


def split(answer: Answer) -> tuple[Any, bytes]:
    """The JSON and the binary part of an answer with binary tensor data."""
    assert answer.status == 200, answer.body[:2000]
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH.lower()])
    return json.loads(answer.body[:length]), answer.body[length:]


# -- what the server and its models are ----------------------------------------------------------------------------


def test_the_server_says_what_it_is(oip_server):
    described = ask(oip_server, "GET", "/v2").json
    assert described["name"] == "tensorhost"
    assert {"binary_tensor_data", "statistics", "model_repository", "classification"} <= set(described["extensions"])
    assert not {"cuda_shared_memory", "sequence"} & set(described["extensions"])


def test_health_is_said_by_status_and_in_the_body(oip_server):
    for path, said in (
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/identity/ready", {"name": "identity", "ready": True}),
        ("/v2/models/identity/versions/1/ready", {"name": "identity", "ready": True}),
    ):
        answer = ask(oip_server, "GET", path)
        assert (answer.status, answer.json) == (200, said)
    for path in ("/v2/models/nope/ready", "/v2/models/identity/versions/99/ready"):
        answer = ask(oip_server, "GET", path)
        assert (answer.status, answer.json["ready"]) == (400, False)
        assert answer.json["error"] == "Model version not ready"


def test_a_model_says_what_it_takes(oip_server):
    described = {
        "name": "identity",
        "versions": ["1", "2"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }
    assert ask(oip_server, "GET", "/v2/models/identity").json == described
    assert ask(oip_server, "GET", "/v2/models/identity/versions/01").json == described | {"versions": ["1"]}
    names = ask(oip_server, "GET", "/v2/models").json["models"]
    assert {"identity", "simple", "datatypes", "text"} <= set(names)
    assert names == sorted(names)


def test_a_models_configuration_is_triton_s(oip_server):
    config = ask(oip_server, "GET", "/v2/models/identity/config").json
    assert (config["name"], config["platform"], config["max_batch_size"]) == ("identity", "tensorflow_savedmodel", 32)
    assert (config["version_policy"], config["input"][0]["dims"]) == ({"all": {}}, [4])
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["dynamic_batching"]["preferred_batch_size"] == [32]
    config = ask(oip_server, "GET", "/v2/models/text/config").json
    assert (config["input"][0]["dims"], config["input"][0]["reshape"]) == ([1], {"shape": []})
    config = ask(oip_server, "GET", "/v2/models/slow/versions/1/config").json
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [-1])
    assert "dynamic_batching" not in config


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/v2/health/live", 405, "Method Not Allowed"),
        ("GET", "/v2/", 404, "Not Found"),
        ("GET", "/v2/nope", 404, "Not Found"),
        ("GET", "/v2/models/identity/versions/abc", 404, "Not Found"),
        ("GET", "/v2/models/nope", 404, "Request for unknown model: 'nope' is not found"),
        ("GET", "/v2/models/nope/config", 404, "Request for unknown model: 'nope' is not found"),
        (
            "GET",
            "/v2/models/identity/versions/99",
            404,
            "Request for unknown model: 'identity' version 99 is not found",
        ),
        ("GET", "/v2/models/nope/stats", 400, "requested model 'nope' is not available"),
        ("GET", "/v2/models/identity/infer", 405, "Method Not Allowed"),
        ("GET", "/v2/repository/index", 405, "Method Not Allowed"),
        ("POST", "/v2/repository/models/nope/load", 500, "failed to load 'nope', failed to poll from model repository"),
        (
            "POST",
            "/v2/repository/models/..%2F..%2Fetc/load",
            500,
            "failed to load '../../etc', failed to poll from model repository",
        ),
        ("POST", "/v2/repository/r/index", 501, "'repository_name' specification is not supported"),
        ("GET", "/v2/models/nope/trace/setting", 404, "Request for unknown model: 'nope' is not found"),
        ("POST", "/v2/cudasharedmemory/region/a/register", 501, "CUDA shared memory is not supported by this server"),
    ],
)
def test_what_is_not_there_is_said_as_triton_says_it(oip_server, method, path, status, text):
    assert refusal(oip_server, method, path) == (status, text)


def test_a_wrong_method_is_told_the_right_one(oip_server):
    answer = ask(oip_server, "HEAD", "/v2/health/live")
    assert (answer.status, answer.headers["allow"], answer.body) == (405, "GET", b"")


# -- JSON ----------------------------------------------------------------------------------------------------------

ANSWER = {
    "model_name": "identity",
    "model_version": "2",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}],
}


def test_json_comes_back_as_json(oip_server):
    assert infer(oip_server, {"inputs": [ROW]}) == ANSWER
    assert infer(oip_server, {"inputs": [ROW | {"data": [[1, 2, 3, 4]]}]}) == ANSWER
    for content_type in ("text/plain", "application/octet-stream"):
        assert infer(oip_server, {"inputs": [ROW]}, Content_Type=content_type) == ANSWER
    first = infer(oip_server, {"inputs": [ROW]}, "/v2/models/identity/versions/1/infer")
    assert (first["model_version"], first["outputs"][0]["data"]) == ("1", [1.0, 2.0, 3.0, 4.0])
    asked = {"id": "abc", "parameters": {"mine": "x", "timeout": 10**7}, "inputs": [ROW], "outputs": [{"name": "y"}]}
    assert infer(oip_server, asked) == {"id": "abc", "parameters": {"mine": "x"}} | ANSWER


@pytest.mark.parametrize(("shape", "data"), [([2], ["a", "bcd"]), ([2, 1], ["a", "bcd"]), ([2, 1], [["a"], ["bcd"]])])
def test_rows_of_single_values_are_answered_as_they_are_shown(oip_server, shape, data):
    asked = {"name": "text", "datatype": "BYTES", "shape": shape, "data": data}
    assert infer(oip_server, {"inputs": [asked]}, "/v2/models/text/infer")["outputs"] == [
        {"name": "length", "datatype": "INT32", "shape": [2, 1], "data": [1, 3]},
        {"name": "said", "datatype": "BYTES", "shape": [2, 1], "data": ["hello a", "hello bcd"]},
    ]


def test_compressed_bodies_are_read_and_written(oip_server):
    body = gzip.compress(json.dumps({"inputs": [ROW]}).encode())
    assert infer(oip_server, body, Content_Encoding="gzip") == ANSWER
    long = "i" * 20_000
    answer = ask(oip_server, "POST", INFER, {"id": long, "inputs": [ROW]}, Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body)) == {"id": long} | ANSWER
    assert refusal(oip_server, "POST", INFER, b"no gzip", Content_Encoding="gzip")[0] == 400


def test_the_highest_values_come_as_classes(oip_server):
    asked = {"inputs": [ROW], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}
    [output] = infer(oip_server, asked)["outputs"]
    assert output == {"name": "y", "datatype": "BYTES", "shape": [1, 2], "data": ["8.000000:3", "6.000000:2"]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "The body is empty"),
        ("{nope", "The body is not valid JSON"),
        ("[]", "The body must be a JSON object"),
        ("{}", "The body has no 'inputs'"),
        ({"inputs": [ROW | {"data": [1, 2, 3, "4"]}]}, "Input 'x' must be float32"),
        ({"inputs": [ROW | {"data": [1, 2, 3, None]}]}, "Input 'x' must be float32"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}, "'inputs[0]': 'shape' is missing"),
        ({"inputs": [ROW], "id": 1}, "The body: 'id' must be a string"),
        ({"inputs": [ROW], "parameters": {"mine": 2**70}}, "The body: the parameter 'mine' is a whole number beyond"),
        ({"inputs": [ROW], "parameters": {"mine": {}}}, "The body: the parameter 'mine' must be a string, a number"),
        ('{"inputs": [], "inputs": []}', "The body has the field 'inputs' twice."),
        ('{"inputs": [], "parameters": {"a": 1, "a": 1}}', "'parameters' has the field 'a' twice."),
        ('{"inputs": [], "parameters": {"a": 1e400}}', "The body is not valid JSON: number is infinity"),
    ],
)
def test_a_clients_fault_is_a_client_s_fault_and_named(oip_server, body, text):
    status, said = refusal(oip_server, "POST", INFER, body)
    assert status == 400
    assert said.startswith(text)


def test_unknown_models_are_not_found(oip_server):
    assert refusal(oip_server, "POST", "/v2/models/nope/infer", {"inputs": [ROW]}) == (
        404,
        "Request for unknown model: 'nope' is not found",
    )
    assert refusal(oip_server, "POST", "/v2/models/identity/versions/99/infer", {"inputs": [ROW]}) == (
        404,
        "Request for unknown model: 'identity' version 99 is not found",
    )


def test_a_request_whose_time_is_up_is_unavailable(oip_server):
    path = "/v2/models/slow/infer"
    asked = {
        "parameters": {"timeout": 50_000},
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1000.5]}],
    }
    answer = ask(oip_server, "POST", path, asked)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "deadline" in answer.json["error"]


# -- binary tensor data --------------------------------------------------------------------------------------------


def test_binary_comes_back_as_it_is_asked_for(oip_server):
    for wish in (
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
        {"parameters": {"binary_data_output": True}},
    ):
        body, headers = with_binary({"inputs": [binary_input()], **wish}, RAW)
        described, binary = split(ask(oip_server, "POST", INFER, body, **headers))
        assert described["outputs"] == [
            {"name": "y", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
        ]
        assert binary == f32([2, 4, 6, 8]).tobytes()
    body, headers = with_binary({"inputs": [binary_input()]}, RAW)
    assert infer(oip_server, body, **headers) == ANSWER


def test_json_and_binary_may_be_mixed(oip_server):
    numbers = np.arange(16, dtype=np.int32)
    asked = {
        "inputs": [
            binary_input("INPUT1", [1, 16], "INT32", 64),
            {"name": "INPUT0", "shape": [1, 16], "datatype": "INT32", "data": [100] * 16},
        ],
        "outputs": [{"name": "OUTPUT1"}, {"name": "OUTPUT0", "parameters": {"binary_data": True}}],
    }
    body, headers = with_binary(asked, numbers.tobytes())
    described, binary = split(ask(oip_server, "POST", "/v2/models/simple/infer", body, **headers))
    assert [output["name"] for output in described["outputs"]] == ["OUTPUT1", "OUTPUT0"]
    assert described["outputs"][0]["data"] == (100 - numbers).tolist()
    np.testing.assert_array_equal(np.frombuffer(binary, np.int32), 100 + numbers)


def test_a_body_may_be_nothing_but_the_only_input(oip_server):
    headers = {"Inference_Header_Content_Length": "0"}
    described, binary = split(ask(oip_server, "POST", INFER, RAW, **headers))
    assert (described["outputs"][0]["shape"], binary) == ([1, 4], f32([2, 4, 6, 8]).tobytes())
    described, binary = split(ask(oip_server, "POST", "/v2/models/text/infer", "wörld", **headers))
    said = "hello wörld".encode()
    assert struct.pack("<I", len(said)) + said in binary
    status, text = refusal(oip_server, "POST", "/v2/models/simple/infer", RAW, **headers)
    assert (status, "model 'simple' has 2 inputs" in text) == (400, True)


@pytest.mark.parametrize(
    ("length", "binary", "text"),
    [
        (None, RAW[:-4], "Input 'x' has 12 bytes of binary data in the body, expected 16"),
        (None, RAW + b"\0", "The body has 1 bytes behind the binary data"),
        ("9999", RAW, f"{LENGTH} must be a whole number from 0 to"),
        ("-1", RAW, f"{LENGTH} must be a whole number from 0 to"),
        ("abc", RAW, f"{LENGTH} must be a whole number from 0 to"),
        ("9" * 400, RAW, f"{LENGTH} must be a whole number from 0 to"),
        ("0", RAW, "input byte size mismatch for input 'x' for model 'identity'. Expected 16, got"),
        ("5", RAW, "The body is not valid JSON"),
    ],
)
def test_lengths_that_do_not_agree_are_refused(oip_server, length, binary, text):
    body, headers = with_binary({"inputs": [binary_input()]}, binary)
    if length is not None:
        headers = {LENGTH.replace("-", "_"): length}
    status, said = refusal(oip_server, "POST", INFER, body, **headers)
    assert status == 400
    assert said.startswith(text)


@pytest.mark.parametrize("size", [12, 2**40, -1, "16"])
def test_a_size_that_the_shape_contradicts_is_refused(oip_server, size):
    body, headers = with_binary({"inputs": [binary_input(size=size)]}, RAW[:12])
    status, said = refusal(oip_server, "POST", INFER, body, **headers)
    assert (status, said.startswith("Input 'x'")) == (400, True)


# -- generate, the repository, settings ----------------------------------------------------------------------------


def test_a_text_is_answered_flat(oip_server):
    asked = {"text": "you", "id": "7", "parameters": {"stream": False}}
    assert ask(oip_server, "POST", "/v2/models/text/generate", asked).json == {
        "id": "7",
        "model_name": "text",
        "model_version": "1",
        "said": "hello you",
        "length": 3,
    }
    for body in ({"text": 7}, {}, {"text": "you", "id": 7}, {"text": "you", "parameters": {"a": [1]}}, "{"):
        assert refusal(oip_server, "POST", "/v2/models/text/generate", body)[0] == 400
        assert refusal(oip_server, "POST", "/v2/models/text/generate_stream", body)[0] == 400


def test_any_model_whose_inputs_are_flat_generates(oip_server):
    # As recorded with Triton.
    assert ask(oip_server, "POST", "/v2/models/identity/generate", {"x": [1, 2, 3, 4]}).json == {
        "model_name": "identity",
        "model_version": "2",
        "y": [2.0, 4.0, 6.0, 8.0],
    }
    asked = {"INPUT0": [1] * 16, "parameters": {"INPUT1": [2] * 16, "priority": 1}}
    answered = ask(oip_server, "POST", "/v2/models/simple/versions/1/generate", asked).json
    assert (answered["OUTPUT0"], answered["OUTPUT1"]) == ([3] * 16, [-1] * 16)
    for body, text in (
        ({"x": [1, 2, 3]}, "The schema can not convert input 'x' to tensor with proper shape: 3 values for [-1, 4]"),
        ({"y": 1}, "expected 1 inputs but got 0 inputs for model 'identity'"),
        ({"x": [1] * 132}, "inference request batch-size must be <= 32 for 'identity'"),
        ({"x": [1] * 4, "parameters": {"x": [1] * 4}}, "input 'x' already exists in request"),
        ({"x": [1] * 4, "timeout": -1}, "parameter 'timeout' must be a whole number"),
    ):
        status, said = refusal(oip_server, "POST", "/v2/models/identity/generate", body)
        assert (status, said[: len(text)]) == (400, text)


def test_a_stream_has_one_event(oip_server):
    answer = ask(oip_server, "POST", "/v2/models/text/generate_stream", {"text": "you\n\ndata: x", "id": "7"})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.body.startswith(b"data: ")
    assert answer.body.endswith(b"}\n\n")
    assert answer.body.count(b"\n") == 2
    event = json.loads(answer.body.removeprefix(b"data: "))
    assert (event["id"], event["said"]) == ("7", "hello you\n\ndata: x")
    # Nothing has been sent when something fails: the status says so, as everywhere.
    slow = {"x": 1000.5, "timeout": 50_000}
    assert refusal(oip_server, "POST", "/v2/models/slow/generate_stream", slow)[0] == 503
    assert refusal(oip_server, "POST", "/v2/models/nope/generate_stream", {})[0] == 404
    assert refusal(oip_server, "GET", "/v2/models/text/generate_stream")[0] == 405


def test_the_index_has_every_version(oip_server):
    index = ask(oip_server, "POST", "/v2/repository/index").json
    assert {"name": "identity", "version": "1", "state": "READY"} in index
    assert index == ask(oip_server, "POST", "/v2/repository/index", {"ready": True}).json
    assert refusal(oip_server, "POST", "/v2/repository/index", {"ready": 1})[0] == 400
    assert refusal(oip_server, "POST", "/v2/repository/index", {"redy": True})[0] == 400


def test_loading_brings_no_files_and_no_configuration(oip_server):
    path = "/v2/repository/models/identity/load"
    assert refusal(oip_server, "POST", path, "{oops")[0] == 400
    for parameters in ({"config": "{}"}, {"file:1/model.x": "QUJD"}):
        assert refusal(oip_server, "POST", path, {"parameters": parameters})[0] == 501


def test_whoever_may_not_control_changes_nothing(oip_server):
    for path in (
        "/v2/repository/models/identity/load",
        "/v2/repository/models/identity/unload",
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/systemsharedmemory/region/a/register",
        "/v2/systemsharedmemory/unregister",
    ):
        assert refusal(oip_server, "POST", path, "{}", X_Forwarded_For="192.0.2.1")[0] == 403
        assert refusal(oip_server, "POST", path, "{}", Origin="https://elsewhere.example")[0] == 403
    assert ask(oip_server, "GET", "/v2/models/identity/ready").status == 200


def test_settings_are_read_and_no_file_is_ever_named(oip_server):
    trace = ask(oip_server, "GET", "/v2/models/identity/trace/setting").json
    assert trace["trace_level"] == ["OFF"]
    assert all(isinstance(value, str) for key, value in trace.items() if key != "trace_level")
    assert refusal(oip_server, "POST", "/v2/trace/setting", {"trace_file": "/etc/passwd"})[0] == 400
    assert refusal(oip_server, "POST", "/v2/logging", {"log_file": "/etc/passwd"})[0] == 400
    logging = ask(oip_server, "GET", "/v2/logging").json
    assert ask(oip_server, "POST", "/v2/logging", {"log_verbose_level": 1}).json == logging | {"log_verbose_level": 1}
    assert ask(oip_server, "POST", "/v2/logging", {"log_verbose_level": 0}).json == logging


def test_the_server_lives_after_all_that(oip_server):
    connection = http.client.HTTPConnection("127.0.0.1", oip_server.port, timeout=TIMEOUT_S)
    for body in (b"\0" * 1000, b"[" * 100_000, b'{"inputs":' * 5000, b'{"inputs":[' + b"{}," * 100_000 + b"{}]}"):
        assert exchange(connection, "POST", INFER, body).status == 400
    connection.close()
    assert infer(oip_server, {"inputs": [ROW]}) == ANSWER
