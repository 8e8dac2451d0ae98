"""Which path of this machine a client may name to load a model from."""

from __future__ import annotations

from pathlib import Path

from tensorhost.core.errors import InvalidRequestError, PermissionDeniedError
from tensorhost.models.manager import local_path
from tensorhost.settings import Settings


def permitted_path(settings: Settings, source: str, field: str = "path") -> Path:
    """The real path of ``source``, a path or ``file://`` URL, if it lies under the model path or an allowed root.

    Raises:
        InvalidRequestError: it is no path; ``field`` names it in the message.
        PermissionDeniedError: it lies elsewhere.
    """
    if "\0" in source or "\\" in source:
        raise InvalidRequestError(f"'{field}' must not contain a backslash or a zero byte.", details={"field": field})
    model_path = settings.model_path
    roots = [model_path, *settings.allowed_roots]
    try:
        path = local_path(source)
        # Relative paths mean the model path first: that is the folder the client knows about.
        candidates = [path] if path.is_absolute() else [model_path / path, path]
        resolved = [candidate.resolve() for candidate in candidates]
        inside = [
            candidate for candidate in resolved if any(candidate.is_relative_to(root.resolve()) for root in roots)
        ]
        existing = [candidate for candidate in inside if candidate.exists()]
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidRequestError(f"'{field}' is not a valid path.", details={"field": field}) from error
    if not inside:
        raise PermissionDeniedError(f"'{field}' must lie under the model path or an allowed root.")
    return (existing or inside)[0]
