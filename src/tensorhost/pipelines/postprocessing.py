"""The chain of steps between what the model returns and what the client gets.

A pipeline is built once for a signature, the model's labels and a set of options and is then immutable; requests
with options of their own get a variant, kept for the next request that asks the same. What the signature alone can
refute is refused when the pipeline is built, before the model runs.

Order: custom step, softmax or sigmoid, argmax or threshold, top-k, rounding. Steps apply to floating outputs; others
pass untouched. Where the model has labels, threshold and top-k apply to the floating outputs whose last axis has one
element per label, and both then answer lists of entries instead of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPostprocessingError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Shape, Tensors
from tensorhost.pipelines.custom import CustomFunction, load_custom_function, run_custom
from tensorhost.pipelines.options import PostprocessingOptions
from tensorhost.pipelines.scores import argmax, best_entries, round_to, sigmoid, softmax, threshold

_VARIANTS = 64
_SLOW_ELEMENTS = 2**13
"""Entries with labels are made one by one, a few microseconds each."""


class PostprocessingPipeline:
    """Turns the arrays a model returned into what the client gets: arrays, or JSON-ready lists of entries."""

    def __init__(
        self,
        options: PostprocessingOptions,
        signature: Signature,
        *,
        labels: Sequence[str] = (),
        custom: CustomFunction | None = None,
    ) -> None:
        """Bind ``options`` to ``signature``. Blocks while the custom step they name is imported.

        Args:
            options: what to do, from model.toml.
            signature: what the model returns.
            labels: names of the classes, in the order of the class axis.
            custom: a function to use instead of importing the one that ``options.entry_point`` names. It may
                return other outputs than the signature's, so with one the check of the options waits for the arrays.

        Raises:
            InvalidPostprocessingError: a step fits none of the outputs; names the field.
            ModelFailedError: the custom step cannot be loaded.
        """
        if custom is None and options.entry_point is not None:
            custom = load_custom_function(options.entry_point)
        self.signature = signature
        self.options = options
        self.labels = tuple(labels)
        self._custom = custom
        self._steps = _steps_of(options)
        self._untouched = custom is None and not self._steps
        build = partial(PostprocessingPipeline, signature=signature, labels=self.labels, custom=custom)
        self._variant = lru_cache(maxsize=_VARIANTS)(build)
        self._numbers_per_row = {
            name
            for name, spec in signature.outputs.items()
            if spec.shape is not None and len(spec.shape) == 1 and spec.is_batchable
        }
        if custom is None:
            shapes = {name: self._row_shape(name, spec.shape) for name, spec in signature.outputs.items()}
            self._check_fit({name: (spec.dtype, shapes[name]) for name, spec in signature.outputs.items()})

    def is_slow(self, outputs: Tensors) -> bool:
        """Whether ``apply`` may take milliseconds, so that an event loop should leave it to a thread."""
        if self._untouched:
            return False
        return self._custom is not None or any(array.size > _SLOW_ELEMENTS for array in outputs.values())

    def overridden(self, raw: object, *, path: str = "postprocessing") -> PostprocessingPipeline:
        """The pipeline for a request whose options are ``raw`` (a JSON object; None for no options).

        Raises:
            InvalidPostprocessingError: the options are invalid or fit none of the outputs.
        """
        if raw is None:
            return self
        options = PostprocessingOptions.from_request(raw, self.options, path=path)
        return self if options == self.options else self._variant(options)

    def of_tensors(self) -> PostprocessingPipeline:
        """The same without the steps whose answers are no arrays, for protocols that carry nothing else."""
        if self.options.top_k is None and not (self.options.threshold is not None and self.labels):
            return self
        threshold = None if self.labels else self.options.threshold
        return self._variant(replace(self.options, top_k=None, threshold=threshold))

    def apply(self, outputs: Tensors) -> Any:
        """Answers by output name, in the order of ``outputs``: arrays, or lists where entries were asked for.

        Args:
            outputs: what the model returned; read, never written to. Without steps this very mapping is returned.

        Raises:
            InvalidPostprocessingError: a step fits none of the outputs.
            ModelFailedError: the custom step failed.
        """
        if self._untouched:
            return outputs
        if self._custom is not None:
            outputs = run_custom(self._custom, outputs)
        shapes = {name: self._row_shape(name, array.shape) for name, array in outputs.items()}
        self._check_fit({name: (DType.of(array), shapes[name]) for name, array in outputs.items()})
        return {name: self._answer(array, shapes[name]) for name, array in outputs.items()}

    def _row_shape(self, name: str, shape: Shape | None) -> Shape | None:
        """The shape that steps may see: an output of one number per row has no class axis, only its batch's."""
        return () if name in self._numbers_per_row else shape

    def _answer(self, x: Array, shape: Shape | None) -> Array | list[Any]:
        options, dtype = self.options, DType.of(x)
        if not dtype.is_floating:
            return x
        if options.softmax and self._fits("softmax", dtype, shape):
            x = softmax(x)
        if options.sigmoid:
            x = sigmoid(x)
        if options.argmax and self._fits("argmax", dtype, shape):
            return argmax(x)
        if self._as_entries(dtype, shape):
            return best_entries(
                x, top_k=options.top_k, lowest=options.threshold, labels=self.labels, digits=options.round_digits
            )
        if options.threshold is not None and self._fits("threshold", dtype, shape):
            x = threshold(x, options.threshold)
        return x if options.round_digits is None else round_to(x, options.round_digits)

    def _as_entries(self, dtype: DType, shape: Shape | None) -> bool:
        if self.options.top_k is not None:
            return self._fits("topK", dtype, shape)
        return self.options.threshold is not None and bool(self.labels) and self._fits("threshold", dtype, shape)

    def _fits(self, step: str, dtype: DType, shape: Shape | None) -> bool:
        """Whether ``step`` applies to an output; unknown dimensions and an unknown rank are given the benefit."""
        if not dtype.is_floating:
            return False
        if shape is None or step in ("sigmoid", "round"):
            return True
        if step in ("topK", "threshold") and self.labels:
            return len(shape) > 0 and shape[-1] in (None, len(self.labels))
        if step == "threshold":
            return True
        return len(shape) > 0 and (shape[-1] != 0 or step == "softmax")

    def _check_fit(self, outputs: dict[str, tuple[DType, Shape | None]]) -> None:
        for step in self._steps:
            if not any(self._fits(step, dtype, shape) for dtype, shape in outputs.values()):
                labelled = bool(self.labels) and step in ("topK", "threshold")
                needs = (
                    f"whose last axis has {len(self.labels)} elements, one per label"
                    if labelled
                    else ("with a class axis" if step in ("softmax", "argmax", "topK") else "at all")
                )
                raise InvalidPostprocessingError(
                    f"'postprocessing.{step}' fits no output of the model: there is no floating output {needs}.",
                    details={"field": f"postprocessing.{step}", "outputs": list(outputs)},
                )


def _steps_of(options: PostprocessingOptions) -> tuple[str, ...]:
    asked = {
        "softmax": options.softmax,
        "sigmoid": options.sigmoid,
        "argmax": options.argmax,
        "threshold": options.threshold is not None,
        "topK": options.top_k is not None,
        "round": options.round_digits is not None,
    }
    return tuple(step for step, wanted in asked.items() if wanted)
