"""What clients of TensorFlow Serving are told, in its words: programs compare codes, people search for the texts.

Each fault is of both families: it has the status its client reads and the code it is counted under. What is not here
keeps the words of the room that refused it, under the status of its code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tensorhost.core.errors import ErrorCode, TensorhostError
from tensorhost.frontends.rpc import RpcError, RpcStatus


class ServingError(RpcError, TensorhostError):
    """A fault with its own status, whatever the table says of its code."""

    # How RpcError calls on: to TensorhostError, which then is made of the message alone.


class InvalidArgumentError(ServingError):
    """The request is at fault."""

    code = ErrorCode.INVALID_REQUEST

    def __init__(self, message: str) -> None:
        super().__init__(RpcStatus.INVALID_ARGUMENT, message)


class ServableNotFoundError(ServingError):
    """There is no such model or version, or it does not serve any more."""

    code = ErrorCode.MODEL_NOT_FOUND

    def __init__(self, message: str) -> None:
        super().__init__(RpcStatus.NOT_FOUND, message)


class SignatureMissingError(ServingError):
    """The model has no such signature; which status that is depends on the method called."""

    code = ErrorCode.SIGNATURE_NOT_FOUND


class UnsupportedMethodError(ServingError):
    """A method of inference that is not offered."""

    code = ErrorCode.INVALID_REQUEST

    def __init__(self, message: str) -> None:
        super().__init__(RpcStatus.UNIMPLEMENTED, message)


class UnsupportedConversionError(ServingError):
    """A dtype that JSON cannot carry."""

    code = ErrorCode.INVALID_INPUT_TYPE

    def __init__(self, message: str) -> None:
        super().__init__(RpcStatus.UNIMPLEMENTED, message)


class UnfitSignatureError(ServingError):
    """A signature that Classify or Regress cannot be asked of."""

    code = ErrorCode.INVALID_REQUEST


# -- which model ---------------------------------------------------------------------------------------------------


def missing_model_spec() -> ServingError:
    """A request without ``model_spec``."""
    return InvalidArgumentError("Missing ModelSpec")


def unnamed_model() -> ServingError:
    """A ``model_spec`` without a name."""
    return InvalidArgumentError("ModelSpec has no name specified.")


def unknown_servable(name: str, version: int | None) -> ServingError:
    """No version of this model, or not the one asked for, serves or is about to."""
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServableNotFoundError(f"Servable not found for request: {wanted}")


def unknown_label(label: str) -> ServingError:
    """The model has no such label."""
    return InvalidArgumentError(f"Unrecognized servable version label: {label}")


def no_versions(name: str, version: int | None) -> ServingError:
    """A status was asked for, and there is nothing to tell."""
    if version is None:
        return ServableNotFoundError(f"Could not find any versions of model {name}")
    return ServableNotFoundError(f"Could not find version {version} of model {name}")


# -- which signature, inputs and outputs -----------------------------------------------------------------------------


def unknown_signature(name: str) -> ServingError:
    """Predict was asked of a signature that is not there."""
    return SignatureMissingError(RpcStatus.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')


def unknown_example_signature(name: str) -> ServingError:
    """The same of Classify and Regress."""
    return SignatureMissingError(RpcStatus.INVALID_ARGUMENT, f"No signature was found with the name: {name}")


def unknown_task_signature(name: str) -> ServingError:
    """The same of MultiInference."""
    return SignatureMissingError(RpcStatus.INVALID_ARGUMENT, f"Requested signature not found in model graph: {name}")


def wrong_number_of_inputs(
    given: Collection[str], expected: Collection[str], optional: Collection[str] = ()
) -> ServingError:
    """More or fewer inputs than the signature has; ``optional`` ones have default values."""
    extra, missing = set(given) - set(expected), set(expected) - set(given) - set(optional)
    return InvalidArgumentError(
        f"input size does not match signature: {len(given)}!={len(expected)} "
        f"len({_set(given)}) != len({_set(expected)}). "
        f"Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
    )


def input_not_given(name: str, feed: str, given: Iterable[str], defaults: Iterable[str]) -> ServingError:
    """The right number of inputs, but not this one, and no default value for it.

    Args:
        name: what the signature calls it.
        feed: what the graph calls it.
        given: the inputs of the request.
        defaults: the inputs that have default values.
    """
    return InvalidArgumentError(
        f"Signature input alias: {name}(feed name: {feed}) not found in request and no default value provided. "
        f"Inputs expected to be in the request {_set(given)}, or default input alias set: {','.join(sorted(defaults))}"
    )


def wrong_dtype(position: int, expected: str, given: str) -> ServingError:
    """An input of another dtype than the signature's; ``position`` is its place there."""
    return InvalidArgumentError(f"Expects arg[{position}] to be {expected} but {given} is provided")


def unknown_output(name: str, outputs: Iterable[str]) -> ServingError:
    """``output_filter`` names an output that the signature does not have."""
    return InvalidArgumentError(
        f"output tensor alias not found in signature: {name} Outputs expected to be in the set {_set(outputs)}."
    )


def duplicate_output(name: str) -> ServingError:
    """``output_filter`` names an output twice."""
    return InvalidArgumentError(f"duplicate output tensor alias: {name}")


# -- Examples --------------------------------------------------------------------------------------------------------


def no_examples() -> ServingError:
    """Nothing to classify."""
    return InvalidArgumentError("Input is empty.")


def no_tasks() -> ServingError:
    """A MultiInference that asks nothing."""
    return InvalidArgumentError("Inference request contains no tasks.")


def several_models() -> ServingError:
    """Tasks of one MultiInference that name different models."""
    return InvalidArgumentError("All ModelSpecs in a MultiInferenceRequest must access the same model name.")


def duplicate_signature(name: str) -> ServingError:
    """A signature asked twice in one MultiInference."""
    return InvalidArgumentError(f"Duplicate evaluation of signature: {name}")


def unsupported_method(method: str) -> ServingError:
    """A task with another method than classifying and regressing."""
    return UnsupportedMethodError(f"Unsupported signature method_name: {method}")


def unfit_signature(message: str, status: RpcStatus = RpcStatus.INVALID_ARGUMENT) -> ServingError:
    """The signature, or what the model answered, is not one of the method called."""
    return UnfitSignatureError(status, message)


# -- metadata --------------------------------------------------------------------------------------------------------


def no_metadata_field() -> ServingError:
    """GetModelMetadata without saying of what."""
    return InvalidArgumentError("GetModelMetadataRequest must specify at least one metadata_field")


def unknown_metadata_field(name: str) -> ServingError:
    """GetModelMetadata of what is not known."""
    return InvalidArgumentError(f"Metadata field {name} is not supported")


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
