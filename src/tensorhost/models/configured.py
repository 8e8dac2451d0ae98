"""What the settings have served besides a repository: one named model, or those of a config file that may change.

What must stay true: a file that cannot be read, or not be understood, changes nothing and is said once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tensorhost.core.errors import InvalidRequestError, ModelFailedError, ModelNotReadyError, TensorhostError
from tensorhost.models.listed import ListedModel, ModelList
from tensorhost.models.session_config import read_session_config
from tensorhost.models.text_files import read_text_file
from tensorhost.models.tfserving_config import read_model_list
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger

_MOST_BYTES = 16 * 2**20

log = get_logger(__name__)


class ConfiguredModels:
    """The models that the settings name, read when this is made.

    Attributes:
        models: those at the start; None to serve what lies in the model path.

    Raises:
        InvalidRequestError: the config file, or that of sessions, cannot be read or understood.
    """

    def __init__(self, settings: Settings) -> None:
        self._poll_s = settings.model_config_poll_s
        self._file = settings.model_config_file
        self._last = ""
        self._last_fault = ""
        self.models: ModelList | None = None
        read_session_config(settings)
        if self._file is not None:
            self._last = _read(self._file)
            # As TensorFlow Serving does, an empty file starts a server that is told later what to serve.
            self.models = read_model_list(self._last, str(self._file)) or ()
        elif settings.model_name is not None:
            self.models = (ListedModel(settings.model_name, settings.model_path.absolute()),)

    async def follow(self, replace: Callable[[ModelList], Awaitable[None]]) -> None:
        """Have each change of the config file carried out, one after another, for ever.

        A change that is refused because a version does not serve yet is tried again each time.

        Args:
            replace: ``ModelManager.replace_models``, or what does it in several processes.
        """
        if self._file is None or not self._poll_s:
            return
        waiting: ModelList | None = None
        said = ""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                models = await asyncio.to_thread(self._changed, self._file)
                if models is not None:
                    waiting, said = models, ""
                    log.info("the model config file has changed", path=str(self._file), models=len(models))
                if waiting is not None:
                    await replace(waiting)
                    waiting = None
            except ModelFailedError as error:
                waiting = None
                log.error("not all models of the changed config file serve", reason=error.message)
            except TensorhostError as error:
                if not isinstance(error, ModelNotReadyError):
                    waiting = None
                if error.message != said:
                    said = error.message
                    log.error("the changed model config file is not followed", path=str(self._file), reason=said)

    def _changed(self, file: Path) -> ModelList | None:
        """The file's models if it has changed. Raises InvalidRequestError, for the same fault once."""
        try:
            text = _read(file)
        except InvalidRequestError as error:
            if error.message == self._last_fault:
                return None
            self._last_fault = error.message
            raise
        if text == self._last and not self._last_fault:
            return None
        self._last, self._last_fault = text, ""
        models = read_model_list(text, str(file))
        if models is None:
            raise InvalidRequestError("It is empty; an empty model_config_list would have all models unloaded.")
        return models


def _read(file: Path) -> str:
    return read_text_file(file, f"the model config file {file}", _MOST_BYTES)
