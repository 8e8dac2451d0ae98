"""What a TensorFlow.js model is made of, told from its ``model.json``.

Graph models have no findings by construction: the loader takes only operations that TensorFlow.js itself has, none of
which touches files, the network or Python. Layers models are configurations of Keras and examined as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.contents import MAX_PARAMETERS, Contents, most_frequent_first, shown
from tensorhost.runtimes.keras.contents import examine_layers
from tensorhost.runtimes.tfjs.layers_config import outermost
from tensorhost.runtimes.tfjs.model_json import ModelJson, read_model_json

_WEIGHT_DTYPES = frozenset({"float32", "complex64"})


def examine_tfjs(path: Path, options: LoadOptions) -> Contents:
    """What is in the model whose ``model.json`` lies at ``path``.

    Raises:
        ModelFailedError: the file is damaged or no model.
        RuntimeMissingError: TensorFlow or Keras is not installed, and it is a layers model.
    """
    model = read_model_json(path)
    if model.is_graph:
        counts = Counter(shown(name) for name in _operations_in(model.topology))
        return Contents(most_frequent_first(counts), _parameters_of(model))
    contents = examine_layers(outermost(model.topology), options)
    return replace(contents, parameters=_parameters_of(model))


def _operations_in(topology: dict[str, Any]) -> Iterator[str]:
    """The operation of every node, those in function bodies included; calls of functions are left out."""
    library = topology.get("library")
    functions = _dicts(library.get("function") if isinstance(library, dict) else None)
    bodies = [topology.get("node"), *(function.get("nodeDef") for function in functions)]
    signatures = (function.get("signature") for function in functions)
    names = {signature.get("name") for signature in signatures if isinstance(signature, dict)}
    for body in bodies:
        for node in _dicts(body):
            operation = node.get("op")
            if isinstance(operation, str) and operation not in names:
                yield operation


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parameters_of(model: ModelJson) -> int | None:
    """Numbers in the weights; whole numbers and single values in a graph are sizes and axes."""
    count = sum(
        prod(weight.shape)
        for group in model.manifest
        for weight in group.weights
        if not weight.optimizer and weight.dtype in _WEIGHT_DTYPES and (weight.shape or not model.is_graph)
    )
    return count if count < MAX_PARAMETERS else None
