"""Every call of the client, and every way it can fail, against a real HTTP server."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

from tensorhost.client import Client, ClientError, ServerUnreachableError
from tensorhost.core.errors import InvalidInputTypeError, InvalidRequestError


@pytest.fixture
def client(stub):
    with Client(stub.url, timeout_s=10) as client:
        yield client


def test_predict_sends_what_was_given_and_nothing_else(stub, client):
    stub.answers({"predictions": [[1.0]], "modelVersion": "2"})
    answer = client.predict("digits", np.array([[1, 2]], np.float32), version="stable", timeout_ms=50)
    assert answer == {"predictions": [[1.0]], "modelVersion": "2"}
    asked = stub.asked[0]
    assert (asked.method, asked.path) == ("POST", "/predict")
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == {"modelName": "digits", "inputs": [[1, 2]], "modelVersion": "stable", "timeoutMs": 50}


def test_predict_passes_every_option(stub, client):
    client.predict(
        "m", {"a": [1]}, signature="s", preprocessing={"scale": 255.0}, postprocessing={"topK": 2, "labels": None}
    )
    assert stub.asked[0].body == {
        "modelName": "m",
        "inputs": {"a": [1]},
        "signatureName": "s",
        "preprocessing": {"scale": 255.0},
        "postprocessing": {"topK": 2, "labels": None},
    }


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        (lambda client: client.health(), "GET", "/health", None),
        (lambda client: client.model("a.b-c"), "GET", "/models/a.b-c", None),
        (lambda client: client.metrics(), "GET", "/metrics", None),
        (lambda client: client.load("m"), "POST", "/models/m/load", {}),
        (lambda client: client.load("m", "2", "/srv/m"), "POST", "/models/m/load", {"version": "2", "path": "/srv/m"}),
        (lambda client: client.unload("m", "2"), "POST", "/models/m/unload", {"version": "2"}),
    ],
)
def test_each_call_has_its_route(stub, client, call, method, path, body):
    stub.answers({"status": "healthy"})
    assert call(client) == {"status": "healthy"}
    asked = stub.asked[0]
    assert (asked.method, asked.path, asked.body) == (method, path, body)


def test_models_returns_the_list(stub, client):
    stub.answers({"models": [{"name": "m"}]})
    assert client.models() == [{"name": "m"}]


def test_models_refuses_an_answer_without_a_list(stub, client):
    stub.answers({"models": "none"})
    with pytest.raises(ClientError) as caught:
        client.models()
    assert caught.value.code == "INVALID_ANSWER"


def test_health_of_a_draining_server_is_an_answer(stub, client):
    stub.answers({"status": "draining"}, 503)
    assert client.health() == {"status": "draining"}


def test_the_token_is_sent_as_bearer(stub):
    with Client(stub.url, token="secret") as client:
        client.unload("m")
    assert stub.asked[0].headers["authorization"] == "Bearer secret"


def test_without_a_token_there_is_no_authorization(stub, client):
    client.metrics()
    assert "authorization" not in stub.asked[0].headers


def test_a_trailing_slash_of_the_url_is_not_doubled(stub):
    with Client(stub.url + "/") as client:
        client.metrics()
    assert stub.asked[0].path == "/metrics"


def test_a_server_error_arrives_whole(stub, client):
    problem = {"code": "MODEL_NOT_FOUND", "message": "No 'x'.", "details": {"models": ["a"]}, "requestId": "r1"}
    stub.answers({"error": problem}, 404)
    with pytest.raises(ClientError, match=r"^No 'x'\.$") as caught:
        client.predict("x", [[1]])
    error = caught.value
    assert (error.code, error.http_status, error.request_id) == ("MODEL_NOT_FOUND", 404, "r1")
    assert error.details == {"models": ["a"]}


def test_a_bare_server_error_is_enough(stub, client):
    stub.answers({"error": {"code": "INTERNAL", "details": "?"}}, 500)
    with pytest.raises(ClientError, match="INTERNAL") as caught:
        client.metrics()
    assert (caught.value.details, caught.value.request_id) == ({}, None)


@pytest.mark.parametrize(
    ("status", "answer"),
    [(502, b"<html>Bad gateway</html>"), (200, b"[1]"), (200, b""), (500, {"detail": "x"}), (302, {})],
)
def test_an_answer_that_is_not_ours_says_so(stub, client, status, answer):
    stub.answers(answer, status)
    with pytest.raises(ClientError, match=f"answered {status}") as caught:
        client.metrics()
    assert (caught.value.code, caught.value.http_status) == ("INVALID_ANSWER", status)


def test_nothing_listening_is_one_sentence(closed_url):
    with Client(closed_url) as client, pytest.raises(ServerUnreachableError) as caught:
        client.health()
    assert caught.value.message == f"Nothing answers at {closed_url}; is the server running?"


def test_a_server_that_does_not_answer_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout_s=0.05) as client, pytest.raises(ServerUnreachableError, match="in time"):
            client.health()


def test_a_connection_that_breaks_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ServerUnreachableError, match="broke"):
            client.health()
        thread.join()


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "..", "a?b", "a%2fb"])
def test_a_name_that_is_no_name_never_becomes_a_url(stub, client, name):
    for call in (client.model, client.load, client.unload):
        with pytest.raises(InvalidRequestError, match="model name"):
            call(name)
    assert stub.asked == []


def test_inputs_that_cannot_be_sent_are_refused_before(stub, client):
    with pytest.raises(InvalidInputTypeError):
        client.predict("m", np.array([np.nan]))
    assert stub.asked == []


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://host", "http://", "", "http://host:99999999"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="http://host:port"):
        Client(url)


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(stub, closed_url, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", closed_url)
    with Client(stub.url) as client:
        client.metrics()
    assert stub.asked[0].path == "/metrics"
