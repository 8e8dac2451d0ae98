"""What clients of the Open Inference Protocol are told, in Triton's words: people search for the texts.

Every fault is of the one family; what is not here keeps the words of the room that refused it. Each wire has one table
from code to status in ``statuses``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tensorhost.codecs.oip import datatype_of
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidRequestError,
    MissingInputError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    UnknownInputError,
    VersionNotFoundError,
)
from tensorhost.core.tensors import Shape

_LONGEST_SHOWN = 128


class UnsupportedError(InvalidRequestError):
    """Something of the protocol that this server does not do."""


# -- which model ---------------------------------------------------------------------------------------------------


def unknown_model(name: str) -> ModelNotFoundError:
    """No model of that name."""
    return ModelNotFoundError(f"Request for unknown model: '{shown(name)}' is not found")


def unknown_version(name: str, version: int) -> VersionNotFoundError:
    """The model has no version of that number."""
    return VersionNotFoundError(f"Request for unknown model: '{shown(name)}' version {version} is not found")


def no_available_versions(name: str) -> VersionNotFoundError:
    """The model is known, and none of its versions serves or will."""
    return VersionNotFoundError(f"Request for unknown model: '{shown(name)}' has no available versions")


def version_not_ready(name: str, version: int, reason: str, retry_after_s: float | None) -> ModelNotReadyError:
    """The version is known and does not serve now; ``reason`` is our own sentence about it."""
    message = f"Request for unknown model: '{shown(name)}' version {version} is not at ready state: {reason}"
    return ModelNotReadyError(message, retry_after_s=retry_after_s)


def invalid_version(text: str) -> InvalidRequestError:
    """A version that is no number."""
    return InvalidRequestError(
        f"failed to get model version from specified version string '{shown(text)}', "
        "version should be an integral value > 0",
        details={"field": "model_version"},
    )


# -- inputs --------------------------------------------------------------------------------------------------------


def unexpected_input(name: str, model: str) -> UnknownInputError:
    """An input that the model does not have."""
    return UnknownInputError(f"unexpected inference input '{shown(name)}' for model '{model}'")


def duplicate_input(name: str) -> InvalidRequestError:
    """An input given twice."""
    return InvalidRequestError(f"input '{shown(name)}' already exists in request", details={"input": shown(name)})


def missing_inputs(expected: Collection[str], given: Collection[str], model: str) -> MissingInputError:
    """Fewer inputs than the model has; both by name."""
    got = ",".join(f"'{name}'" for name in given)
    missing = ",".join(f"'{name}'" for name in expected if name not in given)
    return MissingInputError(
        f"expected {len(expected)} inputs but got {len(given)} inputs for model '{model}'. Got input(s) [{got}], "
        f"but missing required input(s) [{missing}]. Please provide all required input(s).",
        details={"expected": list(expected), "actual": list(given)},
    )


def wrong_datatype(name: str, given: str, model: str, expected: str) -> InvalidInputTypeError:
    """An input of another datatype than the model's."""
    return InvalidInputTypeError(
        f"inference input '{name}' data-type is '{given}', but model '{model}' expects '{expected}'",
        details={"input": name, "expected": expected, "actual": given},
    )


def wrong_shape(name: str, model: str, expected: Shape | None, given: Sequence[int]) -> InvalidInputShapeError:
    """An input of a shape that the model does not take."""
    wanted = [] if expected is None else [-1 if size is None else size for size in expected]
    return InvalidInputShapeError(
        f"unexpected shape for input '{name}' for model '{model}'. Expected {_dims(wanted)}, got {_dims(given)}.",
        details={"input": name, "expected": wanted, "actual": list(given)},
    )


def batch_too_large(name: str, model: str, rows: int, most: int) -> InvalidInputShapeError:
    """More rows than the model's ``max_batch_size``."""
    return InvalidInputShapeError(
        f"inference request batch-size must be <= {most} for '{model}', but input '{name}' has {rows} rows",
        details={"input": name, "expected": most, "actual": rows},
    )


