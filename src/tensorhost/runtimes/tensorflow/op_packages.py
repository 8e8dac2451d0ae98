"""Operations that TensorFlow itself does not have: which a model needs, and which package they come with.

Only packages known for sure are named; an operation not listed may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Collection

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.graph_scan import Reached

_MOST_NAMED = 10

_BY_PREFIX = {
    "TFText>": "tensorflow_text",
    "Sentencepiece": "tensorflow_text",
    "Addons>": "tensorflow_addons",
    "IO>": "tensorflow_io",
    "SimpleML": "tensorflow_decision_forests",
}

_TEXT = frozenset(
    {
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentenceFragmentsV2",
        "SplitMergeTokenizeWithOffsets",
        "TokenizerFromLogits",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsets",
        "WordpieceTokenizeWithOffsets",
    }
)
"""Operations of tensorflow_text 2.21 that carry no prefix."""


def package_of(operation: str) -> str | None:
    """The module to import for ``operation``, or None where that is not known."""
    if operation in _TEXT:
        return "tensorflow_text"
    return next((package for prefix, package in _BY_PREFIX.items() if operation.startswith(prefix)), None)


def refuse_unknown_operations(reached: Reached) -> None:
    """Raise UnsupportedModelError naming the operations in ``reached`` that nothing has registered.

    TensorFlow says so too, but names one at a time, prints pages, and finds those in functions only when they run.
    """
    from tensorflow.python.framework import op_def_registry

    functions = {function.signature.name for function in reached.functions}
    used = {str(node.op) for node in reached.all_nodes()} - functions
    unknown = sorted(operation for operation in used if op_def_registry.get(operation) is None)
    if unknown:
        raise unknown_operations(unknown)


def unknown_operations(names: Collection[str], log_detail: str | None = None) -> UnsupportedModelError:
    """The error of a model that needs the operations ``names``, with what to do about it.

    No further attempt is of use: an operation is registered when the server starts, or never.
    """
    packages = {package for name in names if (package := package_of(name)) is not None}
    cures = [f"--import {package} (install the package first)" for package in sorted(packages)]
    if any(package_of(name) is None for name in names):
        cures.append("--import MODULE or --custom-op-library FILE, naming what registers it")
    listed = ", ".join([shown(name) for name in names][:_MOST_NAMED]) + (
        " and others" if len(names) > _MOST_NAMED else ""
    )
    return UnsupportedModelError(
        f"The model needs the operation{'' if len(names) == 1 else 's'} {listed}, which TensorFlow itself does not "
        f"have; start with {' and '.join(cures)}.",
        details={"operations": [shown(name) for name in names], "packages": sorted(packages)},
        log_detail=log_detail,
    )
