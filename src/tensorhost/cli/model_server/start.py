"""From flags, the files they name and the environment to the settings of the server."""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.cli.model_server.files import read_files
from tensorhost.cli.model_server.parsing import FlagValues
from tensorhost.cli.model_server.translation import Translation, flags_of, translate, with_image_environment
from tensorhost.core.errors import InvalidRequestError
from tensorhost.settings import Settings, load_settings


def settings_and_notes(values: FlagValues, environment: Mapping[str, str]) -> tuple[Settings, Translation]:
    """The settings that follow, and what to tell the operator about flags.

    Args:
        values: what the command line says.
        environment: of the process; ``load_settings`` reads its own part of it from the process itself.

    Raises:
        InvalidRequestError: flags contradict each other, a file is not what it should be, or a value is out of
            range; the message names the flags.
    """
    values = with_image_environment(values, environment)
    translation = translate(values, read_files(values))
    try:
        return load_settings(defaults=translation.defaults, **translation.chosen), translation
    except InvalidRequestError as error:
        raise InvalidRequestError(error.message + _origin(error, values), details=error.details) from error


def _origin(error: InvalidRequestError, values: FlagValues) -> str:
    """Which of the flags that were given have to do with the settings that are wrong."""
    wrong = error.details.get("settings")
    behind = dict.fromkeys(flag for one in wrong for flag in flags_of(str(one))) if isinstance(wrong, list) else {}
    given = [f"--{flag}" for flag in behind if values.is_given(flag)]
    return f" (from {', '.join(given)})" if given else ""
