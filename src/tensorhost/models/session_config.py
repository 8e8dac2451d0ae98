"""The operator's ConfigProto for TensorFlow's sessions, from its file."""

from __future__ import annotations

from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.settings import Settings

_MESSAGE = "tensorflow.ConfigProto"
_MOST_BYTES = 2**20


def read_session_config(settings: Settings) -> str:
    """The text of ``session_config_file``; empty where there is none.

    Raises:
        InvalidRequestError: it cannot be read, or is no ConfigProto; then the message has line and column.
    """
    file = settings.session_config_file
    if file is None:
        return ""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise InvalidRequestError(f"Cannot read the session config file {file}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"The session config file {file} is not UTF-8 text.") from error
    if len(data) > _MOST_BYTES:
        raise InvalidRequestError(f"The session config file {file} is larger than {_MOST_BYTES} bytes.")
    parse_text(_MESSAGE, text, str(file))
    return text
