"""Reading an HTTP response: the server's JSON, or the error it stands for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from tensorhost.client.errors import ERROR_CLASSES, ClientError, InvalidAnswerError
from tensorhost.core.errors import ErrorCode

_OK = 200
_SECONDS = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, whole. Headers are looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, and the id of the request in its log (None where there was none)."""

    json: dict[str, Any]
    request_id: str | None


def read_answer(response: Response, url: str, accepted: frozenset[int], now: datetime) -> Answer:
    """The server's answer.

    Args:
        response: whatever came back.
        url: the server's address, for messages.
        accepted: statuses that are answers.
        now: the time of day, which a Retry-After may be relative to.

    Raises:
        ClientError: of the class of the server's error code; InvalidAnswerError where a tensorhost server would not
            answer like that.
    """
    wait_s = retry_after_s(response.headers.get("retry-after"), now)
    request_id = response.headers.get("x-request-id")
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise not_ours(url, response.status, wait_s) from error
    if not isinstance(answer, dict):
        raise not_ours(url, response.status, wait_s)
    if response.status != _OK:
        problem = error_of(answer.get("error"), http_status=response.status, retry_after_s=wait_s)
        if problem is not None:
            raise problem
    if response.status not in accepted:
        raise not_ours(url, response.status, wait_s)
    return Answer(answer, request_id)


def error_of(
    problem: object, *, http_status: int | None = None, retry_after_s: float | None = None
) -> ClientError | None:
    """What the server says under ``error``; None where it does not say it as our server does."""
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return None
    code, details, request_id = problem["code"], problem.get("details"), problem.get("requestId")
    return ERROR_CLASSES.get(code, ClientError)(
        str(problem.get("message", code)),
        code=ErrorCode(code) if code in ERROR_CLASSES else code,
        http_status=http_status,
        details=details if isinstance(details, dict) else None,
        request_id=request_id if isinstance(request_id, str) else None,
        retry_after_s=retry_after_s,
    )


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After asks to wait, given in seconds or as a date; None where it says nothing readable."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return float(header)
    try:
        then = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    # "-0000" is a time in UTC that says nothing of its place.
    return max(0.0, ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds())


def not_ours(url: str, status: int = 200, wait_s: float | None = None) -> InvalidAnswerError:
    """The error for an answer that a tensorhost server would not give."""
    return InvalidAnswerError(
        f"{url} answered {status}, but not as a tensorhost server does.", http_status=status, retry_after_s=wait_s
    )
