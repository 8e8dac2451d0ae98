"""Every route of the native API and every error it answers, on a real server."""

from __future__ import annotations

import datetime
import gzip
import socket

import pytest

from tensorhost import __version__

JSON = {"Content_Type": "application/json"}
ROW = [[1.0, 2.0, 3.0]]


def linear(**fields):
    return {"modelName": "linear", "inputs": ROW, **fields}


def chunks(data, size=65_536):
    yield from (data[start : start + size] for start in range(0, len(data), size))


# -- health and models ------------------------------------------------------------------------------------------------


def test_health_says_starting_until_the_models_are_ready(server, first_health):
    assert first_health == [
        {"path": "/health", "status": 503, "body": {"status": "starting"}},
        {"path": "/health/ready", "status": 503, "body": {"status": "starting"}},
        {"path": "/health/live", "status": 200, "body": {"status": "alive"}},
    ]
    assert (server.get("/health").status, server.get("/health").json) == (200, {"status": "healthy"})
    assert server.get("/health/ready").json == {"status": "healthy"}
    assert server.get("/health/live").json == {"status": "alive"}


@pytest.mark.parametrize("path", ["/health", "/models", "/metrics", "/models/linear"])
def test_head_answers_like_get_without_a_body(server, path):
    answer = server.request("HEAD", path)
    assert answer.status == 200
    assert answer.body == b""
    assert int(answer.headers["content-length"]) > 0


