"""The operator's ConfigProto for TensorFlow's sessions, from its file."""

from __future__ import annotations

from tensorhost.codecs.protobuf import parse_text
from tensorhost.models.text_files import read_text_file
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
    text = read_text_file(file, f"the session config file {file}")
    parse_text(_MESSAGE, text, str(file))
    return text
