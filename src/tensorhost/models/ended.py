"""The last versions that are gone for good, so that who asks what became of one can be told."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tensorhost.core.errors import TensorhostError
from tensorhost.core.ids import ModelId

_MOST_VERSIONS = 8
_MOST_MODELS = 256


@dataclass(frozen=True, slots=True)
class EndedVersion:
    """A version that was served or tried and is no longer there; ``error`` is why it failed, None if it did not."""

    version: str
    error: TensorhostError | None = None


class Ended:
    """The last few of each model, the latest last; those of a model long gone make room for others'."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, dict[str, EndedVersion]] = OrderedDict()

    def note(self, model_id: ModelId, error: TensorhostError | None) -> None:
        """A version has gone."""
        versions = self._models.setdefault(model_id.name, {})
        self._models.move_to_end(model_id.name)
        versions.pop(model_id.version, None)
        versions[model_id.version] = EndedVersion(model_id.version, error)
        if len(versions) > _MOST_VERSIONS:
            del versions[next(iter(versions))]
        if len(self._models) > _MOST_MODELS:
            self._models.popitem(last=False)

    def of(self, name: str) -> tuple[EndedVersion, ...]:
        """Those of one model; one that has come back is still among them."""
        return tuple(self._models.get(name, {}).values())
