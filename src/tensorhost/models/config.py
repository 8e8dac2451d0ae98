"""A model's own settings: the ``model.toml`` that may lie in its folder.

Read as hostile: unknown keys, wrong types and paths that leave the folder are errors that name the key.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.core.ids import is_valid_name
from tensorhost.models.policy import VersionPolicy
from tensorhost.settings import check_batch_sizes

FILE_NAME = "model.toml"
_MAX_BYTES = 256 * 2**10
_MAX_LABELS_BYTES = 4 * 2**20
_MAX_MESSAGE = 1000

_PLAIN_MESSAGES = {
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
}
"""In TOML's words, what pydantic says in Python's."""


_Limit = Annotated[float, Field(ge=-(2**53), le=2**53, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchingConfig(_Table):
    """Overrides of the server's batching settings for one model."""

    enabled: bool | None = None
    split_large_requests: bool | None = None
    max_execution_batch_size: int | None = Field(None, ge=1, le=65536)
    pad_variable_length_inputs: bool | None = None
    max_batch_size: int | None = Field(None, ge=1, le=65536)
    batch_timeout_ms: float | None = Field(None, ge=0, le=60_000)
    target_latency_ms: float | None = Field(None, ge=0, le=60_000)
    max_queue_rows: int | None = Field(None, ge=1)
    allowed_batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None

    @field_validator("allowed_batch_sizes")
    @classmethod
    def _sizes_fit(cls, value: tuple[int, ...] | None, others: ValidationInfo) -> tuple[int, ...] | None:
        """They end with the most rows of a call, where the file says how many these are."""
        own = others.data
        part = own.get("max_execution_batch_size") if own.get("split_large_requests") is not False else None
        if value:
            check_batch_sizes(value, part or own.get("max_batch_size") or value[-1])
        return value


