"""How a server is spoken to, the same for both clients: its address, what httpx is told, how answers are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx

from tensorhost.client.answers import Answer, Response, read_answer
from tensorhost.client.calls import Call
from tensorhost.client.retries import Retries
from tensorhost.client.transport import Address, timeouts


@dataclass(frozen=True, slots=True)
class Link:
    """What is the same for every call.

    Attributes:
        address: of the server.
        options: keywords of the httpx client.
        retries: how often and how patiently calls are made again.
    """

    address: Address
    options: dict[str, Any]
    retries: Retries

    def request(self, call: Call) -> dict[str, Any]:
        """The keywords of an httpx request for an attempt that begins now."""
        body = call.body(monotonic())
        return {
            "method": call.method,
            "url": self.address.url + call.path,
            "content": body,
            "headers": None if body is None else {"Content-Type": "application/json"},
            "timeout": timeouts(call.limit),
        }

    def read(self, call: Call, response: httpx.Response, content: bytes) -> Answer:
        """What a response says, once it is all there. Raises ClientError where that is an error."""
        whole = Response(response.status_code, response.headers, content)
        answer = read_answer(whole, self.address.shown, call.accepted, datetime.now(UTC))
        call.check(answer)
        return answer
