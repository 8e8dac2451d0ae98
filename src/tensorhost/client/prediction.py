"""What a model answered, as arrays and ranked labels. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from tensorhost.client.arrays import as_array
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array

UNNAMED = "output"
"""The name of a single output where the model's own is not known."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One entry of a ``topK``, or of a ``threshold`` with labels. ``label`` is None where the model has none."""

    index: int
    score: float
    label: str | None = None


Output: TypeAlias = Array | list[Any]
"""An array; where the model's postprocessing asked for entries, a list of ``Ranked`` per row; any other JSON that is no
tensor as it came, in a list or not."""


class Prediction:
    """The answer to one request. Arrays are made when they are first looked at, and then kept.

    Attributes:
        answer: the server's JSON, whole and as it came.
        dtypes: of the outputs in their order, by name, as the signature has them; empty where that is not known.
        request_id: names the request in the server's log; None for the items of a batch.
    """

    def __init__(self, answer: dict[str, Any], dtypes: Mapping[str, DType], request_id: str | None = None) -> None:
        self.answer = answer
        self.dtypes = dtypes
        self.request_id = request_id

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_describe(value)}" for name, value in self.outputs.items())
        return f"<Prediction of {self.model}/{self.version}: {shown}>"

    def __getitem__(self, name: str) -> Output:
        return self.outputs[name]

    @property
    def model(self) -> str:
        """Name of the model that answered."""
        return str(self.answer.get("modelName", "?"))

    @property
    def version(self) -> str:
        """The version that answered, whichever was asked for."""
        return str(self.answer.get("modelVersion", "?"))

    @cached_property
    def outputs(self) -> Mapping[str, Output]:
        """Every output by name. A dict in the signature's order; arrays may be changed, nobody else has them."""
        predictions = self.answer["predictions"]
        if isinstance(predictions, dict):
            return {name: _output(value, self.dtypes.get(name)) for name, value in predictions.items()}
        name, dtype = next(iter(self.dtypes.items())) if len(self.dtypes) == 1 else (UNNAMED, None)
        return {name: _output(predictions, dtype)}

    @property
    def array(self) -> Array:
        """The only output, as an array.

        Raises:
            TypeError: there are several outputs, or this one is no array; the message says what there is.
        """
        output = self._only()
        if isinstance(output, list):
            raise TypeError(
                "The output is a list of ranked labels or other JSON, not an array; see ranked and outputs."
            )
        return output

    @property
    def ranked(self) -> list[list[Ranked]]:
        """The only output, as ranked labels: for each row the entries, best first.

        Raises:
            TypeError: there are several outputs, or this one is an array.
        """
        output = self._only()
        if isinstance(output, list):
            return output
        if output.size == 0:
            return [[] for _ in output]  # rows without a single entry
        raise TypeError("The output is an array; ask for topK in postprocessing to get ranked labels.")

    @property
    def inference_ms(self) -> float:
        """Time of the model calls the request took part in, in milliseconds."""
        return self._milliseconds("inferenceTimeMs")

    @property
    def queue_ms(self) -> float:
        """Time the request waited for its first model call, in milliseconds."""
        return self._milliseconds("queueTimeMs")

    @property
    def preprocessing_ms(self) -> float:
        """Time of preprocessing, in milliseconds."""
        return self._milliseconds("preprocessingTimeMs")

    @property
    def postprocessing_ms(self) -> float:
        """Time of postprocessing, in milliseconds."""
        return self._milliseconds("postprocessingTimeMs")

    def _milliseconds(self, key: str) -> float:
        value = self.answer.get(key)
        return float(value) if isinstance(value, int | float) else 0.0

    def _only(self) -> Output:
        if len(self.outputs) != 1:
            raise TypeError(f"There are several outputs; name one of {', '.join(self.outputs)}.")
        return next(iter(self.outputs.values()))


def _output(value: Any, dtype: DType | None) -> Output:
    if _has_entries(value):
        ranked: list[Any] = _ranked(value)
        return ranked
    array = as_array(value, dtype)
    return value if array is None else array


def _has_entries(value: Any) -> bool:
    # Rows may be empty, so the first entry need not be in the first row.
    return _is_entry(next(_leaves(value), None))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "score" in value and "index" in value


def _ranked(value: Any) -> Any:
    if isinstance(value, list):
        return [_ranked(one) for one in value]
    return Ranked(value["index"], value["score"], value.get("label")) if _is_entry(value) else value


def _describe(output: Output) -> str:
    return f"{len(output)} rows" if isinstance(output, list) else f"{output.dtype}{list(output.shape)}"