def wrong_size(name: str, model: str, expected: int, given: int) -> InvalidInputShapeError:
    """Raw data of another size than its shape and datatype say, in bytes."""
    return InvalidInputShapeError(
        f"input byte size mismatch for input '{name}' for model '{model}'. Expected {expected}, got {given}",
        details={"input": name, "expected": expected, "actual": given},
    )


def several_raw_inputs(model: str, inputs: int) -> InvalidRequestError:
    """A body of raw data for a model that has not one input."""
    return InvalidRequestError(
        f"a request without a JSON header needs a model of one input, but model '{model}' has {inputs} inputs",
        details={"field": "Inference-Header-Content-Length"},
    )


# -- outputs and parameters ----------------------------------------------------------------------------------------


def unexpected_output(name: str, model: str) -> InvalidRequestError:
    """An output that the model does not have."""
    return InvalidRequestError(
        f"unexpected inference output '{shown(name)}' for model '{model}'", details={"output": shown(name)}
    )


def duplicate_output(name: str) -> InvalidRequestError:
    """An output asked for twice."""
    return InvalidRequestError(f"output '{shown(name)}' is requested twice", details={"output": shown(name)})


def no_classes(name: str, dtype: DType) -> InvalidRequestError:
    """Classes asked of an output that has none."""
    return InvalidRequestError(
        f"class result not available for output '{name}' due to unsupported type '{datatype_of(dtype)}'",
        details={"output": name},
    )


def invalid_parameter(name: str, expected: str) -> InvalidRequestError:
    """A parameter that is not what it should be."""
    return InvalidRequestError(f"parameter '{shown(name)}' must be {expected}", details={"field": shown(name)})


def contradicting_wishes(name: str, first: str, second: str) -> InvalidRequestError:
    """An output wanted in two ways that exclude each other; both by their parameters."""
    return InvalidRequestError(
        f"Output can't set both '{first}' and '{second}', as '{shown(name)}' does", details={"output": shown(name)}
    )


def overlapping_outputs(first: str, second: str) -> InvalidRequestError:
    """Two outputs that would be written over each other."""
    return InvalidRequestError(
        f"outputs '{first}' and '{second}' would be written to the same bytes of shared memory",
        details={"output": second},
    )


def no_room(name: str, region: str, needed: int, room: int) -> InvalidRequestError:
    """An output that does not fit where it is wanted; sizes in bytes."""
    return InvalidRequestError(
        f"shared memory size specified with the request for output '{name}' ({room} bytes of '{shown(region)}') should "
        f"be at least {needed} bytes to hold the results",
        details={"output": name, "expected": needed, "actual": room},
    )


# -- the repository ------------------------------------------------------------------------------------------------


def failed_to_load(name: str, reason: str) -> ModelFailedError:
    """A model that could not be loaded."""
    return ModelFailedError(f"failed to load '{shown(name)}', {reason}")


def no_override(parameter: str) -> UnsupportedError:
    """A load that brings the model, or its configuration, with it."""
    return UnsupportedError(
        f"load parameter '{shown(parameter)}' is not supported: models are loaded from the server's repository, "
        "with the settings they have there"
    )


def no_named_repositories() -> UnsupportedError:
    """A repository named; there is one."""
    return UnsupportedError("'repository_name' specification is not supported")


def no_cuda() -> UnsupportedError:
    """CUDA shared memory: models run on the CPU."""
    return UnsupportedError("CUDA shared memory is not supported by this server")


# -- settings ------------------------------------------------------------------------------------------------------


def unknown_setting(name: str, known: Iterable[str]) -> InvalidRequestError:
    """A setting that there is not."""
    return InvalidRequestError(
        f"there is no setting '{shown(name)}'; the settings are {', '.join(known)}", details={"field": shown(name)}
    )


def fixed_setting(name: str, reason: str) -> InvalidRequestError:
    """A setting that cannot become what a client wants."""
    return InvalidRequestError(f"'{shown(name)}' cannot be changed so: {reason}", details={"field": shown(name)})


def shown(text: str) -> str:
    """What a message shows of a text of the client's."""
    return text[:_LONGEST_SHOWN]


def _dims(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
