"""Classes and functions that the operator's modules registered with Keras, found by the names that files use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.runtimes.keras.legacy_functions import PACKAGE


def registered_name(registered: Mapping[str, Any], name: str) -> str | None:
    """The full name, ``package>name``, of the registered object that a file means; None where there is none.

    Files name what was not registered when they were written without a package; that is found in any one package, and
    not found in several.

    Args:
        registered: what ``keras.saving.get_custom_objects`` gives.
        name: with or without package.
    """
    if name in registered:
        return name
    matches = [key for key in registered if key.endswith(f">{name}") and not key.startswith(f"{PACKAGE}>")]
    return matches[0] if len(matches) == 1 else None
