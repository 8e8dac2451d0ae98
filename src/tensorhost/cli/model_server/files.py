"""The files that flags name and that are read once, at the start. All are protobuf messages in text form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorhost.cli.model_server.parsing import FlagValues
from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.models import batching_parameters

_MESSAGES = {
    "batching_parameters_file": batching_parameters.MESSAGE,
    "monitoring_config_file": "tensorflow.serving.MonitoringConfig",
}
"""Others go by their path into the settings: what reads them reads them again, or needs TensorFlow to."""

_MAX_BYTES = 2**20


def read_files(values: FlagValues) -> dict[str, Any]:
    """What is in them, by flag; flags that are not given are left out.

    Raises:
        InvalidRequestError: a file cannot be read, or is not such a message; the text says where.
    """
    return {
        flag: _read(flag, Path(values.text(flag)), message) for flag, message in _MESSAGES.items() if values.text(flag)
    }


def _read(flag: str, file: Path, message: str) -> Any:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRequestError(f"--{flag}: cannot read {file}: {error.strerror}.") from error
    if len(data) > _MAX_BYTES:
        raise InvalidRequestError(f"--{flag}: {file} is larger than {_MAX_BYTES} bytes.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"Invalid protobuf file: '{file}' is not text in UTF-8.") from error
    try:
        return parse_text(message, text, str(file))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{error.message} Invalid protobuf file: '{file}'", details=error.details) from error
