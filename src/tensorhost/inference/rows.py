"""Whether arrays are what a signature takes, and how many rows they have. Pure.

What must stay true: behind this nobody checks names or dtypes again, and a tensor whose shape the signature does not
admit never gets where shapes are taken for checked.
"""

from __future__ import annotations

import numpy as np

from tensorhost.core.errors import InvalidInputShapeError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors


def checked_rows(signature: Signature, tensors: Tensors) -> int:
    """Rows of the batch: the first dimension that the signature leaves free, 1 where there is none.

    Raises where an array is not what the signature takes: behind this, nobody checks.
    """
    rows: int | None = None
    for name, spec in signature.inputs.items():
        array = tensors[name]
        spec.check(array)
        if not spec.is_batchable:
            continue
        size = array.shape[0]
        if rows is not None and rows != size and signature.may_batch:
            raise InvalidInputShapeError(
                f"Input '{name}' has {size} rows where another input has {rows}.",
                details={"input": name, "expected": rows, "actual": size},
            )
        rows = size if rows is None else rows
    return 1 if rows is None else rows


def loosely_checked(signature: Signature, tensors: Tensors) -> tuple[Tensors, int, bool]:
    """The arrays in the signature's order, how many rows they have, and whether they must have a call of their own.

    They must where a shape is not admitted, or where inputs differ in rows; rows are then the most that any has.

    Raises:
        MissingInputError, UnknownInputError: names that are not exactly the inputs.
        InvalidInputTypeError: an array has another dtype than its input.
    """
    if tensors.keys() != signature.inputs.keys():
        signature.check_names(tensors)
    ordered: dict[str, Array] = {}
    rows: int | None = None
    apart = False
    for name, spec in signature.inputs.items():
        ordered[name] = array = tensors[name]
        spec.check_dtype(array)
        if not spec.admits(array.shape):
            apart = True
        if not spec.is_batchable or array.ndim == 0:
            continue
        size = array.shape[0]
        if rows is not None and rows != size:
            apart = apart or signature.may_batch
            size = max(rows, size)
        rows = size
    if apart:
        # Of no rows, too, since the model is to say what it makes of them.
        return ordered, max(rows or 1, 1), True
    return ordered, 1 if rows is None else rows, False


def empty_outputs(signature: Signature) -> dict[str, Array] | None:
    """Outputs of no rows; None where their shapes are not known without asking the model.

    Answered without a call: some TensorFlow kernels, fused convolutions among them, fail on an empty batch.
    """
    outputs: dict[str, Array] = {}
    for name, spec in signature.outputs.items():
        if not signature.may_batch or spec.shape is None or None in spec.shape[1:]:
            return None
        outputs[name] = np.empty((0, *(size or 0 for size in spec.shape[1:])), spec.dtype.numpy)
    return outputs
