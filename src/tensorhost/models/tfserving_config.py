"""TensorFlow Serving's ModelServerConfig, from a file or a call, as a list of models. Errors are in its words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.models.listed import ListedModel, ModelList, RequestLogOptions, check_list
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.sources import local_path

_MESSAGE = "tensorflow.serving.ModelServerConfig"
_PLATFORM = "tensorflow"
_UNSET, _TENSORFLOW = 0, 1


def model_list(config: Any) -> ModelList:
    """The models of a ModelServerConfig.

    Args:
        config: the message, from bytes or text.

    Raises:
        InvalidRequestError: it is no list, or an entry of it cannot be served whatever is on disk.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise InvalidRequestError(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        )
    models = tuple(_listed(entry) for entry in config.model_config_list.config)
    check_list(models)
    for entry in config.model_config_list.config:
        _check_platform(entry)
    return models


def read_model_list(text: str, source: str) -> ModelList | None:
    """The models of a ModelServerConfig in text form; None when it says nothing at all.

    Args:
        text: the file's.
        source: its name, for programs that read the error.

    Raises:
        InvalidRequestError: as ``model_list``, or the text is not of that form; the message has line and column.
    """
    config = parse_text(_MESSAGE, text, source)
    return None if config.WhichOneof("config") is None else model_list(config)


def _listed(entry: Any) -> ListedModel:
    return ListedModel(
        name=entry.name,
        base_path=_base_path(entry),
        policy=_policy(entry.model_version_policy),
        labels={label: str(version) for label, version in sorted(entry.version_labels.items())},
        request_log=_request_log(entry) if entry.HasField("logging_config") else None,
    )


def _base_path(entry: Any) -> Path:
    scheme, separator, _ = entry.base_path.partition("://")
    if separator and scheme != "file":
        raise InvalidRequestError(
            f"Model {entry.name[:128]}: models are read from paths and file:// URLs, not from {scheme[:32]}://"
        )
    if "\0" in entry.base_path:
        raise InvalidRequestError(f"Model {entry.name[:128]}: base_path has a zero byte")
    return local_path(entry.base_path)


def _policy(chosen: Any) -> VersionPolicy | None:
    match chosen.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy()
        case "specific":
            return VersionPolicy(specific=frozenset(map(str, chosen.specific.versions)))
        case "latest":
            return VersionPolicy(latest=max(chosen.latest.num_versions, 1))
        case _:
            return None


def _request_log(entry: Any) -> RequestLogOptions | None:
    rate = entry.logging_config.sampling_config.sampling_rate
    prefix = entry.logging_config.log_collector_config.filename_prefix
    if math.isnan(rate) or not 0 <= rate <= 1:
        raise InvalidRequestError(f"Model {entry.name[:128]}: sampling_rate of logging_config must be from 0 to 1")
    if rate == 0:
        return None
    if not Path(prefix).is_absolute() or "\0" in prefix:
        raise InvalidRequestError(
            f"Model {entry.name[:128]}: filename_prefix of logging_config must be an absolute path"
        )
    return RequestLogOptions(rate, Path(prefix))


def _check_platform(entry: Any) -> None:
    wanted, name = entry.model_platform, entry.name
    if entry.model_type != _UNSET and wanted:
        raise InvalidRequestError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
            f"model name is {name}"
        )
    if entry.model_type == _UNSET and not wanted:
        raise InvalidRequestError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {name}"
        )
    if entry.model_type not in (_UNSET, _TENSORFLOW) or wanted not in ("", _PLATFORM):
        raise InvalidRequestError(f"Model {name} requests unsupported platform {wanted[:128] or 'OTHER'}")