class WarmupConfig(_Table):
    """How a version is warmed up. ``examples`` is a JSON file in the model's folder.

    ``ranges``: least and largest value, by input, of what is made up where there are no examples.
    """

    iterations: int | None = Field(None, ge=0, le=1000)
    examples: str | None = None
    ranges: dict[str, tuple[_Limit, _Limit]] = Field(default_factory=dict)

    @field_validator("ranges")
    @classmethod
    def _ranges_rise(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if low > high:
                raise ValueError(f"'{name}' must have its least value first")
        return value


class GraphConfig(_Table):
    """What a frozen graph does not say of itself: the tensors to feed and to fetch, by public name.

    A list of tensor names stands for a table of the same names without ``:0``.
    """

    inputs: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, str] = Field(default_factory=dict)

    @field_validator("inputs", "outputs", mode="before")
    @classmethod
    def _list_is_table(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if not all(isinstance(name, str) for name in value):
            raise ValueError("must be a list of tensor names, or a table of names")
        return {name.removesuffix(":0"): name for name in value}


class TfliteConfig(_Table):
    """Options of TensorFlow Lite models. ``dequantize``: quantised inputs and outputs become float32."""

    dequantize: bool = False


class ModelConfig(_Table):
    """Everything ``model.toml`` may say. Options of steps stay plain tables; the pipelines room reads them."""

    description: str = ""
    labels: tuple[str, ...] = ()
    labels_file: str | None = None
    loading: Literal["eager", "lazy"] | None = None
    version_policy: str | tuple[str, ...] | None = None
    version_labels: dict[str, str] = Field(default_factory=dict)
    batching: BatchingConfig = BatchingConfig()
    warmup: WarmupConfig = WarmupConfig()
    runtime: Literal["auto", "native", "tensorflow", "openvino", "litert", "onnxruntime"] | None = None
    precision: Literal["float32", "bf16", "int8"] | None = None
    imports: tuple[str, ...] = ()
    graph: GraphConfig = GraphConfig()
    tflite: TfliteConfig = TfliteConfig()
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    postprocessing: dict[str, Any] = Field(default_factory=dict)

    @field_validator("version_policy", mode="before")
    @classmethod
    def _policy_is_text(cls, value: Any) -> Any:
        texts = value if isinstance(value, list | tuple) else [value]
        if value is not None and not all(isinstance(text, str) for text in texts):
            raise ValueError("must be latest, latest:N, all or a list of versions in quotes")
        return value

    @field_validator("version_policy")
    @classmethod
    def _policy_is_known(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if value is not None:
            try:
                VersionPolicy.parse(value)
            except TensorhostError as error:
                raise ValueError(error.message) from error
        return value

    @field_validator("version_labels")
    @classmethod
    def _labels_are_names(cls, value: dict[str, str]) -> dict[str, str]:
        for label in value:
            if not is_valid_name(label):
                raise ValueError(f"'{label}' cannot be a label: letters, digits, '.', '_', '-' only")
        return value


def read_config(folder: Path) -> ModelConfig:
    """The configuration in ``folder``, or the defaults where there is none.

    Raises ModelFailedError naming each key that is wrong.
    """
    file = folder / FILE_NAME
    try:
        if not file.is_file():
            return ModelConfig()
        if file.stat().st_size > _MAX_BYTES:
            raise ModelFailedError(f"{FILE_NAME} is larger than {_MAX_BYTES} bytes.")
        config = ModelConfig(**tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {_PLAIN_MESSAGES.get(item['type'], item['msg'])}"
            for item in error.errors()
        )
        raise ModelFailedError(f"{FILE_NAME} is not valid: {problems[:_MAX_MESSAGE]}.") from error
    except RecursionError as error:
        raise ModelFailedError(f"{FILE_NAME} is nested too deeply.") from error
    except (OSError, ValueError) as error:  # not UTF-8, not TOML, a number beyond what Python reads
        raise ModelFailedError(f"{FILE_NAME} cannot be read: {_reason(error)}.") from error
    if config.labels_file is None:
        return config
    if config.labels:
        raise ModelFailedError(f"{FILE_NAME} has both labels and labels_file.")
    return config.model_copy(update={"labels": _read_labels(folder, config.labels_file)})


def loading_digest(config: ModelConfig, folder: Path) -> str:
    """Differs when something differs that a loaded version was built with: labels, steps, batching, warm-up, runtime,
    imports, options of its format, and the files in ``folder`` that these name (told by size and change time)."""
    settings = [
        repr(config.labels),
        repr(config.batching),
        {"iterations": config.warmup.iterations, "examples": config.warmup.examples},
        repr(config.warmup.ranges),
        config.runtime,
        config.precision,
        config.imports,
        config.graph.model_dump(),
        repr(config.tflite),
        config.preprocessing,
        config.postprocessing,
    ]
    digest = hashlib.blake2b(digest_size=16)
    for item in _flatten(settings, folder):
        digest.update(item.encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()


def _flatten(settings: list[Any], folder: Path) -> Iterator[str]:
    """Each value as text, a container as its size before its members. Without recursion: tables nest at will."""
    rest: list[Any] = [settings]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            yield f"table {len(value)}"
            for key, member in value.items():
                yield repr(key)
                rest.append(member)
                if isinstance(member, str):
                    yield _named_file(folder, member)
        elif isinstance(value, list | tuple):
            yield f"list {len(value)}"
            rest.extend(value)
        else:
            yield repr(value)


def _named_file(folder: Path, name: str) -> str:
    """Size and change time of the file that ``name`` may be; empty when it is none, or none inside ``folder``."""
    try:
        target = (folder / name).resolve()
        if not (name and target.is_relative_to(folder.resolve()) and target.is_file()):
            return ""
        status = target.stat()
    except (OSError, ValueError, RuntimeError):  # no file name, unreadable, a loop of links
        return ""
    return f"{status.st_size} {status.st_ctime_ns if os.name == 'posix' else status.st_mtime_ns}"


def resolve_inside(folder: Path, relative: str, key: str, max_bytes: int) -> Path:
    """The file ``relative`` names inside ``folder``; ModelFailedError if it is outside, missing or too large."""
    try:
        target = (folder / relative).resolve()
        inside = target.is_relative_to(folder.resolve()) and target.is_file()
        size_bytes = target.stat().st_size if inside else 0
    except (OSError, ValueError, RuntimeError):  # unreadable, a zero byte, a loop of links
        inside, size_bytes = False, 0
    if not inside:
        raise ModelFailedError(f"{key} must name a file inside the model's folder.", details={key: relative[:256]})
    if size_bytes > max_bytes:
        raise ModelFailedError(f"The file of {key} is larger than {max_bytes} bytes.", details={key: relative[:256]})
    return target


def _read_labels(folder: Path, relative: str) -> tuple[str, ...]:
    file = resolve_inside(folder, relative, "labels_file", _MAX_LABELS_BYTES)
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelFailedError(f"The file of labels_file cannot be read: {_reason(error)}.") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _reason(error: Exception) -> str:
    return (error.strerror or "unreadable") if isinstance(error, OSError) else str(error)[:_MAX_MESSAGE]
