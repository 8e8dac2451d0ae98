"""Command-line flags, generated from the settings.

A flag of a list may be given several times, and each time name several parts with the list's separator between them.
A flag not given is None and therefore never hides the environment or the settings file. Values are checked in one
place, the settings; here only their form is told to the command line, for the help and for completion. Settings
that hold a secret have no flag: the process list is public.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import typer
from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

from tensorhost.settings import LIST_SEPARATORS, environment_variable, setting_fields

F = TypeVar("F", bound=Callable[..., Any])

ARGUMENT_FIELD = "model_path"
"""The setting given as an argument without a flag."""

_FLAGS = {"import_modules": "--import", "custom_op_libraries": "--custom-op-library"}
"""Flags that are not called like their setting, since each stands for one part of the list that the setting is."""

_PANEL_STARTS = {
    "host": "Essentials",
    "log_format": "Logging",
    "grpc_port": "gRPC",
    "admin_token": "Access and TLS",
    "model_name": "Models",
    "batching": "Batching and threads",
    "request_timeout_s": "Limits",
    "drain_window_s": "Shutdown",
}
"""The first setting of each panel, in the settings' order: a new setting falls into its neighbour's panel."""


@dataclass(frozen=True, slots=True)
class SettingFlag:
    """One setting as the command line and the reference show it. ``flag`` is empty for an argument or a secret."""

    field: str
    flag: str
    environment: str
    default: str
    description: str
    panel: str
    kind: Any
    metavar: str | None

    @property
    def is_argument(self) -> bool:
        """Whether the setting is given as a command's argument."""
        return self.field == ARGUMENT_FIELD


def setting_flags() -> list[SettingFlag]:
    """Every setting, in the settings' order."""
    flags, panel = [], ""
    for field, info in setting_fields().items():
        panel = _PANEL_STARTS.get(field, panel)
        flags.append(_describe(field, info, panel))
    return flags


def takes_settings(only: Iterable[str] | None = None) -> Callable[[F], F]:
    """Give a command one option per setting (or per setting in ``only``); it receives them as keywords."""
    chosen = None if only is None else frozenset(only)

    def decorate(command: F) -> F:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        generated = [
            _option(setting) for setting in setting_flags() if setting.flag and (not chosen or setting.field in chosen)
        ]
        command.__signature__ = signature.replace(parameters=[*own, *generated])  # type: ignore[attr-defined]  # read by inspect
        return command

    return decorate


def _option(setting: SettingFlag) -> inspect.Parameter:
    origin = f"env {setting.environment}" + (f", default {setting.default}" if setting.default else "")
    declaration = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.kind is bool else setting.flag
    option = typer.Option(
        None,
        declaration,
        help=f"{setting.description} [dim]({origin})[/dim]",
        metavar=setting.metavar,
        rich_help_panel=setting.panel,
        show_default=False,
        callback=_parts(LIST_SEPARATORS[setting.field]) if setting.field in LIST_SEPARATORS else None,
    )
    return inspect.Parameter(
        setting.field, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=setting.kind | None
    )


def _parts(separator: str) -> Callable[[list[str] | None], list[str] | None]:
    """Reads the values of a flag that may be repeated; None where it was not given."""

    def read(values: list[str] | None) -> list[str] | None:
        return [part.strip() for value in values for part in value.split(separator) if part.strip()] if values else None

    return read


def _describe(field: str, info: FieldInfo, panel: str) -> SettingFlag:
    kind = _without_none(info.annotation)
    has_flag = field != ARGUMENT_FIELD and kind is not SecretStr
    shown, metavar = _on_the_command_line(kind)
    return SettingFlag(
        field=field,
        flag=_FLAGS.get(field, "--" + field.replace("_", "-")) if has_flag else "",
        environment=environment_variable(field),
        default=_default_text(info.default),
        description=info.description or "",
        panel=panel,
        kind=shown,
        metavar=metavar,
    )


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
        return annotation if len(kinds) > 1 else kinds[0]
    return annotation


def _on_the_command_line(kind: Any) -> tuple[Any, str | None]:
    """The type and the placeholder of an option. Sizes, lists and unions arrive as text; the settings read them."""
    if get_origin(kind) in (Union, types.UnionType):
        return str, "<number or word>"
    if kind is ByteSize:
        return str, "<size>"
    if get_origin(kind) is tuple:
        return list[str], "<list>"
    return kind, None


def _default_text(default: Any) -> str:
    """The default as a user would write it; empty where there is none."""
    if default is None or default == ():
        return ""
    if isinstance(default, ByteSize):
        return default.human_readable().replace(".0", "")
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return f"./{default}" if isinstance(default, Path) and not default.is_absolute() else str(default)
