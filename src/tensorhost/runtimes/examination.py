"""What a model is made of and could do, told from its files before it is loaded; and whether that is trusted.

Nothing of the model is executed, and no runtime is imported but those whose own tables are needed to read a format.
What must stay true: what examination looks at is what loading would execute, and in doubt there is a finding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tensorhost.core.errors import ModelFailedError, UntrustedModelError
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Trust
from tensorhost.runtimes.contents import Contents, Finding, FindingKind, shown, worst_first
from tensorhost.runtimes.detection import locate_model
from tensorhost.runtimes.formats import is_direct

Examiner = Callable[[Path, LoadOptions], Contents]
"""Looks into the model of one format."""

_EXAMINERS = {
    ModelFormat.SAVED_MODEL: "tensorhost.runtimes.tensorflow.graph_contents:examine_saved_model",
    ModelFormat.GRAPH_DEF: "tensorhost.runtimes.tensorflow.graph_contents:examine_graph_def",
    ModelFormat.KERAS: "tensorhost.runtimes.keras.contents:examine_keras",
    ModelFormat.KERAS_H5: "tensorhost.runtimes.keras.contents:examine_keras_h5",
    ModelFormat.TFJS: "tensorhost.runtimes.tfjs.contents:examine_tfjs",
    ModelFormat.TFLITE: "tensorhost.runtimes.litert.contents:examine_tflite",
}
_WITHOUT_TENSORFLOW = _EXAMINERS | {
    ModelFormat.SAVED_MODEL: "tensorhost.runtimes.openvino.saved_model_file:examine_without_tensorflow"
}
_MOST_NAMED = 3


def examine(path: Path, options: LoadOptions) -> Contents:
    """What the model at ``path`` is made of and could do. Reads files only; blocks while it does.

    Args:
        path: a model's folder or file, as ``load`` takes it.
        options: what it would be loaded with.

    Raises:
        ModelFailedError: no model is there, or its files are damaged.
        RuntimeMissingError: the package that knows the format is not installed.
    """
    found = locate_model(path)
    if found is None:
        raise ModelFailedError("No model was found.", log_detail=f"path: {path}")
    location, model_format = found
    examiners = _WITHOUT_TENSORFLOW if is_direct(model_format, options) else _EXAMINERS
    module, _, function = examiners[model_format].partition(":")
    examiner: Examiner = getattr(importlib.import_module(module), function)
    contents = examiner(location, options)
    imported = [name for name in options.model_modules if name not in options.modules]
    return replace(contents, findings=worst_first([*contents.findings, *map(_imports, imported)]))


def refuse_untrusted(contents: Contents, options: LoadOptions) -> None:
    """Raise UntrustedModelError for a model with findings where the operator trusts strictly."""
    if options.trust is not Trust.STRICT or not contents.findings:
        return
    named = " ".join(f"{finding.subject}: {finding.explanation}" for finding in contents.findings[:_MOST_NAMED])
    more = len(contents.findings) - _MOST_NAMED
    rest = f" And {more} more." if more > 0 else ""
    raise UntrustedModelError(
        f"The model could do more than compute, and such models are refused (trust = strict). {named}{rest}",
        details={"findings": [finding.to_json() for finding in contents.findings]},
    )


def _imports(module: str) -> Finding:
    return Finding(FindingKind.RUNS_PYTHON, shown(module), 1, "model.toml imports this module, which runs its code.")
