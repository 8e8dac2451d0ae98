"""Labels: who may move one where, and when the labels of a list take effect. It waits for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tensorhost.core.errors import InvalidRequestError, LabelNotReadyError
from tensorhost.core.ids import check_name
from tensorhost.models.catalog import Catalog
from tensorhost.models.listed import MOST_LABELS, ListedModel
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.records import ModelRecord
from tensorhost.models.repository import ModelOnDisk
from tensorhost.telemetry import get_logger

log = get_logger(__name__)


class Labels:
    """Moves the labels of a catalog's models."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def check(self, name: str, label: str, version: str | None) -> None:
        """Whether an operator may give ``label`` to ``version``, or (None) take back what was said of it.

        Raises what ``ModelManager.label_version`` raises.
        """
        model = self._catalog.model(name)
        check_name(label, "label")
        if label in model.versions:
            raise InvalidRequestError(f"'{label}' is a version of model '{name}' and cannot be a label.")
        if version is None:
            return
        record = model.versions.get(version)
        if record is None:
            raise self._catalog.unknown_version(model, version)
        if len({*model.version_labels, label}) > MOST_LABELS:
            raise InvalidRequestError(f"Model '{name}' has {MOST_LABELS} labels, the most it may.")
        if not (record.available or model.lazy):
            raise self._catalog.not_ready(record)

    def move(self, name: str, label: str, version: str | None) -> None:
        """Do it, whatever the version is doing. Raises ModelNotFoundError."""
        model = self._catalog.model(name)
        if version is None:
            model.moved_labels.pop(label, None)
        else:
            model.moved_labels[label] = version
        self._catalog.refresh(model)


def refuse_unavailable(
    listed: ListedModel, on_disk: ModelOnDisk, policy: VersionPolicy, model: ModelRecord | None, *, may_wait: bool
) -> None:
    """Raise LabelNotReadyError where a list has a label whose version does not serve, nor will under that list.

    Args:
        listed: the model as the list has it.
        on_disk: what is there of it.
        policy: which of its versions are to be served.
        model: what is known of it so far.
        may_wait: whether a label that is not in use may name any version.
    """
    usable = {version for version, files in on_disk.versions.items() if not files.problem or files.settling}
    serving = set() if model is None else {version for version, record in model.versions.items() if record.available}
    expected = policy.choose(usable | (serving & on_disk.versions.keys()))
    in_use: Mapping[str, str] = {} if model is None else model.version_labels
    for label, version in listed.labels.items():
        if version not in expected and not (may_wait and label not in in_use):
            raise not_available(listed.name, version)


def unsettled(model: ModelRecord) -> LabelNotReadyError | None:
    """Why not all labels of the list have taken effect; None when they have."""
    wanted = {} if model.listed is None else model.listed.labels
    for label, version in wanted.items():
        if model.listed_labels.get(label) != version:
            return not_available(model.name, version)
    return None


def not_available(name: str, version: str) -> LabelNotReadyError:
    """The refusal of a label, in TensorFlow Serving's words."""
    return LabelNotReadyError(
        f"Request to assign label to version {version} of model {name}, which is not currently available for inference"
    )


def warn_of_idle(models: Iterable[ModelRecord]) -> None:
    """Log the labels of lists that lead to versions which do not serve: at the start none of them is refused."""
    for model in models:
        wanted = {} if model.listed is None or model.lazy else model.listed.labels
        for label, version in wanted.items():
            record = model.versions.get(version)
            if record is None or not record.available:
                log.warning("a label leads to a version that does not serve", model=model.name, label=label, to=version)
