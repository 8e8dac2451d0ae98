"""Shapes as clients see them: every tensor has a dimension besides that of rows, as in Triton's configurations.

Where a model has none, because its rows are single values or the whole tensor is one, clients are shown one of size 1.
They may leave it out of what they send; answers have it. Pure.
"""

from __future__ import annotations

from tensorhost.core.tensors import Array, Shape, TensorSpec


def shown_shape(shape: Shape | None, *, by_row: bool) -> Shape | None:
    """The shape of a model's tensor as metadata and messages have it; None for any rank.

    Args:
        shape: as the signature has it.
        by_row: whether its first dimension is of rows.
    """
    return (*shape, 1) if shape is not None and _is_bare(len(shape), by_row=by_row) else shape


def is_admitted(spec: TensorSpec, shape: tuple[int, ...], *, by_row: bool) -> bool:
    """Whether an input of this shape may be sent: as the model has it, or as it is shown."""
    if spec.admits(shape):
        return True
    is_bare = spec.shape is not None and _is_bare(len(spec.shape), by_row=by_row)
    return is_bare and shape[-1:] == (1,) and spec.admits(shape[:-1])


def as_the_model_has_it(spec: TensorSpec, array: Array) -> Array:
    """An input of an admitted shape, without the dimension that only clients see; other arrays as they are."""
    if spec.shape is None or array.ndim != len(spec.shape) + 1 or array.shape[-1] != 1:
        return array
    return array.reshape(array.shape[:-1])


def as_it_is_shown(array: Array, *, by_row: bool) -> Array:
    """An output as clients get it."""
    return array.reshape((*array.shape, 1)) if _is_bare(array.ndim, by_row=by_row) else array


def _is_bare(rank: int, *, by_row: bool) -> bool:
    return rank <= int(by_row)
