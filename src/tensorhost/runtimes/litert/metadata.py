"""Names of inputs and outputs from TensorFlow Lite metadata, which many published models carry.

It is a FlatBuffer of its own inside the model, for people and for tools that generate code. What must stay true:
it is a courtesy, so whatever is wrong with it, the model is served without it.
"""

from __future__ import annotations

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.litert.flatbuffer import Document, Table

_MAGIC = b"M001"
_SUBGRAPHS, _INPUTS, _OUTPUTS, _NAME = 3, 2, 3, 0


def metadata_names(metadata: bytes) -> tuple[list[str], list[str]]:
    """Names of the main graph's inputs and of its outputs, in order; empty lists where there are none."""
    if metadata[4:8] != _MAGIC:
        return [], []
    try:
        main = next(Document(metadata).root().tables(_SUBGRAPHS), None)
        return ([], []) if main is None else (main.each(_INPUTS, _name), main.each(_OUTPUTS, _name))
    except ModelFailedError:
        return [], []


def _name(table: Table) -> str:
    return table.text(_NAME).strip()
