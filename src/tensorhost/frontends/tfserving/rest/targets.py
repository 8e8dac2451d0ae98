"""What a path under ``/v1/`` means: a method of a model, its status, its metadata, or all models. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

from tensorhost.frontends.tfserving.faults import InvalidArgumentError
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.versions import LARGEST

PREFIX = "/v1/"
"""With which all paths begin, in either case."""

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<api>classify|regress|predict)", re.IGNORECASE)
_DESCRIPTION = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?/?", re.IGNORECASE)
_LONGEST_KEPT = 256
_MOST_DIGITS = len(str(LARGEST))


class Api(StrEnum):
    """What is asked for; also how calls are labelled in the metrics."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    STATUS = "status"
    METADATA = "metadata"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked of which model; ``name`` is empty for the list of all."""

    api: Api
    name: str = ""
    version: int | None = None
    label: str | None = None

    def spec(self, signature: str = "") -> ModelSpec:
        """The model meant, and a signature of it."""
        return ModelSpec(self.name, self.version, self.label, signature)


def find_target(method: str, path: str) -> Target:
    """What ``method`` on ``path``, as it was sent and without its query, asks for.

    Raises ServingError for anything that is no route, and for a version that is no int64.
    """
    return _find_again(method, path) if len(path) <= _LONGEST_KEPT else _find(method, path)


def _find(method: str, path: str) -> Target:
    pattern = {"POST": _CALL, "GET": _DESCRIPTION}.get(method)
    match = pattern.fullmatch(path) if pattern is not None else None
    if match is None:
        raise InvalidArgumentError(f"Malformed request: {method} {path[:_LONGEST_KEPT]}")
    found = match.groupdict()
    name, version, label = found["name"], _number(found["version"]), found["label"]
    if "api" in found:
        api = Api(found["api"].lower())
    elif name is None:
        if version is not None or label is not None or found["metadata"]:
            raise InvalidArgumentError("Missing model name in request.")
        return Target(Api.LIST)
    else:
        api = Api.METADATA if found["metadata"] else Api.STATUS
    return Target(api, unquote(name), version, None if label is None else unquote(label))


def _number(version: str | None) -> int | None:
    if version is None:
        return None
    digits = version.lstrip("0") or "0"
    number = int(digits) if len(digits) <= _MOST_DIGITS else LARGEST + 1
    if number > LARGEST:
        raise InvalidArgumentError(f"Failed to convert version: {version[:_LONGEST_KEPT]} to numeric.")
    return number


_find_again = lru_cache(maxsize=1024)(_find)
