"""What the contract suite knows about one model: where it lies, what it promises, and what it must answer.

Answers come from the format's own runtime, asked here or stored beside the model; never from tensorhost.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array, Shape, Tensors
from tensorhost.runtimes import LoadOptions, ModelFormat

WORDS = (b"a", b"b", b"", b"c d", b"\xff", b"a b c")
PROVED = ""
"""The reason against batching of a model that may be batched."""

NOT_FREE = "Not every input and output has a free first dimension."
MIXES = "depend on what else is in the batch"
"""Reasons against batching that the proof gives."""

DATA = Path(__file__).parents[3] / "data"

_SPEC = re.compile(r"(\w+) \[(.*)\]")


@dataclass(frozen=True)
class Promise:
    """A signature in words: dtype and shape such as ``float32 [?, 4]`` by name, in order."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


Ask = Callable[[str, Tensors], Mapping[str, Array]]
"""Signature and inputs to the outputs of the format's own runtime."""


@dataclass(frozen=True)
class Case:
    """One model under contract.

    Attributes:
        name: of the test.
        format: what detection must say.
        locate: makes or finds the model; takes a pytest fixture's value by the fixture's name.
        promises: every signature a client may call, the default first.
        reference: opens the format's own runtime on the model.
        pool: rows of input that have stored answers, by signature; none where any input will do.
        options: on top of those of the tests.
        rows: batch sizes that the model takes.
        batched: what the proof of independent rows must find; a text is the reason it must give against, None leaves it
            open. By signature where they differ.
        weights_bytes: least and most bytes of parameters.
        tolerance: relative; and the same times the largest value, absolute.
        loading: in force while the model loads, to bring about one way of loading.
    """

    name: str
    format: ModelFormat
    locate: Callable[[Callable[[str], Any]], Path]
    promises: Mapping[str, Promise]
    reference: Callable[[Callable[[str], Any], Path], Ask]
    pool: Mapping[str, Tensors] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[int, ...] = (1, 2, 3, 7, 32)
    batched: str | Mapping[str, str | None] | None = PROVED
    weights_bytes: tuple[int, int] = (1, 4096)
    tolerance: float = 1e-5
    loading: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    def __repr__(self) -> str:
        return self.name

    @property
    def default(self) -> str:
        """The name of the signature called when none is named."""
        return next(iter(self.promises))

    def proof(self, signature: str) -> str | None:
        """The reason against sharing calls that must be found for ``signature``; PROVED for none."""
        return self.batched[signature] if isinstance(self.batched, Mapping) else self.batched

    def inputs(self, signature: str, rows: int, seed: int = 0) -> dict[str, Array]:
        """Inputs of ``rows`` rows, the same for the same seed; from the pool where there is one."""
        rng = np.random.default_rng(seed)
        if pool := self.pool.get(signature):
            chosen = rng.integers(0, len(next(iter(pool.values()))), rows)
            return {name: array[chosen] for name, array in pool.items()}
        specs = self.promises[signature].inputs
        return {name: made_up(*read_spec(text), rows, rng) for name, text in specs.items()}

    def load_options(self, base: LoadOptions) -> LoadOptions:
        """``base`` with what this model needs."""
        values = {name: getattr(base, name) for name in base.__dataclass_fields__}
        return LoadOptions(**(values | self.options))


def read_spec(text: str) -> tuple[DType, Shape | None]:
    """``float32 [?, 4]`` as dtype and shape."""
    if text.endswith(" unknown rank"):
        return DType(text.split()[0]), None
    found = _SPEC.fullmatch(text)
    assert found is not None, text
    sizes = [size for size in found[2].split(", ") if size]
    return DType(found[1]), tuple(None if size == "?" else int(size) for size in sizes)


def made_up(dtype: DType, shape: Shape | None, rows: int, rng: np.random.Generator) -> Array:
    """An array of that dtype and shape; free dimensions other than the first become 3."""
    shape = (None, 2) if shape is None else shape
    sizes = tuple((rows if axis == 0 else 3) if size is None else size for axis, size in enumerate(shape))
    if dtype is DType.STRING:
        words = np.empty(len(WORDS), object)
        words[:] = WORDS
        return words[rng.integers(0, len(WORDS), sizes)]
    if dtype is DType.BOOL:
        return rng.integers(0, 2, sizes).astype(bool)
    if dtype.is_integer:
        low, high = (-128, 128) if dtype is DType.INT8 else (0, 3)
        return rng.integers(low, high, sizes).astype(dtype.numpy)
    return rng.normal(size=sizes).astype(dtype.numpy)


def assert_equal(actual: Array, expected: Array, tolerance: float) -> None:
    """The same dtype, shape and values; floats within ``tolerance`` of themselves and of the largest value."""
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    if expected.dtype.kind in "OSU":
        assert actual.tolist() == expected.tolist()
        return
    assert actual.dtype == expected.dtype
    if expected.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, expected)
        return
    scale = float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * max(scale, 1e-3))


def inside(fixture_name: str, name: str) -> Callable[[Callable[[str], Any]], Path]:
    """The file or folder ``name`` in the folder that a fixture gives."""
    return lambda fixture: fixture(fixture_name) / name
