"""One ``/batch-predict`` request whose items succeed, fail, and are asked again one by one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tensorhost.client.answers import Answer, error_of, not_ours
from tensorhost.client.calls import Repeat
from tensorhost.client.errors import ClientError
from tensorhost.client.options import Item, PredictOptions
from tensorhost.client.retries import may_repeat

ItemOutcome = dict[str, Any] | ClientError
"""The server's answer to an item, or why there is none."""


class Batch:
    """The items of one request, and what has become of them.

    What must stay true: every item ends with one outcome, and one that has an answer is not asked again.

    Args:
        url: the server's address, for messages.
        fields: the request's other fields.
        items: the JSON of each item, or the error of one that could not be written.
    """

    def __init__(self, url: str, fields: Mapping[str, object], items: Sequence[bytes | ClientError]) -> None:
        self._url = url
        self._fields = fields
        self._items = items
        self._outcomes: dict[int, ItemOutcome] = {}
        self.pending: list[int] = []
        """Items that are to be asked, or asked again, by their places."""
        self.was_answered = False
        """Whether the server has said something of each item that could be sent."""
        for place, item in enumerate(items):
            if isinstance(item, ClientError):
                self._outcomes[place] = item
            else:
                self.pending.append(place)

    def content(self) -> bytes:
        """The body that asks for what is pending."""
        pending = [
            orjson.Fragment(item) for item in map(self._items.__getitem__, self.pending) if isinstance(item, bytes)
        ]
        return orjson.dumps({**self._fields, "batch": pending})

    def check(self, answer: Answer) -> None:
        """Take the outcomes of what was pending.

        Raises:
            ClientError: of an item for which waiting may help; those are pending now.
            InvalidAnswerError: there is not one result for each item.
        """
        results = answer.json.get("results")
        if not isinstance(results, list) or len(results) != len(self.pending):
            raise not_ours(self._url)
        outcomes = dict(zip(self.pending, map(self._read, results), strict=True))
        self._outcomes |= outcomes
        self.was_answered = True
        self.pending = [place for place in self.pending if _is_transient(outcomes[place])]
        for place in self.pending[:1]:
            error = outcomes[place]
            if isinstance(error, ClientError):
                raise error

    def outcomes(self) -> list[ItemOutcome]:
        """One per item, in order. Of an item that stayed pending, the error it had last."""
        return [self._outcomes[place] for place in range(len(self._items))]

    def _read(self, result: Any) -> ItemOutcome:
        if isinstance(result, dict) and "predictions" in result:
            return result
        problem = result.get("error") if isinstance(result, dict) else None
        return error_of(problem, http_status=200) or not_ours(self._url)


def item_fields(item: object, options: PredictOptions) -> dict[str, object]:
    """The fields of one item of a batch."""
    own = item if isinstance(item, Item) else Item(item)
    fields = {
        "inputs": own.inputs,
        "preprocessing": options.get("preprocessing") if own.preprocessing is None else own.preprocessing,
        "postprocessing": options.get("postprocessing") if own.postprocessing is None else own.postprocessing,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _is_transient(outcome: ItemOutcome) -> bool:
    return isinstance(outcome, ClientError) and may_repeat(Repeat.IF_TRANSIENT, outcome)
