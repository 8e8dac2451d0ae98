"""The operator's ConfigProto for TensorFlow's sessions, from its file."""

from __future__ import annotations

from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.settings import Settings

_MESSAGE = "tensorflow.ConfigProto"


def read_session_config(settings: Settings) -> str:
    """The text of ``session_config_file``; empty where there is none.

    Raises:
        InvalidRequestError: it cannot be read, or is no ConfigProto; then the message has line and column.
    """
    file = settings.session_config_file
    if file is None:
        return ""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequestError(f"Cannot read the session config file {file}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"The session config file {file} is not UTF-8 text.") from error
    parse_text(_MESSAGE, text, str(file))
    return text
