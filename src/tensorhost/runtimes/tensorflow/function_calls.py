"""Calling signatures as TensorFlow functions: the slowest way, and the last one tried.

For models that no Session accepts. Each call converts arrays to tensors and back and costs some 80 microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.base import LoadedModel
from tensorhost.runtimes.tensorflow.errors import run_error
from tensorhost.runtimes.tensorflow.session import settle
from tensorhost.runtimes.tensorflow.signature_defs import Bindings

Function = Callable[[Tensors], Mapping[str, Any]]
"""Takes arrays by input name, gives tensors by output name."""


class FunctionRuntime(LoadedModel):
    """A loaded model whose signatures are TensorFlow functions. See ``Runtime``."""

    name = "tensorflow"

    def __init__(
        self,
        tf: Any,
        signatures: Mapping[str, Signature],
        functions: Mapping[str, Function],
        refused: Mapping[str, str],
        weights_bytes: int,
        owner: object,
    ) -> None:
        """``owner`` holds the variables the functions use, which they themselves do not keep alive."""
        super().__init__(signatures, refused, weights_bytes)
        self._owner: object = owner
        self._tf = tf
        self._functions = dict(functions)

    def call_path(self, signature: str) -> str:  # noqa: ARG002  # the same for all
        """How every signature is called."""
        return "function call"

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """There is one way only."""

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call; see ``Runtime.run``."""
        try:
            values = self._functions[signature](inputs)
            outputs = self._signatures[signature].outputs
            return {name: settle(_own(values[name].numpy()), ()) for name in outputs}
        except (self._tf.errors.OpError, MemoryError, ValueError, TypeError, RuntimeError) as error:
            raise run_error(self._tf, error) from error

    def close(self) -> None:
        """Drop the functions and what they hold."""
        self._functions.clear()
        self._owner = None


def _own(value: Any) -> Any:
    """A copy of an array, which may lie on the tensor's memory. A single string is bytes already."""
    return np.array(value) if isinstance(value, np.ndarray) else value


def load_functions(tf: Any, path: Path, tags: Sequence[str], bindings: Bindings, weights_bytes: int) -> FunctionRuntime:
    """The graph with exactly these ``tags`` of the SavedModel at ``path``, through ``tf.saved_model.load``.

    Raises what TensorFlow raises.
    """
    loaded = tf.saved_model.load(str(path), tags=list(tags))
    signatures = {bound.signature.name: bound.signature for bound in bindings.bound}
    functions = {name: _by_keyword(tf, loaded.signatures[name]) for name in signatures}
    return FunctionRuntime(tf, signatures, functions, bindings.refused, weights_bytes, loaded)


def _by_keyword(tf: Any, function: Any) -> Function:
    def call(inputs: Tensors) -> Mapping[str, Any]:
        values: Mapping[str, Any] = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return values

    return call
