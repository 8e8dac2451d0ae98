"""Reading a table of options key by key over the values in force, and saying what is wrong with it.

A table is a request's JSON object or a model.toml table. Every key is known or the table is refused; null brings a
key back to its blank value; the first fault ends the reading. Pure, and on the path of every request with options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from tensorhost.pipelines.option_fields import OptionError, Reader

Keys: TypeAlias = Mapping[str, tuple[str, Reader]]
"""Key as written, to the name of the field it sets and the reader of its value."""


class UnknownKeyError(OptionError):
    """A key that the table does not have."""


class ModelOnlyError(OptionError):
    """A key that only the model's own configuration may set."""


def refuse(value: Any, _current: Any) -> Any:
    """The reader of keys that name code or files, where a request is read."""
    raise ModelOnlyError("left to the model's configuration", value)


def read_table(raw: object, defaults: Any, keys: Keys) -> dict[str, Any]:
    """The fields of the options ``defaults`` by name, with what ``raw`` changes. Raises OptionError with its key."""
    if not isinstance(raw, dict):
        raise OptionError("an object", raw)
    values = {name: getattr(defaults, name) for name in defaults.__slots__}
    for key, value in raw.items():
        entry = keys.get(key)
        if entry is None:
            raise _unknown(key, keys)
        name, reader = entry
        try:
            if value is None and reader is not refuse:
                values[name] = _blank(defaults, name)
            else:
                values[name] = reader(value, values[name])
        except OptionError as fault:
            fault.key = f"{key}.{fault.key}" if fault.key else key
            raise
    return values


def _blank(options: Any, name: str) -> Any:
    return next(field.default for field in fields(options) if field.name == name)


def _unknown(key: object, keys: Keys) -> UnknownKeyError:
    known = ", ".join(f"'{name}'" for name, (_, reader) in keys.items() if reader is not refuse)
    return UnknownKeyError(f"one of {known}", None, str(key)[:64])


def explain(fault: OptionError, path: str) -> tuple[str, dict[str, object]]:
    """Message and details of the error for ``fault`` in the table at ``path``, such as ``preprocessing``."""
    field = f"{path}.{fault.key}" if fault.key else path
    if isinstance(fault, ModelOnlyError):
        return f"'{field}' is set in the model's model.toml, never in a request.", {"field": field}
    if isinstance(fault, UnknownKeyError):
        return f"'{field}' is unknown; expected {fault.expected}.", {"field": field, "expected": fault.expected}
    details: dict[str, object] = {"field": field, "expected": fault.expected, "actual": fault.actual}
    return f"'{field}' must be {fault.expected}, not {fault.actual}.", details
