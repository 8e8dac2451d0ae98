"""What is done to one input, from what the client sent to the signature's dtype, and which inputs get which steps.

Constants are converted to an input's working dtype and checked against its shape once, when the chain is bound; per
request only arrays are touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPreprocessingError
from tensorhost.core.tensors import Array, TensorSpec
from tensorhost.pipelines.images import ImageLayout, ImageStep, image_layout, target_size
from tensorhost.pipelines.numeric import (
    divide_by_std,
    min_max,
    scale,
    subtract_mean,
    to_signature_dtype,
    working_dtype,
)
from tensorhost.pipelines.options import PreprocessingOptions


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The numeric steps of one input, in their order, with constants in its working dtype."""

    min_max: bool
    scale: float | None
    mean: Array | None
    std: Array | None

    def check_last_axis(self, shape: tuple[int, ...], spec: TensorSpec) -> None:
        """Raise InvalidPreprocessingError unless mean and std have 1 number or one per element of the last axis."""
        last = shape[-1] if shape else 1
        for key, vector in (("mean", self.mean), ("std", self.std)):
            if vector is not None:
                _check_length(key, vector.size, last, spec)

    def run(self, x: Array, *, owned: bool) -> Array:
        """``x`` of the working dtype, any shape; written to only if ``owned``."""
        out = x if owned and x.flags.writeable else None
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self.scale is not None:
                x = out = scale(x, self.scale, out)
            if self.min_max:
                x = out = min_max(x, out)
            if self.mean is not None:
                x = out = subtract_mean(x, self.mean, out)
            if self.std is not None:
                x = divide_by_std(x, self.std, out)
        return x


@dataclass(frozen=True, slots=True)
class InputChain:
    """Everything done to one input. ``is_image``: whether ``decode: true`` and ``resize`` mean this input."""

    spec: TensorSpec
    image: ImageStep
    is_image: bool
    arithmetic: Arithmetic | None

    @property
    def resized(self) -> bool:
        """Whether clients may send any height and width."""
        return self.is_image and self.image.options.resize is not None

    def run(self, x: Array, *, owned: bool) -> Array:
        """What the client sent for this input to the signature's dtype."""
        dtype = self.spec.dtype
        working = working_dtype(dtype)
        if x.dtype.kind == "O" and dtype is not DType.STRING:
            x = self.image.decode(x, np.dtype(np.uint8) if dtype.is_integer and not self.arithmetic else working)
            owned = True
        elif self.image.options.decode and self.is_image and x.size:
            raise InvalidPreprocessingError(
                f"Input '{self.spec.name}' must come as encoded images, since 'preprocessing.decode' is true.",
                details={"field": "preprocessing.decode", "input": self.spec.name},
            )
        elif self.resized:
            resized = self.image.resize(x)
            owned = owned or resized is not x
            x = resized
        if self.arithmetic is not None:
            if x.dtype != working:
                x, owned = x.astype(working), True
            self.arithmetic.check_last_axis(x.shape, self.spec)
            x = self.arithmetic.run(x, owned=owned)
        numeric = dtype.is_floating or dtype.is_integer
        return to_signature_dtype(x, dtype, self.spec.name) if numeric else x


def _check_length(key: str, length: int, axis: int, spec: TensorSpec) -> None:
    if length not in (1, axis):
        raise InvalidPreprocessingError(
            f"'preprocessing.{key}' has {length} numbers, but the last axis of input '{spec.name}' has {axis}.",
            details={"field": f"preprocessing.{key}", "input": spec.name, "expected": axis, "actual": length},
        )


def bind_chains(
    inputs: Mapping[str, TensorSpec], options: PreprocessingOptions, max_elements: int
) -> dict[str, InputChain]:
    """The chain of each of ``inputs``, none of which a tokenizer feeds.

    Raises:
        InvalidPreprocessingError: a step that ``options`` ask for fits no input, or contradicts an input's shape.
    """
    layouts = {name: image_layout(spec) for name, spec in inputs.items()}
    images = _image_inputs(layouts)
    for key in ("resize", "decode"):
        if getattr(options, key) and not images:
            raise _fits_no_input(key, "no input has the shape of an image")
    numeric = _numeric_inputs(inputs) if options.has_numeric_steps else set()
    chains = {}
    for name, spec in inputs.items():
        layout = layouts[name]
        if layout is not None and name in images:
            target_size(layout, options.resize)
        step = ImageStep(spec, layout, options, max_elements)
        arithmetic = _bind_arithmetic(spec, options) if name in numeric else None
        chains[name] = InputChain(spec, step, name in images, arithmetic)
    return chains


def _image_inputs(layouts: Mapping[str, ImageLayout | None]) -> set[str]:
    """Inputs with channels; rank 3 without channels could be anything and counts only where nothing else does."""
    coloured = {name for name, layout in layouts.items() if layout and layout.has_channels}
    return coloured or {name for name, layout in layouts.items() if layout}


def _numeric_inputs(inputs: Mapping[str, TensorSpec]) -> set[str]:
    floating = {name for name, spec in inputs.items() if spec.dtype.is_floating}
    chosen = floating or {name for name, spec in inputs.items() if spec.dtype.is_integer}
    if not chosen:
        raise _fits_no_input("", "scale, normalize, mean and std need a numeric input, and the model has none")
    return chosen


def _fits_no_input(key: str, reason: str) -> InvalidPreprocessingError:
    field = f"preprocessing.{key}" if key else "preprocessing"
    return InvalidPreprocessingError(f"'{field}' fits no input of the model: {reason}.", details={"field": field})


def _bind_arithmetic(spec: TensorSpec, options: PreprocessingOptions) -> Arithmetic:
    last = spec.shape[-1] if spec.shape else 1 if spec.shape == () else None
    constants: dict[str, Array | None] = {}
    for key, numbers in (("scale", options.scale), ("mean", options.mean), ("std", options.std)):
        if numbers is None:
            constants[key] = None
            continue
        with np.errstate(over="ignore", under="ignore"):
            vector = np.atleast_1d(np.asarray(numbers).astype(working_dtype(spec.dtype)))
        if last is not None:
            _check_length(key, vector.size, last, spec)
        if not np.isfinite(vector).all() or (key != "mean" and (vector == 0).any()):
            raise InvalidPreprocessingError(
                f"'preprocessing.{key}' is beyond the range of {vector.dtype}, in which input '{spec.name}' is "
                "computed.",
                details={"field": f"preprocessing.{key}", "input": spec.name},
            )
        constants[key] = vector
    return Arithmetic(options.min_max, options.scale, constants["mean"], constants["std"])
