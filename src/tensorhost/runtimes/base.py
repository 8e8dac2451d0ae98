"""What every way of executing a model offers to the rooms above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors


class ModelFormat(StrEnum):
    """How a model lies on disk, told by content."""

    SAVED_MODEL = "saved_model"
    KERAS = "keras"
    KERAS_H5 = "keras_h5"
    TFJS = "tfjs"
    TFLITE = "tflite"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the operator may choose about loading. Thread counts of 0 mean one per core."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0


class Runtime(Protocol):
    """One loaded version, ready to run.

    ``run`` may be called from any thread and from several at once. It trusts its arguments: names, dtypes and
    shapes were checked against the signature by the caller.
    """

    @property
    def name(self) -> str:
        """What executes the model, such as ``tensorflow``."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Every signature a client may call, the default one first."""

    @property
    def weights_bytes(self) -> int:
        """Bytes of the model's parameters."""

    @property
    def refused_signatures(self) -> Mapping[str, str]:
        """Signatures the model has but no client may call, by name, with the reason."""

    def call_path(self, signature: str) -> str:
        """How this signature is called, for the metadata, such as ``frozen graph, single-threaded session``."""

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """Measure the ways this runtime has of calling a signature, and use the best for inputs of each size.

        Called before the version serves, with nothing else running. Without it the runtime's default is used.

        Args:
            signature: one of ``signatures``.
            samples: inputs as they will come, the fewest rows first.
        """

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call: arrays in, arrays out, by the names of the signature.

        Strings are object arrays of bytes. The arrays returned are read-only and never share memory with the
        arguments; they may share it with the model, and stay valid after ``close``.

        Raises:
            InvalidRequestError: the model itself refused the values it was given.
            OutOfMemoryError: the call does not fit in memory.
            ModelFailedError: any other failure.
        The message is fit for a client; ``log_detail`` has the rest.
        """

    def close(self) -> None:
        """Let go of everything. No call may be running or follow."""


class Loader(Protocol):
    """Reads one format."""

    def __call__(self, path: Path, options: LoadOptions) -> Runtime:
        """Load the model at ``path``; blocks for as long as that takes.

        Raises ModelFailedError when the files are no model this runtime can execute, RuntimeMissingError when
        the package is not installed, OutOfMemoryError when it does not fit.
        """
