"""What a server is asked: made up from its metadata or given, and answered once before any load."""

from __future__ import annotations

import json

import pytest

from tensorhost.bench.bodies import http_target, request_of
from tensorhost.client import ClientError, Prediction
from tensorhost.core.errors import InvalidRequestError

SIGNATURE = {"inputs": [{"name": "x", "dtype": "float32", "shape": [None, 3]}], "outputs": []}
SEQUENCE = {"inputs": [{"name": "x", "dtype": "float32", "shape": [None, None]}], "outputs": []}
PAIR = {
    "inputs": [{"name": "a", "dtype": "int32", "shape": [None]}, {"name": "b", "dtype": "string", "shape": None}],
    "outputs": [],
}


class FakeClient:
    """A server's client: describes a model, and takes only inputs of a number of columns, if one is given."""

    def __init__(self, signatures, *, columns=None, versions=(), status=400):
        self.described = {"signatures": signatures, "versions": list(versions)}
        self.columns = columns
        self.status = status
        self.asked = []

    def model(self, name):
        return self.described

    def predict(self, model, inputs, version=None, signature=None):
        self.asked.append(inputs)
        if self.columns is not None and inputs.shape[1] != self.columns:
            raise ClientError("wrong columns", code="INVALID_INPUT_SHAPE", http_status=self.status)
        return Prediction({"modelVersion": "7", "predictions": []}, {})


def request(client, inputs=None, *, version=None, signature=None, rows=1):
    body, facts = request_of(client, "m", inputs, version=version, signature=signature, rows=rows)
    return json.loads(body), facts


def test_rows_are_made_up_from_the_signature():
    body, facts = request(FakeClient({"serving_default": SIGNATURE}), rows=4)
    assert facts == {"version": "7"}
    assert body.keys() == {"modelName", "inputs"}
    assert [len(row) for row in body["inputs"]] == [3, 3, 3, 3]


def test_several_inputs_go_by_name():
    body, _ = request(FakeClient({"serving_default": PAIR}), signature="serving_default", rows=2)
    assert body["signatureName"] == "serving_default"
    assert len(body["inputs"]["a"]) == 2
    assert all(isinstance(text, str | dict) for text in body["inputs"]["b"])


def test_the_first_made_up_inputs_the_server_takes_are_used():
    client = FakeClient({"serving_default": SEQUENCE}, columns=224)
    body, _ = request(client)
    assert [inputs.shape[1] for inputs in client.asked] == [8, 32, 224]
    assert len(body["inputs"][0]) == 224


def test_a_server_that_takes_none_of_them():
    with pytest.raises(InvalidRequestError, match=r"give --input \(wrong columns\)"):
        request(FakeClient({"serving_default": SEQUENCE}, columns=5))


def test_a_failure_that_is_not_about_the_inputs_is_the_servers():
    client = FakeClient({"serving_default": SEQUENCE}, columns=5, status=500)
    with pytest.raises(ClientError, match="wrong columns"):
        request(client)
    assert len(client.asked) == 1


def test_given_inputs_are_sent_as_they_are_without_looking_at_the_model():
    client = FakeClient({})
    assert request(client, [[1, 2]])[0] == {"modelName": "m", "inputs": [[1, 2]]}
    assert client.asked == [[[1, 2]]]


@pytest.mark.parametrize("named", ["3", "stable"])
def test_a_version_or_label_has_its_own_signatures(named):
    old = {"version": "3", "versionLabels": ["stable"], "signatures": {"serving_default": SIGNATURE}}
    body, _ = request(FakeClient({"serving_default": SEQUENCE}, versions=[{"version": "4"}, old]), version=named)
    assert len(body["inputs"][0]) == 3


def test_nothing_to_make_inputs_up_from():
    with pytest.raises(InvalidRequestError, match="not loaded"):
        request(FakeClient(None))
    with pytest.raises(InvalidRequestError, match="no signature 'other'; it has: serving_default"):
        request(FakeClient({"serving_default": SIGNATURE}), signature="other")


@pytest.mark.parametrize(
    ("url", "where", "path", "host"),
    [
        ("http://localhost:3000", ("localhost", 3000, False), "/predict", "localhost:3000"),
        ("http://127.0.0.1", ("127.0.0.1", 80, False), "/predict", "127.0.0.1"),
        ("https://example/models/", ("example", 443, True), "/models/predict", "example"),
        ("http://[::1]:5", ("::1", 5, False), "/predict", "[::1]:5"),
    ],
)
def test_where_a_request_goes(url, where, path, host):
    target = http_target(url, 12)
    assert (target.host, target.port, target.tls) == where
    assert target.head.startswith(f"POST {path} HTTP/1.1\r\nHost: {host}\r\n")
    assert target.head.endswith("Content-Length: 12\r\n\r\n")
