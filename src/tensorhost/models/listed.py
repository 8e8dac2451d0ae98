"""Models listed one by one, each with the folder its versions lie in, as TensorFlow Serving lists them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.ids import check_name, is_valid_name
from tensorhost.models.policy import VersionPolicy

MOST_LABELS = 100
"""Of one model."""

_NUMBER = re.compile(r"[0-9]{1,255}")
_LARGEST = 2**63 - 1
_MOST_MODELS = 20_000
_LONGEST_PATH = 4096
_MOST_TEXT = 16 * 2**20
"""Characters of a whole list; it is sent between processes as one message."""


@dataclass(frozen=True, slots=True)
class RequestLogOptions:
    """Which requests of a model are logged: a share from 0 to 1, to files whose paths begin with a prefix."""

    sampling_rate: float
    filename_prefix: Path


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of a list.

    Attributes:
        name: what clients call it.
        base_path: the absolute path of the folder whose subfolders are its versions.
        policy: which of them are served; None for what its model.toml or else the settings say.
        labels: labels and the versions they name. A label does not make its version be loaded: the policy does.
        request_log: which of its requests are logged; None for none.

    Versions are named as ``version_of`` names them.
    """

    name: str
    base_path: Path
    policy: VersionPolicy | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    request_log: RequestLogOptions | None = None


ModelList = tuple[ListedModel, ...]
"""Everything that is served; no name twice."""


def version_of(folder_name: str) -> str | None:
    """The version a folder is named after, without leading zeros; None unless the whole name is a number below 2^63."""
    if _NUMBER.fullmatch(folder_name) is None:
        return None
    number = int(folder_name)
    return str(number) if number <= _LARGEST else None


def check_list(models: ModelList) -> None:
    """Raise InvalidRequestError for a list that cannot be served, whatever is on disk."""
    if len(models) > _MOST_MODELS:
        raise InvalidRequestError(f"A list may have {_MOST_MODELS} models, not {len(models)}.")
    for name, times in Counter(model.name for model in models).items():
        if times > 1:
            raise InvalidRequestError(f"Illegal to list model {name[:128]} multiple times in config list")
    for model in models:
        _check_entry(model)
    if sum(map(_text_size, models)) > _MOST_TEXT:
        raise InvalidRequestError(f"A list of models may have {_MOST_TEXT} characters in all.")


def _check_entry(model: ListedModel) -> None:
    check_name(model.name)
    if not model.base_path.is_absolute():
        given = str(model.base_path)[:1024]
        raise InvalidRequestError(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={given}"
        )
    if max(len(str(path)) for path in _paths(model)) > _LONGEST_PATH:
        raise InvalidRequestError(f"Model {model.name}: a path may have {_LONGEST_PATH} characters.")
    if len(model.labels) > MOST_LABELS:
        raise InvalidRequestError(f"Model {model.name} may have {MOST_LABELS} labels, not {len(model.labels)}.")
    for label in model.labels:
        if not is_valid_name(label):
            raise InvalidRequestError(
                f"Model {model.name}: a label must be 1 to 128 letters, digits, '.', '_' or '-', not '{label[:128]}'."
            )


def _paths(model: ListedModel) -> list[Path]:
    logged = model.request_log
    return [model.base_path] if logged is None else [model.base_path, logged.filename_prefix]


def _text_size(model: ListedModel) -> int:
    specific = model.policy.specific if model.policy is not None else None
    versions = [*(specific or ()), *model.labels.values()]
    return sum(map(len, (model.name, *map(str, _paths(model)), *model.labels, *versions)))
