import pytest

from tensorhost.core.errors import (
    CANONICAL,
    CanonicalCode,
    ErrorCode,
    ModelNotReadyError,
    NotFoundError,
    OverloadedError,
)
from tensorhost.frontends.native.statuses import HTTP_STATUS, error_object, retry_after_s

CLIENT_FAULTS = {
    CanonicalCode.INVALID_ARGUMENT,
    CanonicalCode.NOT_FOUND,
    CanonicalCode.PERMISSION_DENIED,
    CanonicalCode.UNAUTHENTICATED,
}


def test_the_table_is_total():
    assert HTTP_STATUS.keys() == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_statuses_are_errors_and_agree_with_the_canonical_codes(code):
    status = HTTP_STATUS[code]
    assert 400 <= status <= 599
    if CANONICAL[code] in CLIENT_FAULTS:
        assert status < 500
    if CANONICAL[code] in (CanonicalCode.INTERNAL, CanonicalCode.UNAVAILABLE):
        assert status >= 500


def test_the_error_object_has_exactly_the_keys_of_the_api():
    error = NotFoundError("No.", details={"a": 1}, log_detail="secret")
    assert error_object(error, "id") == {
        "code": "NOT_FOUND",
        "message": "No.",
        "details": {"a": 1},
        "requestId": "id",
    }


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (NotFoundError("No.", retry_after_s=5), None),
        (OverloadedError("Full."), 1),
        (OverloadedError("Full.", retry_after_s=0.1), 1),
        (ModelNotReadyError("Later.", retry_after_s=7.4), 7),
    ],
)
def test_retry_after_is_for_what_trying_again_may_mend(error, seconds):
    assert retry_after_s(error) == seconds
