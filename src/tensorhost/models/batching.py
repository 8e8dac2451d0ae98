"""How one version's requests are batched: the server's settings with what ``model.toml`` and the version say otherwise.

Pure, but for reading the version's ``batching_params.pbtxt``. What must stay true: whatever the three say, the sizes
that calls may have rise and end with the most rows of a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError, MisconfiguredModelError
from tensorhost.models import batching_parameters
from tensorhost.models.config import BatchingConfig, ModelConfig
from tensorhost.models.text_files import read_text_file
from tensorhost.settings import Settings

_MAX_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """Limits on rows.

    Attributes:
        call_rows: most rows of one model call.
        request_rows: most rows of one request; None for no limit, those of more than a call being run in parts.
        allowed: the sizes that calls may have, rising, ``call_rows`` the last; empty for any.
    """

    call_rows: int
    request_rows: int | None
    allowed: tuple[int, ...]


def is_batched(settings: Settings, config: ModelConfig) -> bool:
    """Whether requests may share calls where that is proved to be safe."""
    return settings.batching if config.batching.enabled is None else config.batching.enabled


def batch_sizes(settings: Settings, config: ModelConfig) -> BatchSizes:
    """The limits in force. Sizes that do not fit a smaller limit of the model's own are left out."""
    own = config.batching
    largest = own.max_batch_size or settings.max_batch_size
    split = settings.split_large_requests if own.split_large_requests is None else own.split_large_requests
    part = own.max_execution_batch_size or settings.max_execution_batch_size
    call_rows = min(part, largest) if split and part is not None else largest
    allowed = settings.allowed_batch_sizes if own.allowed_batch_sizes is None else own.allowed_batch_sizes
    return BatchSizes(
        call_rows,
        None if split and part is None else largest,
        (*(size for size in allowed if size < call_rows), call_rows) if allowed else (),
    )


def pads_inputs(settings: Settings, config: ModelConfig) -> bool:
    """Whether rows of different sizes share calls, the smaller filled up."""
    own = config.batching.pad_variable_length_inputs
    return settings.pad_variable_length_inputs if own is None else own


def with_own_parameters(config: ModelConfig, version: Path) -> ModelConfig:
    """``config`` with what the file ``batching_params.pbtxt`` in a version's folder says; batching off without one.

    Blocks while the file is read. Raises MisconfiguredModelError for a file that cannot be read or says what cannot be.
    """
    file = version / batching_parameters.FILE_NAME
    try:
        if not file.is_file():
            return config.model_copy(update={"batching": BatchingConfig(enabled=False)})
        text = read_text_file(file, "it", _MAX_BYTES)
        said = batching_parameters.batching_settings(parse_text(batching_parameters.MESSAGE, text, file.name))
        known = {name: value for name, value in said.items() if name in BatchingConfig.model_fields}
        return config.model_copy(update={"batching": BatchingConfig(enabled=True, **known)})
    except InvalidRequestError as error:
        raise MisconfiguredModelError(f"{file.name}: {error.message}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise MisconfiguredModelError(f"{file.name} is not valid: {problems}.") from error
    except OSError as error:  # the folder may not be looked into
        raise MisconfiguredModelError(f"{file.name} cannot be read.", log_detail=str(error)) from error
