"""Loading TensorFlow.js models: graph models and layers models, told apart by what their topology holds."""

from __future__ import annotations

from pathlib import Path

from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.tfjs.graph_model import load_graph_model
from tensorhost.runtimes.tfjs.layers_model import load_layers_model
from tensorhost.runtimes.tfjs.model_json import read_model_json


def load_tfjs(path: Path, options: LoadOptions) -> Runtime:
    """Load the TensorFlow.js model whose ``model.json`` is at ``path``; its name may be another.

    Raises:
        ModelFailedError: the files are damaged, incomplete or use what tensorhost does not execute.
        RuntimeMissingError: TensorFlow is not installed.
        OutOfMemoryError: the model does not fit.
    """
    model = read_model_json(path)
    return (load_graph_model if model.is_graph else load_layers_model)(model, options)
