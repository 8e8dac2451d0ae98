"""How a stream of items becomes requests, and their results a stream again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tensorhost.client.errors import ClientError
from tensorhost.client.options import ErrorHandling, PredictOptions
from tensorhost.client.prediction import Prediction
from tensorhost.client.steps import Methods, Steps

CHUNK_SIZE = 32
CONCURRENCY = 2
CHUNK_BYTES = 4 * 2**20
"""A request is not made larger than this: servers take 32 MiB unless told otherwise, and hold all of it in memory."""

Result = Prediction | ClientError
Chunk = list[bytes | ClientError]
"""The JSON of the items of one request, or the error of one that could not be written."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How many items share a request, how many requests are under way, what becomes of errors, and a bar's title.

    Raises:
        ValueError: a number below 1, or another word for ``errors``.
    """

    chunk_size: int
    concurrency: int
    errors: ErrorHandling
    title: str | None

    def __post_init__(self) -> None:
        if self.chunk_size < 1 or self.concurrency < 1:
            raise ValueError("chunk_size and concurrency must be at least 1.")
        check_handling(self.errors)

    @property
    def window(self) -> int:
        """Requests under way, or done and not yet taken: while the oldest is slow, others have room to go on."""
        return 2 * self.concurrency

    def ask(self, methods: Methods, model: str, chunk: Chunk, options: PredictOptions) -> Steps[list[Result]]:
        """The steps of one request. What concerns it as a whole is the error of each of its items."""
        try:
            return (yield from methods.batch(model, chunk, options))
        except ClientError as error:
            return [item if isinstance(item, ClientError) else error for item in chunk]


@dataclass(slots=True)
class Chunker:
    """Gathers items until a request is full."""

    size: int
    _items: Chunk = field(default_factory=list)
    _bytes: int = 0

    def add(self, item: bytes | ClientError) -> Iterator[Chunk]:
        """Take an item; the chunks that are full by it, at most two."""
        item_bytes = len(item) if isinstance(item, bytes) else 0
        if self._items and self._bytes + item_bytes > CHUNK_BYTES:
            yield from self.rest()
        self._items.append(item)
        self._bytes += item_bytes
        if len(self._items) >= self.size:
            yield from self.rest()

    def rest(self) -> Iterator[Chunk]:
        """What has been gathered so far, if anything."""
        if self._items:
            full, self._items, self._bytes = self._items, [], 0
            yield full


def settled(results: Iterable[Result], errors: ErrorHandling) -> Iterator[Result]:
    """Results as the caller wants them. Raises the first error where errors are raised."""
    check_handling(errors)
    for result in results:
        if errors == "raise" and isinstance(result, ClientError):
            raise result
        yield result


def check_handling(errors: str) -> None:
    """Raise ValueError for a word that says nothing; the default would lose errors that somebody wants to see."""
    if errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', not {errors!r}.")


def progress_title(model: str, *, progress: bool | str) -> str | None:
    """What stands before the bar; None for no bar."""
    if isinstance(progress, str):
        return progress
    return model if progress else None
