"""What is in a ``.tflite`` file, without LiteRT."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.contents import Contents, Finding, FindingKind, most_frequent_first, shown
from tensorhost.runtimes.litert.consistency import check_model, element_count
from tensorhost.runtimes.litert.model_file import ModelFile, parse_model, read_model_file
from tensorhost.runtimes.litert.operators import CUSTOM, LITERT_CUSTOM

_EXPLANATION = "A custom operation: what it does is up to the library that provides it."


def examine_tflite(path: Path, options: LoadOptions) -> Contents:  # noqa: ARG001  # called like the others
    """Operations of all graphs with how many there are, numbers in the constants, and custom operations as findings.

    Raises ModelFailedError for a damaged file.
    """
    model = parse_model(read_model_file(path))
    check_model(model)
    operations = Counter(operator.name for subgraph in model.subgraphs for operator in subgraph.operators)
    custom = Counter(
        operator.name
        for subgraph in model.subgraphs
        for operator in subgraph.operators
        if operator.code == CUSTOM and operator.name not in LITERT_CUSTOM
    )
    return Contents(
        operations=most_frequent_first(operations),
        parameters=_parameters(model),
        findings=tuple(
            Finding(FindingKind.UNKNOWN_CODE, shown(name), count, _EXPLANATION)
            for name, count in sorted(custom.items())
        ),
    )


def _parameters(model: ModelFile) -> int:
    """Elements of the constants, each buffer once."""
    constants = {
        tensor.buffer: element_count(tensor)
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if model.content(tensor) is not None
    }
    return sum(constants.values())
