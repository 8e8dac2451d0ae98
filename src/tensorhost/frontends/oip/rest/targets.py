"""The routes under ``/v2``, each with who may call it, and what a path means. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from urllib.parse import unquote

from tensorhost.core.errors import MethodNotAllowedError, NotFoundError
from tensorhost.frontends.rpc import Role

PREFIX = "/v2"
_LONGEST_KEPT = 256


def _pattern(path: str) -> re.Pattern[str]:
    pattern = path.replace("[", "(?:").replace("]", ")?").replace("{version}", "(?P<version>[0-9]+)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), re.ASCII)


class Api(Enum):
    """What a route is for: its method, its path and the role it needs.

    In a path ``{name}`` stands for a part without a slash, ``{version}`` for digits, and what is in square brackets may
    be left out.
    """

    SERVER = "GET", "/v2"
    LIVE = "GET", "/v2/health/live"
    READY = "GET", "/v2/health/ready"
    MODELS = "GET", "/v2/models"
    ALL_STATISTICS = "GET", "/v2/models/stats"
    MODEL = "GET", "/v2/models/{name}[/versions/{version}]"
    MODEL_READY = "GET", "/v2/models/{name}[/versions/{version}]/ready"
    CONFIG = "GET", "/v2/models/{name}[/versions/{version}]/config"
    STATISTICS = "GET", "/v2/models/{name}[/versions/{version}]/stats"
    INFER = "POST", "/v2/models/{name}[/versions/{version}]/infer"
    GENERATE = "POST", "/v2/models/{name}[/versions/{version}]/generate"
    GENERATE_STREAM = "POST", "/v2/models/{name}[/versions/{version}]/generate_stream"
    INDEX = "POST", "/v2/repository[/{repository}]/index"
    LOAD = "POST", "/v2/repository[/{repository}]/models/{name}/load", Role.CONTROL
    UNLOAD = "POST", "/v2/repository[/{repository}]/models/{name}/unload", Role.CONTROL
    TRACE = "GET", "/v2[/models/{name}]/trace/setting"
    UPDATE_TRACE = "POST", "/v2[/models/{name}]/trace/setting", Role.CONTROL
    LOGGING = "GET", "/v2/logging"
    UPDATE_LOGGING = "POST", "/v2/logging", Role.CONTROL
    SHARED_STATUS = "GET", "/v2/systemsharedmemory[/region/{region}]/status"
    SHARED_REGISTER = "POST", "/v2/systemsharedmemory/region/{region}/register", Role.CONTROL
    SHARED_UNREGISTER = "POST", "/v2/systemsharedmemory[/region/{region}]/unregister", Role.CONTROL
    CUDA_STATUS = "GET", "/v2/cudasharedmemory[/region/{region}]/status"
    CUDA_REGISTER = "POST", "/v2/cudasharedmemory/region/{region}/register", Role.CONTROL
    CUDA_UNREGISTER = "POST", "/v2/cudasharedmemory[/region/{region}]/unregister", Role.CONTROL

    def __init__(self, method: str, path: str, role: Role = Role.INFER) -> None:
        self.method = method
        self.path = path
        self.role = role
        self.pattern = _pattern(path)


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, of what: the named parts of the path, without those that were left out."""

    api: Api
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model; empty where there is none in the path."""
        return self.values.get("name", "")

    @property
    def version(self) -> str:
        """Digits; empty where there are none in the path."""
        return self.values.get("version", "")


def find_target(method: str, path: str) -> Target:
    """What ``method`` on ``path``, as it was sent and without its query, asks for.

    Raises:
        NotFoundError: there is no such route.
        MethodNotAllowedError: there is, for another method.
    """
    return _find_again(method, path) if len(path) <= _LONGEST_KEPT else _find(method, path)


def _find(method: str, path: str) -> Target:
    allowed: list[str] = []
    for api in Api:
        match = api.pattern.fullmatch(path)
        if match is None:
            continue
        if method == api.method:
            return Target(api, {key: unquote(part) for key, part in match.groupdict().items() if part is not None})
        allowed.append(api.method)
    if not allowed:
        raise NotFoundError("Not Found")
    raise MethodNotAllowedError("Method Not Allowed", details={"allowed": _once(allowed)})


_find_again = lru_cache(maxsize=1024)(_find)


def _once(methods: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(methods))
