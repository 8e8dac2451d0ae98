"""One class per code, in families that callers can catch."""

from __future__ import annotations

import pickle

import pytest
from scripted_server import refusal

import tensorhost.client
from tensorhost.client import ClientError, ServerUnreachableError, UnavailableError, errors
from tensorhost.client.answers import error_of
from tensorhost.client.errors import ERROR_CLASSES
from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.native.statuses import HTTP_STATUS


def test_every_code_of_the_server_has_a_class():
    assert set(ERROR_CLASSES) == set(ErrorCode)
    assert len(set(ERROR_CLASSES.values())) == len(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_code_arrives_as_its_class(server, make, code):
    server.will(refusal(code.value, HTTP_STATUS[code]))
    with pytest.raises(ClientError) as caught:
        make(server.url, retries=0).metrics()
    assert type(caught.value) is ERROR_CLASSES[code]
    assert (caught.value.code, caught.value.http_status) == (code, HTTP_STATUS[code])


def test_a_code_of_a_newer_server_is_a_client_error(server, client):
    server.will(refusal("QUOTA_EXCEEDED", 403))
    with pytest.raises(ClientError) as caught:
        client.metrics()
    assert type(caught.value) is ClientError
    assert (caught.value.code, caught.value.request_id) == ("QUOTA_EXCEEDED", "r1")


def test_every_class_can_be_imported_from_the_client():
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes <= set(tensorhost.client.__all__)


def test_what_is_unavailable_is_what_a_503_means():
    unavailable = {code for code, kind in ERROR_CLASSES.items() if issubclass(kind, UnavailableError)}
    assert unavailable == {code for code, status in HTTP_STATUS.items() if status == 503}


@pytest.mark.parametrize("problem", [None, 1, [], "x", {}, {"code": 5}, {"code": None, "message": "x"}])
def test_what_is_no_error_is_none(problem):
    assert error_of(problem) is None


def test_errors_survive_pickling():
    for error in (
        ServerUnreachableError("Gone."),
        ERROR_CLASSES["OVERLOADED"]("Full.", http_status=503, details={"rows": 1}, request_id="r", retry_after_s=2.0),
        ClientError("New.", code="NEW"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert (str(copy), copy.__dict__) == (str(error), error.__dict__)