def test_models_lists_what_is_loaded(server):
    listed = {(model["name"], model["version"]): model for model in server.get("/models").json["models"]}
    linear = listed["linear", "1"]
    assert linear["inputShape"] == [None, 3]
    assert linear["outputShape"] == [None, 4]
    assert linear["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, 3]}]
    assert linear["outputs"] == [{"name": "y", "dtype": "float32", "shape": [None, 4]}]
    assert linear["state"] == "AVAILABLE"
    assert linear["runtime"] == "tensorflow"
    assert linear["warmupComplete"] is True
    assert linear["memoryBytes"] >= 0
    assert set(linear["signatures"]) == {"serving_default"}
    assert linear["loadedAt"].endswith("Z")
    loaded_at = datetime.datetime.fromisoformat(linear["loadedAt"])
    age = datetime.datetime.now(datetime.UTC) - loaded_at
    assert datetime.timedelta(0) <= age < datetime.timedelta(hours=1)


def test_several_inputs_and_outputs_have_their_shapes_by_name(server):
    pair = server.get("/models/pair").json
    assert pair["inputShape"] == {"a": [None, 2], "b": [None, 2]}
    assert pair["outputShape"] == {"sum": [None, 2], "product": [None, 2]}
    assert set(pair["signatures"]) == {"serving_default", "negate"}


def test_unknown_ranks_and_dimensions_are_null(server):
    signatures = server.get("/models/shapes").json["signatures"]
    assert signatures["serving_default"]["inputs"][0]["shape"] == [None, None]
    assert signatures["any_rank"]["inputs"][0]["shape"] is None


def test_a_model_shows_its_versions_newest_first_and_its_labels(server):
    digits = server.get("/models/digits").json
    assert [version["version"] for version in digits["versions"]] == ["2", "1"]
    assert digits["version"] == "2"
    assert digits["labels"] == [str(digit) for digit in range(10)]
    assert digits["allVersionLabels"] == {"baseline": "1", "stable": "2"}
    for key, expected in (("1", "1"), ("2", "2"), ("baseline", "1"), ("stable", "2")):
        assert server.get(f"/models/digits/versions/{key}").json["version"] == expected


def test_what_is_broken_is_explained_and_stops_nothing(server):
    unavailable = {model["name"]: model for model in server.get("/models").json["unavailable"]}
    for name, reason in (("corrupt", "saved_model.pb"), ("half", "no model files")):
        assert reason in unavailable[name]["error"]["message"]
        assert reason in server.get(f"/models/{name}/versions/1").json["error"]["message"]
    assert "no version" in server.get("/models/empty").json["problem"]
    assert "bad name" in server.get("/models").json["problems"]


# -- the answer to a good request -------------------------------------------------------------------------------------


def test_predict_answers_predictions_version_and_times(server):
    answer = server.predict("linear", ROW)
    assert set(answer) >= {
        "predictions",
        "modelVersion",
        "inferenceTimeMs",
        "preprocessingTimeMs",
        "postprocessingTimeMs",
    }
    assert answer["modelVersion"] == "1"
    assert answer["inferenceTimeMs"] > 0
    assert answer["preprocessingTimeMs"] >= 0
    assert answer["postprocessingTimeMs"] >= 0


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_content_types_of_json_are_read(server, content_type):
    assert server.request("POST", "/predict", linear(), Content_Type=content_type).status == 200


def test_null_options_are_absent_options(server):
    nothing = dict.fromkeys(("modelVersion", "signatureName", "preprocessing", "postprocessing", "timeoutMs"))
    assert server.predict("linear", ROW, **nothing)["modelVersion"] == "1"


# -- errors -----------------------------------------------------------------------------------------------------------

ERRORS = {
    "unknown route": ("GET", "/nothing", None, {}, 404, "NOT_FOUND", "/nothing"),
    "trailing slash": ("GET", "/models/", None, {}, 404, "NOT_FOUND", "/models/"),
    "line break after a route": ("GET", "/health%0A", None, {}, 404, "NOT_FOUND", ""),
    "GET of predict": ("GET", "/predict", None, {}, 405, "METHOD_NOT_ALLOWED", "POST"),
    "PUT of health": ("PUT", "/health", b"", {}, 405, "METHOD_NOT_ALLOWED", "GET"),
    "GET of load": ("GET", "/models/linear/load", None, {}, 405, "METHOD_NOT_ALLOWED", "POST"),
    "unknown model": ("POST", "/predict", linear(modelName="none"), {}, 404, "MODEL_NOT_FOUND", "digits"),
    "unknown version": ("POST", "/predict", linear(modelVersion="7"), {}, 404, "VERSION_NOT_FOUND", "versions: 1"),
    "empty version": ("POST", "/predict", linear(modelVersion=""), {}, 404, "VERSION_NOT_FOUND", "''"),
    "unknown label": (
        "POST", "/predict", linear(modelName="digits", modelVersion="canary"), {}, 404, "VERSION_NOT_FOUND", "stable",
    ),
    "unknown signature": (
        "POST", "/predict", linear(signatureName="s"), {}, 404, "SIGNATURE_NOT_FOUND", "serving_default",
    ),
    "unknown model shown": ("GET", "/models/none", None, {}, 404, "MODEL_NOT_FOUND", "digits"),
    "unknown version shown": ("GET", "/models/linear/versions/7", None, {}, 404, "VERSION_NOT_FOUND", "versions: 1"),
    "no body": ("POST", "/predict", b"", {}, 400, "INVALID_REQUEST", "empty"),
    "broken JSON": ("POST", "/predict", b'{"modelName": ', {}, 400, "INVALID_REQUEST", "JSON"),
    "two documents": ("POST", "/predict", b"{}{}", {}, 400, "INVALID_REQUEST", "JSON"),
    "no UTF-8": ("POST", "/predict", b'{"modelName":"\xff"}', {}, 400, "INVALID_REQUEST", "UTF-8"),
    "half a surrogate": ("POST", "/predict", b'{"modelName":"\\ud800"}', {}, 400, "INVALID_REQUEST", "surrogate"),
    "deep JSON": ("POST", "/predict", b"[" * 200_000, {}, 400, "INVALID_REQUEST", "depth"),
    "deep closed JSON": (
        "POST", "/predict", b'{"modelName":"linear","inputs":' + b"[" * 90 + b"]" * 90 + b"}", {}, 400,
        "INVALID_REQUEST", "deep",
    ),
    "a list": ("POST", "/predict", [], {}, 400, "INVALID_REQUEST", "object"),
    "no model name": ("POST", "/predict", {"inputs": ROW}, {}, 400, "INVALID_REQUEST", "modelName"),
    "model name a number": ("POST", "/predict", linear(modelName=5), {}, 400, "INVALID_REQUEST", "modelName"),
    "version a number": ("POST", "/predict", linear(modelVersion=1), {}, 400, "INVALID_REQUEST", "modelVersion"),
    "signature a list": ("POST", "/predict", linear(signatureName=[]), {}, 400, "INVALID_REQUEST", "signatureName"),
    "unknown field": ("POST", "/predict", linear(inputz=1), {}, 400, "INVALID_REQUEST", "inputz"),
    "field twice": (
        "POST", "/predict", b'{"modelName":"linear","modelName":"pair","inputs":[]}', {}, 400, "INVALID_REQUEST",
        "twice",
    ),
    "no inputs": ("POST", "/predict", {"modelName": "linear"}, {}, 400, "INVALID_REQUEST", "inputs"),
    "NaN": ("POST", "/predict", linear(inputs=[[1, 2, float("nan")]]), {}, 400, "INVALID_REQUEST", "NaN"),
    "number beyond float64": (
        "POST", "/predict", b'{"modelName":"linear","inputs":[[1,2,1e999]]}', {}, 400, "INVALID_REQUEST", "number",
    ),
    "number beyond float32": (
        "POST", "/predict", linear(inputs=[[1, 2, 1e39]]), {}, 400, "INVALID_INPUT_TYPE", "float32",
    ),
    "text for numbers": ("POST", "/predict", linear(inputs=[["a"] * 3]), {}, 400, "INVALID_INPUT_TYPE", "'x'"),
    "true for numbers": ("POST", "/predict", linear(inputs=[[True] * 3]), {}, 400, "INVALID_INPUT_TYPE", "'x'"),
    "null for numbers": ("POST", "/predict", linear(inputs=[[None] * 3]), {}, 400, "INVALID_INPUT_TYPE", "'x'"),
    "fraction for int32": (
        "POST", "/predict", {"modelName": "echo", "signatureName": "int32", "inputs": [3.5]}, {}, 400,
        "INVALID_INPUT_TYPE", "3.5",
    ),
    "int beyond uint8": (
        "POST", "/predict", {"modelName": "echo", "signatureName": "uint8", "inputs": [256]}, {}, 400,
        "INVALID_INPUT_TYPE", "256",
    ),
    "number for text": ("POST", "/predict", {"modelName": "echo", "inputs": [1]}, {}, 400, "INVALID_INPUT_TYPE", "'x'"),
    "broken base64": (
        "POST", "/predict", {"modelName": "echo", "inputs": [{"b64": "?"}]}, {}, 400, "INVALID_INPUT_TYPE", "base64",
    ),
    "row too long": ("POST", "/predict", linear(inputs=[[1, 2, 3, 4]]), {}, 400, "INVALID_INPUT_SHAPE", "[1, 4]"),
    "rank too low": ("POST", "/predict", linear(inputs=[1, 2, 3]), {}, 400, "INVALID_INPUT_SHAPE", "[3]"),
    "a scalar": ("POST", "/predict", linear(inputs=1), {}, 400, "INVALID_INPUT_SHAPE", "'x'"),
    "ragged": ("POST", "/predict", linear(inputs=[[1, 2, 3], [1, 2]]), {}, 400, "RAGGED_INPUT", "'x'"),
    "ragged deeper": ("POST", "/predict", linear(inputs=[[1, 2, 3], [1, [2], 3]]), {}, 400, "RAGGED_INPUT", "'x'"),
    "missing input": (
        "POST", "/predict", {"modelName": "pair", "inputs": {"a": [[1, 2]]}}, {}, 400, "MISSING_INPUT", "'b'",
    ),
    "inputs not by name": ("POST", "/predict", linear(modelName="pair"), {}, 400, "MISSING_INPUT", "'a', 'b'"),
    "unknown input": (
        "POST", "/predict", {"modelName": "pair", "inputs": {"a": [[1, 2]], "b": [[1, 2]], "c": 1}}, {}, 400,
        "UNKNOWN_INPUT", "'c'",
    ),
    "rows differ": (
        "POST", "/predict", {"modelName": "pair", "inputs": {"a": [[1, 2]], "b": [[1, 2], [3, 4]]}}, {}, 400,
        "INVALID_INPUT_SHAPE", "rows",
    ),
    "unknown preprocessing": (
        "POST", "/predict", linear(preprocessing={"scal": 2}), {}, 400, "INVALID_PREPROCESSING", "preprocessing.scal",
    ),
    "preprocessing a list": ("POST", "/predict", linear(preprocessing=[]), {}, 400, "INVALID_PREPROCESSING", "object"),
    "std of 0": (
        "POST", "/predict", linear(preprocessing={"std": [1, 0, 1]}), {}, 400, "INVALID_PREPROCESSING", "std",
    ),
    "scale of 0": ("POST", "/predict", linear(preprocessing={"scale": 0}), {}, 400, "INVALID_PREPROCESSING", "scale"),
    "mean too short": (
        "POST", "/predict", linear(preprocessing={"mean": [1, 2]}), {}, 400, "INVALID_PREPROCESSING", "mean",
    ),
    "custom step by request": (
        "POST", "/predict", linear(preprocessing={"entry_point": "os:system"}), {}, 400, "INVALID_PREPROCESSING",
        "entry_point",
    ),
    "tokenizer by request": (
        "POST", "/predict",
        {"modelName": "tokens", "inputs": ["a"], "preprocessing": {"tokenize": {"file": "/etc/passwd"}}}, {}, 400,
        "INVALID_PREPROCESSING", "tokenize.file",
    ),
    "unknown postprocessing": (
        "POST", "/predict", linear(postprocessing={"softMax": True}), {}, 400, "INVALID_POSTPROCESSING", "softMax",
    ),
    "topK of 0": ("POST", "/predict", linear(postprocessing={"topK": 0}), {}, 400, "INVALID_POSTPROCESSING", "topK"),
    "steps that exclude each other": (
        "POST", "/predict", linear(postprocessing={"softmax": True, "sigmoid": True}), {}, 400,
        "INVALID_POSTPROCESSING", "softmax",
    ),
    "timeout of 0": ("POST", "/predict", linear(timeoutMs=0), {}, 400, "INVALID_REQUEST", "timeoutMs"),
    "negative timeout": ("POST", "/predict", linear(timeoutMs=-5), {}, 400, "INVALID_REQUEST", "timeoutMs"),
    "timeout as text": ("POST", "/predict", linear(timeoutMs="5"), {}, 400, "INVALID_REQUEST", "timeoutMs"),
    "timeout of true": ("POST", "/predict", linear(timeoutMs=True), {}, 400, "INVALID_REQUEST", "timeoutMs"),
    "timeout too long": ("POST", "/predict", linear(timeoutMs=10**30), {}, 400, "INVALID_REQUEST", "timeoutMs"),
    "form": (
        "POST", "/predict", b"a=1", {"Content_Type": "application/x-www-form-urlencoded"}, 415,
        "UNSUPPORTED_MEDIA_TYPE", "application/json",
    ),
    "brotli": ("POST", "/predict", linear(), {"Content_Encoding": "br"}, 415, "UNSUPPORTED_MEDIA_TYPE", "gzip"),
    "gzip twice": (
        "POST", "/predict", linear(), {"Content_Encoding": "gzip, gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE", "gzip",
    ),
    "no gzip": ("POST", "/predict", linear(), {"Content_Encoding": "gzip"}, 400, "INVALID_REQUEST", "gzip"),
    "half a gzip": (
        "POST", "/predict", gzip.compress(b"{}" * 99)[:-9], {"Content_Encoding": "gzip"}, 400, "INVALID_REQUEST",
        "gzip",
    ),
    "body too large": ("POST", "/predict", b" " * (4 * 2**20 + 1), {}, 413, "PAYLOAD_TOO_LARGE", "4194304"),
    "model not loaded": ("POST", "/predict", linear(modelName="corrupt"), {}, 503, "MODEL_NOT_READY", "saved_model.pb"),
    "model without version": ("POST", "/predict", linear(modelName="empty"), {}, 503, "MODEL_NOT_READY", "no version"),
    "model refuses": ("POST", "/predict", {"modelName": "fragile", "inputs": [-1]}, {}, 400, "INVALID_REQUEST", "-1"),
    "custom step fails": (
        "POST", "/predict", {"modelName": "custom", "inputs": [[-2000, 0]]}, {}, 500, "MODEL_FAILED", "custom step",
    ),
    "custom step refuses": (
        "POST", "/predict", {"modelName": "custom", "inputs": [[2000, 0]]}, {}, 400, "INVALID_PREPROCESSING", "1000",
    ),
    "batch without a batch": ("POST", "/batch-predict", {"modelName": "linear"}, {}, 400, "INVALID_REQUEST", "'batch'"),
    "batch no list": (
        "POST", "/batch-predict", {"modelName": "linear", "batch": {}}, {}, 400, "INVALID_REQUEST", "'batch'",
    ),
    "batch of no rows at once": (
        "POST", "/batch-predict", {"modelName": "linear", "batch": [], "maxBatchSize": 0}, {}, 400, "INVALID_REQUEST",
        "maxBatchSize",
    ),
    "batch with a fraction": (
        "POST", "/batch-predict", {"modelName": "linear", "batch": [], "maxBatchSize": 1.5}, {}, 400,
        "INVALID_REQUEST", "maxBatchSize",
    ),
    "batch to an unknown model": (
        "POST", "/batch-predict", {"modelName": "none", "batch": []}, {}, 404, "MODEL_NOT_FOUND", "digits",
    ),
    "batch to an unknown signature": (
        "POST", "/batch-predict", {"modelName": "linear", "signatureName": "s", "batch": []}, {}, 404,
        "SIGNATURE_NOT_FOUND", "serving_default",
    ),
    "name of dots": ("GET", "/models/%2e%2e", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name encoded twice": ("GET", "/models/%252e%252e", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name with a slash": ("GET", "/models/a%2Fb", None, {}, 404, "NOT_FOUND", ""),
    "name with a backslash": ("GET", "/models/a%5Cb", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name with NUL": ("GET", "/models/a%00b", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name with a line break": ("GET", "/models/linear%0A", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name not in ASCII": ("GET", "/models/%E2%82%AC", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name no UTF-8": ("GET", "/models/%ff", None, {}, 400, "INVALID_REQUEST", "model name"),
    "name too long": ("GET", "/models/" + "a" * 200, None, {}, 400, "INVALID_REQUEST", "model name"),
    "empty name": ("GET", "/models//versions/1", None, {}, 404, "NOT_FOUND", ""),
    "version of dots": ("GET", "/models/linear/versions/%2e%2e", None, {}, 400, "INVALID_REQUEST", "model version"),
}  # fmt: skip

NOT_THE_APPLICATIONS = {"body too large"}
"""Refused while it arrives, before the application sees the request."""


@pytest.mark.parametrize(("name", "case"), ERRORS.items(), ids=ERRORS)
def test_every_error_has_its_status_its_shape_its_log_record_and_is_counted(server, name, case):
    method, path, body, headers, status, code, mentioned = case
    before = server.metrics()
    request_id = f"test-{name.replace(' ', '-')}"
    answer = server.request(method, path, body, **({**headers, "X_Request_Id": request_id}))
    error = answer.error
    assert (answer.status, error["code"]) == (status, code), error
    assert mentioned in error["message"]
    assert error["requestId"] == request_id
    for secret in ("Traceback", "/models/linear/1", "native0", ".py", "Error:", "secret", "<class"):
        assert secret not in answer.body.decode()
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    if status == 405:
        assert answer.headers["allow"] == ", ".join(error["details"]["allowed"])
    if name in NOT_THE_APPLICATIONS:
        server.wait_for("request refused", request_id=request_id, code=code)
        return
    server.wait_for("request failed", request_id=request_id, code=code, status=status)
    assert sum(record.get("request_id") == request_id for record in server.records) == 1
    after = server.metrics()
    assert after["errorCount"] == before["errorCount"] + 1
    assert after["requestCount"] == before["requestCount"] + 1
    assert after["errors"][code] == before["errors"].get(code, 0) + 1
    assert after["errorRate"] == pytest.approx(after["errorCount"] / after["requestCount"])


def test_errors_are_counted_under_the_version_where_it_is_known(server):
    def counts():
        metrics = server.metrics()
        return metrics["models"]["linear"]["1"]["errors"].get("INVALID_INPUT_SHAPE", 0), metrics["unattributedErrors"]

    shape_before, unattributed_before = counts()
    server.refuse("linear", [1, 2])
    assert counts() == (shape_before + 1, unattributed_before)
    server.refuse("no-such-model", [1, 2])
    assert counts()[1]["MODEL_NOT_FOUND"] == unattributed_before.get("MODEL_NOT_FOUND", 0) + 1
    assert "no-such-model" not in server.metrics()["models"]


def test_the_log_has_what_the_client_must_not_see(server):
    error = server.refuse("custom", [[-2000, 0]])
    record = server.wait_for("request failed", request_id=error["requestId"])
    assert record["level"] == "error"
    assert "ZeroDivisionError: secret of the custom step" in record["detail"]


def test_a_request_id_that_is_not_safe_is_replaced(server):
    for unsafe in ("a b", "x" * 129, '"', "é"):
        given = server.get("/health", X_Request_Id=unsafe).headers["x-request-id"]
        assert given != unsafe
        assert len(given) == 16
    assert server.get("/health", X_Request_Id="abc/1").headers["x-request-id"] == "abc/1"
    assert server.get("/health").headers["x-request-id"] != server.get("/health").headers["x-request-id"]


def test_a_body_over_the_limit_is_refused_when_it_comes_in_chunks(server):
    answer = server.request("POST", "/predict", chunks(b" " * (4 * 2**20 + 65_536)))
    assert (answer.status, answer.error["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_good_request_in_chunks(server):
    answer = server.request("POST", "/predict", chunks(b'{"modelName":"linear","inputs":[[1,2,3]]}', 7))
    assert answer.status == 200


def test_the_shape_of_a_list_is_checked_before_memory_is_taken(server):
    # A million empty lists, and lists that promise more elements than there are.
    for inputs in (b"[" + b"[]," * 999_999 + b"[]]", b"[[" + b"1," * 300_000 + b"1],[1]]"):
        body = b'{"modelName":"shapes","inputs":' + inputs + b"}"
        answer = server.request("POST", "/predict", body)
        assert answer.status in (200, 400)
    assert server.get("/health").status == 200


def test_the_version_is_in_the_log(server):
    assert server.wait_for("listening")["version"] == __version__
