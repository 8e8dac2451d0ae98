"""What goes into the engine and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Deadline = float
"""An instant on the monotonic clock, in seconds; ``math.inf`` for none."""


@dataclass(slots=True)
class MergeTimes:
    """Seconds in which inputs of requests that share a call were made one, and its outputs theirs again.

    All of them have the same one, so it is never changed.
    """

    merge_s: float = 0.0
    split_s: float = 0.0

    def __add__(self, other: MergeTimes) -> MergeTimes:
        return MergeTimes(self.merge_s + other.merge_s, self.split_s + other.split_s)


@dataclass(slots=True)
class Timings:
    """Where a request's time went, in seconds. ``merging`` is a part of ``inference_s``; None where nothing was merged,
    split or joined."""

    queue_s: float = 0.0
    preprocessing_s: float = 0.0
    inference_s: float = 0.0
    postprocessing_s: float = 0.0
    merging: MergeTimes | None = None


@dataclass(slots=True)
class InferenceResult:
    """Answer to one request.

    ``outputs`` maps each output's name to an array, or, after postprocessing such as top-k with labels, to
    JSON-ready lists. ``model_version`` is the version that answered.
    """

    outputs: Mapping[str, Any]
    model_name: str
    model_version: str
    timings: Timings = field(default_factory=Timings)

    @property
    def predictions(self) -> Any:
        """The bare value of a single output, all of them by name otherwise."""
        return next(iter(self.outputs.values())) if len(self.outputs) == 1 else self.outputs
