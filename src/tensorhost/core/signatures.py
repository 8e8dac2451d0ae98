"""A signature: the named call contract of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tensorhost.core.errors import MissingInputError, UnknownInputError
from tensorhost.core.tensors import TensorSpec

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs by name, in the order the model declares them.

    ``method_name`` is what a SavedModel records (``tensorflow/serving/predict`` and the like), empty elsewhere.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = ""

    @property
    def may_batch(self) -> bool:
        """Whether shapes allow rows of several requests in one call. That rows agree is proved at warm-up."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(spec.is_batchable for spec in specs)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise MissingInputError or UnknownInputError unless ``names`` are exactly the inputs."""
        given = set(names)
        if given == self.inputs.keys():
            return
        expected = ", ".join(f"'{name}'" for name in self.inputs)
        details = {"expected": list(self.inputs), "actual": sorted(given)}
        for name in self.inputs:
            if name not in given:
                raise MissingInputError(f"Input '{name}' is missing; the inputs are {expected}.", details=details)
        unknown = sorted(given - self.inputs.keys())[0]
        raise UnknownInputError(f"There is no input '{unknown}'; the inputs are {expected}.", details=details)
