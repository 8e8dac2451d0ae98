"""The outputs of a batch to the outputs of its requests, and of a request's parts to those of the request.

Pure. What stays true: rows keep their order, and a model that returns another number of rows than it was given is an
error, never somebody else's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from tensorhost.batching.entries import Slice
from tensorhost.core.errors import ModelFailedError, OutOfMemoryError, TensorhostError
from tensorhost.core.tensors import Array

Outcome: TypeAlias = dict[str, Array] | TensorhostError
"""What became of one slice: its outputs by name, or why there are none."""


def check_rows(outputs: Mapping[str, Array], rows: int) -> None:
    """Raise ModelFailedError unless every output has ``rows`` as its first dimension."""
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise ModelFailedError(
                f"The model returned output '{name}' with a different number of rows than it was given."
            )


def split(outputs: dict[str, Array], slices: list[Slice[Any]], rows: int) -> list[Outcome]:
    """The outputs of each slice, as views. Raises ModelFailedError when the outputs have not ``rows`` rows."""
    check_rows(outputs, rows)
    outcomes: list[Outcome] = []
    offset = 0
    for part in slices:
        end = offset + part.stop - part.start
        outcomes.append({name: array[offset:end] for name, array in outputs.items()})
        offset = end
    return outcomes


def join(parts: list[Mapping[str, Array]]) -> Outcome:
    """The outputs of a request that ran in parts, in their order; an error where the parts do not fit together."""
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except MemoryError:
        return OutOfMemoryError("There was not enough memory for this request.")
    except (KeyError, ValueError) as error:
        return ModelFailedError(
            "The request was run in parts, and the model's outputs for them differ in shape.", log_detail=repr(error)
        )
