"""Every call of both clients, and what is made of every answer, against a real HTTP server."""

from __future__ import annotations

import gzip
import inspect
import socket

import numpy as np
import pytest
from scripted_server import compute, cut_off, refusal, reply

from tensorhost.client import (
    AsyncClient,
    Client,
    ClientError,
    DeadlineExceededError,
    InvalidAnswerError,
    InvalidInputTypeError,
    InvalidRequestError,
    ModelNotFoundError,
    RequestCancelledError,
    ServerUnreachableError,
    transport,
)


def test_both_clients_have_the_same_methods():
    def public(kind):
        names = {name for name in vars(kind) if not name.startswith("_")}
        return {name: list(inspect.signature(getattr(kind, name)).parameters.values()) for name in names}

    sync, asynchronous = public(Client), public(AsyncClient)
    assert {
        "health",
        "models",
        "model",
        "predict",
        "batch_predict",
        "predict_many",
        "load",
        "unload",
        "label_version",
        "metrics",
    } < set(sync)
    assert sync.keys() == asynchronous.keys()
    for name, parameters in sync.items():
        shape = [(one.name, one.kind, one.default) for one in parameters]
        assert shape == [(one.name, one.kind, one.default) for one in asynchronous[name]], name


def test_predict_sends_what_was_given_and_nothing_else(server, client):
    server.will(reply({"predictions": [[1.0]], "modelVersion": "2"}, X_Request_Id="r9"))
    prediction = client.predict("digits", np.array([[1, 2]], np.float32), version="stable")
    assert prediction.answer == {"predictions": [[1.0]], "modelVersion": "2"}
    assert (prediction.version, prediction.request_id) == ("2", "r9")
    asked = server.asked[0]
    assert (asked.method, asked.path) == ("POST", "/predict")
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"].startswith("tensorhost-client/")
    assert asked.body == {"modelName": "digits", "inputs": [[1, 2]], "modelVersion": "stable"}


def test_predict_passes_every_option(server, client):
    server.otherwise = reply({"predictions": []})
    client.predict(
        "m",
        {"a": [1]},
        signature="s",
        preprocessing={"scale": 255.0},
        postprocessing={"topK": 2, "labels": None},
        timeout_ms=20_000,
    )
    body = server.asked[0].body
    assert 10_000 < body.pop("timeoutMs") <= 20_000
    assert body == {
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
        (lambda client: client.model("m", "v1"), "GET", "/models/m/versions/v1", None),
        (lambda client: client.metrics(timeout_ms=5000), "GET", "/metrics", None),
        (lambda client: client.load("m"), "POST", "/models/m/load", {}),
        (lambda client: client.load("m", "2", "/srv/m"), "POST", "/models/m/load", {"version": "2", "path": "/srv/m"}),
        (lambda client: client.unload("m", "2", timeout_ms=5000), "POST", "/models/m/unload", {"version": "2"}),
        (
            lambda client: client.label_version("m", "stable", "2"),
            *("POST", "/models/m/labels", {"label": "stable", "version": "2"}),
        ),
        (lambda client: client.label_version("m", "stable", None), "POST", "/models/m/labels", {"label": "stable"}),
    ],
)
def test_each_call_has_its_route(server, client, call, method, path, body):
    server.will(reply({"status": "healthy"}))
    assert call(client) == {"status": "healthy"}
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.body) == (method, path, body)


def test_models_returns_the_list(server, client):
    server.will(reply({"models": [{"name": "m"}]}))
    assert client.models() == [{"name": "m"}]


def test_a_version_that_failed_to_load_is_an_answer(server, client):
    described = {"name": "m", "state": "END", "error": {"code": "MODEL_FAILED", "message": "It fails."}}
    server.will(reply(described))
    assert client.model("m", "1") == described


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda client: client.models(), {"models": "none"}),
        (lambda client: client.health(), {}),
        (lambda client: client.predict("m", [1]), {"modelVersion": "1"}),
        (lambda client: client.batch_predict("m", [[1]]), {"results": []}),
        (lambda client: client.batch_predict("m", [[1]]), {"results": {}}),
        (lambda client: client.batch_predict("m", [[1]]), {"results": [{"neither": 1}]}),
        (lambda client: client.batch_predict("m", [[1]]), {"results": [None]}),
    ],
)
def test_json_that_is_no_answer_to_the_call_says_so(server, client, call, answer):
    server.will(reply(answer))
    with pytest.raises(InvalidAnswerError, match="answered 200") as caught:
        call(client)
    assert caught.value.code == "INVALID_ANSWER"


def test_health_of_a_draining_server_is_an_answer(server, client):
    server.will(reply({"status": "draining"}, 503))
    assert client.health() == {"status": "draining"}


def test_health_of_a_server_without_room_is_none(server, client):
    server.will(refusal("OVERLOADED", 503))
    with pytest.raises(ClientError, match="OVERLOADED"):
        client.health()
    assert len(server.asked) == 1


def test_the_token_is_sent_as_bearer(server, make):
    make(server.url, token="secret").unload("m")
    assert server.asked[0].headers["authorization"] == "Bearer secret"


def test_without_a_token_there_is_no_authorization(server, client):
    client.metrics()
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize("token", ["a\r\nX: y", "a b", "schlüssel"])
def test_a_token_that_no_header_carries_is_refused(make, token):
    with pytest.raises(ValueError, match="token"):
        make("http://localhost", token=token)


@pytest.mark.parametrize(("path", "asked"), [("/", "/metrics"), ("/ml", "/ml/metrics"), ("/ml/v2/", "/ml/v2/metrics")])
def test_the_server_may_lie_under_a_path(server, make, path, asked):
    make(server.url + path).metrics()
    assert server.paths == [asked]


