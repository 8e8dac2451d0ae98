import json

import pytest

from tensorhost.core.errors import ErrorCode
from tensorhost.server.refusals import STATUS, refusal, request_id_of


@pytest.mark.parametrize("code", STATUS)
def test_a_refusal_is_a_complete_response_in_our_shape(code):
    answer = refusal(code, 'A "message".', path="/predict", request_id="id-1", date_line=b"date: now\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d " % STATUS[code])
    for line in (b"date: now", b"connection: close", b"x-request-id: id-1", b"content-length: %d" % len(body)):
        assert line in lines
    assert (b"retry-after: 1" in lines) == (STATUS[code] == 503)
    assert json.loads(body) == {
        "error": {"code": code.value, "message": 'A "message".', "details": {}, "requestId": "id-1"}
    }


@pytest.mark.parametrize(
    ("path", "is_short"),
    [("/v1/models/m:predict", True), ("/v2/models/m/infer?x", True), ("/v2x", False), ("", False)],
)
def test_the_protocols_beside_ours_have_the_message_alone(path, is_short):
    head, _, body = refusal(ErrorCode.INTERNAL, "No.", path=path, request_id="i").partition(b"\r\n\r\n")
    assert (json.loads(body)["error"] == "No.") is is_short
    assert b"x-request-id: i" in head


def test_the_answer_to_head_has_no_body():
    answer = refusal(ErrorCode.INTERNAL, "No.", path="/", request_id="i", head_only=True)
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 0" not in answer


def test_a_safe_request_id_is_kept_and_another_replaced():
    assert request_id_of([(b"a", b"b"), (b"x-request-id", b"mine-1")]) == "mine-1"
    for headers in ([], [(b"x-request-id", b"a\r\nb")], [(b"x-request-id", b"")]):
        fresh = request_id_of(headers)
        assert fresh
        assert fresh.isalnum()
        assert fresh != request_id_of(headers)
