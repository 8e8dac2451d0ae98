"""What the caller may say about a request besides its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict


class PredictOptions(TypedDict, total=False):
    """Options of a prediction, and of each request of a batch.

    Attributes:
        version: a version or label; the newest available when None.
        signature: the signature to call; the default one when None.
        preprocessing: options that override the model's own.
        postprocessing: options that override the model's own.
        timeout_ms: time the call may take with all its attempts, in milliseconds; the server is told what is
            left of it.
    """

    version: str | None
    signature: str | None
    preprocessing: Mapping[str, object] | None
    postprocessing: Mapping[str, object] | None
    timeout_ms: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a batch with options of its own. ``inputs`` is what ``predict`` takes as inputs.

    Options that are None are those of the whole batch.
    """

    inputs: object
    preprocessing: Mapping[str, object] | None = None
    postprocessing: Mapping[str, object] | None = None


ErrorHandling: TypeAlias = Literal["raise", "return"]
"""What becomes of an item's error: raised, or given back at its item's place."""
