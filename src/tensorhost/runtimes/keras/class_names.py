"""How files name what is Keras's own, and the names that need a second look. Pure.

What refuses a file and what tells people about it go by the same lists.
"""

from __future__ import annotations

from typing import Any

PACKAGES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")
"""Packages that are Keras, of whatever generation."""

VALUES = frozenset(
    f"__{name}__" for name in ("bytes", "complex", "ellipsis", "keras_tensor", "numpy", "slice", "tensor", "tuple")
)
"""Classes that are values and not code."""

VOCABULARY_LAYERS = frozenset({"IntegerLookup", "StringLookup", "TextVectorization"})
"""Layers that look up text or numbers in a list."""

VOCABULARY_SETTINGS = ("vocabulary", "idf_weights")
"""Their settings that are a list, or the path of a file to read it from."""


def is_keras(module: Any) -> bool:
    """Whether ``module``, as a file gives it, is one of Keras's by its name."""
    return isinstance(module, str) and any(module == known or module.startswith(f"{known}.") for known in PACKAGES)
