"""What the client remembers of the outputs of models, so that answers get the dtypes of their signatures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tensorhost.core.dtypes import DType

_MOST_VERSIONS = 256
"""Servers come to newer versions all the time, and what is no longer asked need not be remembered."""

OutputDTypes = Mapping[str, DType]
"""dtypes of a signature's outputs, by name and in their order. Outputs of unknown dtype are left out."""


class KnownSignatures:
    """dtypes of outputs by model, version and signature (None for the default one). Safe to share between threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Mapping[str | None, OutputDTypes]] = {}

    def find(self, model: str, version: str, signature: str | None) -> OutputDTypes | None:
        """The dtypes; None for a version that was not asked for yet."""
        signatures = self._known.get((model, version))
        return None if signatures is None else signatures.get(signature, {})

    def remember(self, model: str, version: str, description: Mapping[str, Any]) -> None:
        """Keep what the server's description of a version says; an empty one is kept as knowing nothing."""
        self._known[model, version] = _read(description)
        while len(self._known) > _MOST_VERSIONS:
            self._known.pop(next(iter(self._known), ("", "")), None)

    def forget(self, model: str) -> None:
        """Forget a model that is loaded or unloaded: a version may come back with other files."""
        for key in [key for key in list(self._known) if key[0] == model]:
            self._known.pop(key, None)


def _read(description: Mapping[str, Any]) -> Mapping[str | None, OutputDTypes]:
    signatures = description.get("signatures")
    known: dict[str | None, OutputDTypes] = {None: _outputs(description)}
    if isinstance(signatures, dict):
        known |= {name: _outputs(signature) for name, signature in signatures.items()}
    return known


def _outputs(signature: Any) -> OutputDTypes:
    specs = signature.get("outputs") if isinstance(signature, dict) else None
    if not isinstance(specs, list):
        return {}
    known: dict[str, DType] = {}
    for spec in specs:
        if isinstance(spec, dict) and isinstance(spec.get("name"), str):
            # A newer server may know types that this client does not.
            with suppress(ValueError):
                known[spec["name"]] = DType(str(spec.get("dtype")))
    return known
