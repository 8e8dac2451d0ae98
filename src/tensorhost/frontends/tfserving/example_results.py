"""What Classify and Regress ask of a signature, and what they make of a model's answer. Pure.

The method name that a SavedModel records is not looked at here; see ``method_names.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import unfit_signature

INPUTS = "inputs"
"""The one input: serialized Examples."""
CLASSES = "classes"
SCORES = "scores"
OUTPUTS = "outputs"


def check_classifies(signature: Signature) -> None:
    """Raise ServingError unless there is one input, ``inputs``, and ``classes``, ``scores`` or both come out."""
    if len(signature.inputs) != 1:
        raise unfit_signature("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise unfit_signature(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise _lacks("No classification inputs found in SignatureDef", signature)
    if CLASSES not in signature.outputs and SCORES not in signature.outputs:
        wanted = f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}".'
        raise _lacks(f"{wanted} Signature was", signature)


def check_regresses(signature: Signature) -> None:
    """Raise ServingError unless there is one input, ``inputs``, and one output, ``outputs``."""
    if len(signature.inputs) != 1:
        raise unfit_signature("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise unfit_signature("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _lacks("No regression inputs found in SignatureDef", signature)
    if OUTPUTS not in signature.outputs:
        raise _lacks("No regression outputs found in SignatureDef", signature)


def classes(outputs: Mapping[str, Array], examples: int) -> tuple[Array | None, Array | None]:
    """Labels (bytes) and scores (float32), each of shape [examples, classes] or None where the model gives none.

    Raises ServingError where the answer is of another shape or dtype.
    """
    labels, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, array, dtype in ((CLASSES, labels, DType.STRING), (SCORES, scores, DType.FLOAT32)):
        if array is None:
            continue
        if array.ndim != 2:
            raise unfit_signature(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if DType.of(array) is not dtype:
            raise unfit_signature(f"Expected {name} Tensor of {_type(dtype)}. Got: {_type(DType.of(array))}")
        if len(array) != examples:
            raise unfit_signature(f"Expected {name} output batch size of {examples}. Got: {len(array)}")
    if labels is not None and scores is not None and labels.shape != scores.shape:
        counts = f"{labels.shape[1]} vs. {scores.shape[1]}"
        raise unfit_signature(f"Tensors class and score should match in num_classes. Got {counts}")
    return labels, scores


def values(outputs: Mapping[str, Array], examples: int) -> Array:
    """A value for each example: float32, shape [examples]. Raises ServingError where the answer is no such thing."""
    array = outputs[OUTPUTS]
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        shape = _shape(array)
        raise unfit_signature(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}"
        )
    if len(array) != examples:
        raise unfit_signature(f"Input batch size did not match output batch size: {examples} vs. {len(array)}")
    if DType.of(array) is not DType.FLOAT32:
        raise unfit_signature(f"Expected output Tensor of DT_FLOAT.  Got: {_type(DType.of(array))}")
    return array.reshape(-1)


def _lacks(what: str, signature: Signature) -> Exception:
    inputs, outputs = ", ".join(signature.inputs), ", ".join(signature.outputs)
    described = f'inputs: {inputs}; outputs: {outputs}; method_name: "{signature.method_name}"'
    return unfit_signature(f"{what}: {described}", RpcStatus.FAILED_PRECONDITION)


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _type(dtype: DType) -> str:
    return f"DT_{dtype.tensorflow_name.upper()}"
