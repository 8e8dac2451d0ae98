"""Models in a manager's catalog that never came from a disk, for tests of what is told about them."""

from pathlib import Path

from tensorhost.core.ids import ModelId
from tensorhost.models.config import ModelConfig
from tensorhost.models.manager import ModelManager
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.states import VersionState
from tensorhost.runtimes import ModelFormat


class FakeServable:
    """Known by its version, and lent to nobody."""

    def __init__(self, model_id):
        self.id = model_id


def add_model(manager: ModelManager, name: str = "m", *, labels=None, policy="latest:1", **versions) -> ModelRecord:
    """A model with versions ``v1=VersionState.AVAILABLE`` or ``v1=(VersionState.END, error)``: named ``1``."""
    folder = Path(name)
    model = ModelRecord(
        name, folder, ModelConfig(version_labels=labels or {}), policy=VersionPolicy.parse(policy), versions={}
    )
    for key, given in versions.items():
        state, error = given if isinstance(given, tuple) else (given, None)
        version = key.removeprefix("v").replace("_", ".")
        record = VersionRecord(
            ModelId(name, version), VersionOnDisk(version, folder, ModelFormat.SAVED_MODEL, 0, 0.0), state, error=error
        )
        if state is VersionState.AVAILABLE:
            record.servable = FakeServable(record.id)
        model.versions[version] = record
    manager._catalog.models[name] = model
    manager._catalog.refresh(model)
    return model
