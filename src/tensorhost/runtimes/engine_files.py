"""What a model was turned into for another runtime than its own: a file, and the names of its tensors in there.

Plain data that is kept on disk and read back, so it is checked like any file: see ``engine_signature``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.signatures import Signature


@dataclass(frozen=True, slots=True)
class EngineFile:
    """One signature in another runtime's form.

    Attributes:
        file: its path inside the folder of the model's engines.
        inputs, outputs: names of the file's own tensors, by the names and in the order of the signature.
    """

    file: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EngineSignature:
    """A signature and the file that computes it."""

    signature: Signature
    path: Path
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def engine_signature(folder: Path, engine: EngineFile, signature: Signature) -> EngineSignature:
    """``engine`` in ``folder``, for ``signature``. Raises ModelFailedError where the two do not fit or it is gone."""
    path = folder / engine.file
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise ModelFailedError("A compiled form of the model is missing.", log_detail=f"path: {path}")
    if set(engine.inputs) != set(signature.inputs) or set(engine.outputs) != set(signature.outputs):
        raise ModelFailedError("A compiled form of the model has other inputs or outputs.", log_detail=f"path: {path}")
    return EngineSignature(signature, path, engine.inputs, engine.outputs)
