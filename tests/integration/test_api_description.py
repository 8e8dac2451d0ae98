"""What a running server answers, held against the API description that it serves."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from api_contract import Contract
from doc_examples import difference
from native_models import SLOW_S
from native_server import RunningServer, exchange

from tensorhost.demo import demo_models_path
from tensorhost.frontends.native.openapi.operations import OPERATIONS

WINE = {"modelName": "wine", "inputs": [[13.87, 1.9, 2.8, 19.4, 107.0, 2.95, 2.97, 0.37, 1.76, 4.5, 1.25, 3.4, 915.0]]}
TOKEN = "s3cret"


@pytest.fixture(scope="module")
def contract(server: RunningServer) -> Contract:
    return Contract(server.get("/openapi.json").json)


def _routes_without_values():
    return [operation.path for operation in OPERATIONS if operation.method == "GET" and "{" not in operation.path]


@pytest.mark.parametrize("path", _routes_without_values())
def test_every_key_of_every_answer_is_described(server, contract, path):
    answer = contract.check("GET", path, server.get(path))
    assert answer.status == 200
    assert server.request("HEAD", path).headers.keys() == answer.headers.keys()


def test_models_in_every_state_are_described(server, contract):
    listed = server.get("/models").json
    assert listed["unavailable"]
    assert listed["problems"]
    names = {model["name"] for model in (*listed["models"], *listed["unavailable"])}
    for name in names:
        model = contract.check("GET", f"/models/{name}", server.get(f"/models/{name}")).json
        for version in model["versions"]:
            path = f"/models/{name}/versions/{version['version']}"
            contract.check("GET", path, server.get(path))


def test_a_version_that_was_replaced_or_never_was_is_described(server, contract):
    for path in ("/models/nobody", "/models/wine/versions/7", "/models/..x/versions/1", "/models/a%20b"):
        answer = contract.check("GET", path, server.get(path))
        assert answer.status in (400, 404)


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text", "application/json"])
def test_every_form_of_the_metrics_is_described(server, contract, accept):
    server.predict(model="wine", inputs=WINE["inputs"])
    answer = contract.check("GET", "/metrics", server.get("/metrics", Accept=accept))
    assert answer.headers["content-type"].startswith(accept)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (WINE, 200),
        (WINE | {"modelName": "nobody"}, 404),
        (WINE | {"modelVersion": "7"}, 404),
        (WINE | {"signatureName": "nothing"}, 404),
        (WINE | {"inputs": [[1.0, 2.0]]}, 400),
        (WINE | {"inputs": [["a"] * 13]}, 400),
        (WINE | {"inputs": [[1.0], [1.0, 2.0]]}, 400),
        (WINE | {"inputs": {"nothing": [1]}}, 400),
        (WINE | {"inputs": {}}, 400),
        (WINE | {"preprocessing": {"scale": 0}}, 400),
        (WINE | {"postprocessing": {"argmax": True, "topK": 1}}, 400),
        (WINE | {"surprise": 1}, 400),
        (WINE | {"timeoutMs": 1e-9}, 504),
        ({"modelName": "corrupt", "inputs": [1]}, 503),
        ({"modelName": "slow", "inputs": [0.0], "timeoutMs": SLOW_S * 100}, 504),
        ({"modelName": "langid", "inputs": ["Guten Morgen"]}, 200),
    ],
)
def test_answers_of_predict_are_described(server, contract, body, status):
    answer = contract.check("POST", "/predict", server.request("POST", "/predict", body))
    assert answer.status == status, answer.body


def test_results_and_errors_of_items_are_described(server, contract):
    items = [{"inputs": WINE["inputs"]}, {"inputs": [[1]]}, {"inputs": 3, "surprise": 1}, 7, {}]
    answer = server.request("POST", "/batch-predict", {"modelName": "wine", "batch": items})
    results = contract.check("POST", "/batch-predict", answer).json["results"]
    assert ["error" in result for result in results] == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_codings_of_bodies_are_those_described(server, contract, coding, compress):
    described = contract.document["components"]["parameters"]["ContentEncoding"]["schema"]["enum"]
    assert coding in described
    body = compress(json.dumps(WINE).encode())
    answer = server.request("POST", "/predict", body, Content_Encoding=coding)
    assert contract.check("POST", "/predict", answer).status == 200
    refused = server.request("POST", "/predict", body, Content_Encoding="br")
    assert contract.check("POST", "/predict", refused).status == 415


def test_what_the_connection_refuses_is_described(server, contract):
    too_long = server.request("POST", "/predict", b"{}", X_Padding="x" * 40_000)
    assert contract.check("POST", "/predict", too_long).status == 431
    connection = server.connect()
    connection.putrequest("GET", "/models")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    response = connection.getresponse()
    assert str(response.status) in contract.document["paths"]["/models"]["get"]["responses"]
    assert response.status == 413
    connection.close()


def test_methods_and_paths_that_are_not_there_get_the_described_errors(server, contract):
    error = contract.schema("ErrorAnswer")
    wrong = server.request("DELETE", "/models")
    error.validate(wrong.json)
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD")
    missing = server.get("/model")
    error.validate(missing.json)
    assert missing.status == 404


def test_a_client_that_has_the_description_is_not_sent_it_again(server, contract):
    for path in ("/openapi.json", "/docs"):
        etag = server.get(path).headers["etag"]
        again = contract.check("GET", path, server.get(path, If_None_Match=f'"other", {etag}'))
        assert (again.status, again.headers["etag"]) == (304, etag)
        assert "content-length" not in again.headers
        assert server.get(path, If_None_Match='"other"').status == 200


def test_a_connection_goes_on_after_an_answer_without_body(server):
    etag = server.get("/docs").headers["etag"]
    connection = server.connect()
    try:
        answers = [exchange(connection, "GET", "/docs", headers={"If-None-Match": etag}).status for _ in range(3)]
        answers.append(exchange(connection, "GET", "/health").status)
    finally:
        connection.close()
    assert answers == [304, 304, 304, 200]


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.tag == "Inference"],
    ids=lambda operation: operation.id,
)
def test_examples_are_what_the_demo_models_answer(server, contract, operation):
    assert operation.body is not None
    for name, body in operation.body.examples.items():
        answer = contract.check("POST", operation.path, server.request("POST", operation.path, body))
        written = operation.answer["application/json"].examples[name]
        fault = difference(written, answer.json, excerpt=False)
        assert fault is None, f"{name}: {fault}"


def test_the_example_of_a_version_has_the_keys_of_the_demo_model(server):
    example = next(operation for operation in OPERATIONS if operation.id == "getVersion").answer["application/json"]
    fault = difference(example.examples["wine"], server.get("/models/wine/versions/1").json, excerpt=False)
    assert fault is None, fault


def test_answers_of_the_control_routes_are_described(contract):
    with RunningServer(demo_models_path(), TENSORHOST_ADMIN_TOKEN=TOKEN) as running:
        running.wait_for("ready")
        admin = {"Authorization": f"Bearer {TOKEN}"}

        def asked(path, body=None, **headers):
            return contract.check("POST", path, running.request("POST", path, body, **(headers or admin)))

        wrong = asked("/models/wine/unload", Authorization="Bearer wrong")
        assert (wrong.status, wrong.headers["www-authenticate"]) == (401, "Bearer")
        assert asked("/models/wine/unload", {"version": "1"}).json == {"name": "wine", "version": "1", "state": "END"}
        assert asked("/models/wine/load", {"version": "1"}).json["state"] == "AVAILABLE"
        assert "versions" in asked("/models/wine/load").json
        assert asked("/models/wine/labels", {"label": "next", "version": "1"}).json["versionLabels"] == ["next"]
        assert asked("/models/wine/labels", {"label": "next", "version": None}).json["versionLabels"] == []
        assert asked("/models/wine/labels", {"version": "1"}).status == 400
        assert asked("/models/wine/labels", {"label": "next", "version": "7"}).status == 404
        assert asked("/models/wine/unload").json["version"] is None
        assert asked("/models/wine/labels", {"label": "next", "version": "1"}).status == 503
        assert asked("/models/nobody/load").status == 404
        assert asked("/models/wine/load", {"path": "/etc"}).status == 403
        assert asked("/models/wine/load", {"surprise": 1}).status == 400
        assert running.stop() == 0
