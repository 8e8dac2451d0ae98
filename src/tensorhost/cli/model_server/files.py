"""The files that flags name and that are read once, at the start. All are protobuf messages in text form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorhost.cli.model_server.parsing import FlagValues
from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.models import batching_parameters
from tensorhost.models.text_files import read_text_file

_MESSAGES = {
    "batching_parameters_file": batching_parameters.MESSAGE,
    "monitoring_config_file": "tensorflow.serving.MonitoringConfig",
}
"""Others go by their path into the settings: what reads them reads them again, or needs TensorFlow to."""


def read_files(values: FlagValues) -> dict[str, Any]:
    """What is in them, by flag; flags that are not given are left out.

    Raises:
        InvalidRequestError: a file cannot be read, or is not such a message; the text says where.
    """
    return {
        flag: _read(flag, Path(values.text(flag)), message) for flag, message in _MESSAGES.items() if values.text(flag)
    }


def _read(flag: str, file: Path, message: str) -> Any:
    text = read_text_file(file, f"the file of --{flag}, {file}")
    try:
        return parse_text(message, text, str(file))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{error.message} Invalid protobuf file: '{file}'", details=error.details) from error