def test_a_password_in_the_url_is_used_and_never_shown(server, make):
    client = make(server.url.replace("http://", "http://me:hidden@") + "/ml")
    server.will(reply(b"?"))
    with pytest.raises(InvalidAnswerError) as caught:
        client.metrics()
    assert server.asked[0].headers["authorization"].startswith("Basic ")
    assert client.url == server.url + "/ml"
    assert "hidden" not in str(caught.value) + repr(client)


@pytest.mark.parametrize(
    "url",
    ["localhost:3000", "ftp://host", "http://", "", "http://host:99999999", "http://host?a=b", "http://host/#x"],
)
def test_a_url_that_is_none_is_refused(make, url):
    with pytest.raises(ValueError, match="URL"):
        make(url)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_timeout_that_is_none_is_refused(make, timeout_s):
    with pytest.raises(ValueError, match="timeout_s"):
        make("http://localhost", timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_ms", [0, -5, float("nan"), float("inf"), 1e12])
def test_a_calls_timeout_that_is_none_is_refused_before_it_is_sent(server, client, timeout_ms):
    with pytest.raises(InvalidRequestError, match="timeout_ms"):
        client.predict("m", [1], timeout_ms=timeout_ms)
    assert server.asked == []


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(server, make, closed_url, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", closed_url)
    make(server.url).metrics()
    assert server.paths == ["/metrics"]


def test_a_given_proxy_is_asked_for_everything(server, make):
    make("http://models.example/ml", proxy=server.url).metrics()
    assert server.paths == ["http://models.example/ml/metrics"]


def test_a_server_error_arrives_whole(server, client):
    problem = {"code": "MODEL_NOT_FOUND", "message": "No 'x'.", "details": {"models": ["a"]}, "requestId": "r1"}
    server.will(reply({"error": problem}, 404))
    with pytest.raises(ModelNotFoundError, match=r"^No 'x'\.$") as caught:
        client.predict("x", [[1]])
    error = caught.value
    assert (error.code, error.http_status, error.request_id) == ("MODEL_NOT_FOUND", 404, "r1")
    assert error.details == {"models": ["a"]}


def test_a_bare_server_error_is_enough(server, client):
    server.will(reply({"error": {"code": "INTERNAL", "details": "?", "requestId": 7}}, 500))
    with pytest.raises(ClientError, match="INTERNAL") as caught:
        client.metrics()
    assert (caught.value.details, caught.value.request_id) == ({}, None)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (502, b"<html>Bad gateway</html>"),
        (200, b"[1]"),
        (200, b""),
        (200, b"{"),
        (200, b"\xff"),
        (500, {"detail": "x"}),
        (404, {"error": "x"}),
        (302, {}),
        (201, {}),
    ],
)
def test_an_answer_that_is_not_ours_says_so(server, client, status, answer):
    server.will(reply(answer, status))
    with pytest.raises(InvalidAnswerError, match=f"answered {status}") as caught:
        client.metrics()
    assert (caught.value.code, caught.value.http_status) == ("INVALID_ANSWER", status)


def test_a_compressed_answer_is_read(server, client):
    server.will(reply(gzip.compress(b'{"uptime": 1}'), Content_Encoding="gzip"))
    assert client.metrics() == {"uptime": 1}


def test_an_answer_that_cannot_be_decompressed_is_not_ours(server, client):
    server.will(reply(b"no gzip", Content_Encoding="gzip"))
    with pytest.raises(InvalidAnswerError, match="decompressed"):
        client.metrics()


def test_an_endless_answer_is_not_read_to_its_end(server, client, monkeypatch):
    monkeypatch.setattr(transport, "MOST_ANSWER_BYTES", 1000)
    server.will(reply(gzip.compress(b" " * 10_000), Content_Encoding="gzip"))
    with pytest.raises(InvalidAnswerError, match="longer than 1,000 bytes"):
        client.metrics()


def test_nothing_listening_is_one_sentence(make, closed_url, naps):
    with pytest.raises(ServerUnreachableError) as caught:
        make(closed_url).health()
    assert caught.value.message == f"Nothing answers at {closed_url}; is the server running?"
    assert isinstance(caught.value, ConnectionError)
    assert naps == []


def test_a_server_that_does_not_answer_is_given_up(make):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
        with pytest.raises(DeadlineExceededError, match="within 50 ms") as caught:
            client.health()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.http_status is None


def test_an_answer_that_is_cut_off_is_no_answer(server, make):
    server.will(cut_off)
    with pytest.raises(ServerUnreachableError, match="broke"):
        make(server.url, retries=0).metrics()


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "..", "a?b", "a%2fb", "x" * 200])
def test_a_name_that_is_no_name_never_becomes_a_url(server, client, name):
    for call in (client.model, client.load, client.unload):
        with pytest.raises(InvalidRequestError, match="model name") as caught:
            call(name)
        assert caught.value.http_status is None
    with pytest.raises(InvalidRequestError, match="version"):
        client.model("m", name)
    assert server.asked == []


def test_inputs_that_cannot_be_sent_are_refused_before(server, client):
    with pytest.raises(InvalidInputTypeError):
        client.predict("m", np.array([np.nan]))
    assert server.asked == []


def test_one_connection_is_used_again_and_again(server, client):
    for _ in range(5):
        client.metrics()
    assert server.connections == 1


def test_a_client_that_is_closed_makes_no_call(server, make):
    client = make(server.url)
    client.close()
    with pytest.raises(RequestCancelledError, match="closed"):
        client.metrics()
    assert server.asked == []


def test_inputs_arrive_as_they_were(server, client):
    server.otherwise = compute(lambda asked: {"predictions": asked.body["inputs"], "modelVersion": "1"})
    sent = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(client.predict("m", sent).array.astype(np.float32), sent)
