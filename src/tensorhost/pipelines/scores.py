"""Arithmetic on model outputs: softmax, sigmoid, argmax, threshold, rounding and the best entries of a row.

Pure functions on floating arrays, which are never written to: outputs may be views of a batch that several requests
share. Results have the dtype of the input unless said otherwise; floats below 32 bits are computed in float32. The
class axis is the last one. Rows are independent: NaN in one never changes another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorhost.core.tensors import Array


def _working(x: Array) -> Array:
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def softmax(x: Array) -> Array:
    """``exp(x - max) / sum(exp(x - max))`` along the last axis; ``x`` has rank 1 or more.

    A row with NaN or +infinity, or with nothing but -infinity, becomes NaN.
    """
    if x.size == 0:
        return x
    work = _working(x)
    with np.errstate(invalid="ignore", under="ignore"):
        exponentials = np.subtract(work, work.max(axis=-1, keepdims=True))
        np.exp(exponentials, out=exponentials)
        exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return np.asarray(exponentials.astype(x.dtype, copy=False))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` of each element, any shape, without overflow; NaN stays NaN."""
    work = _working(x)
    with np.errstate(under="ignore"):
        decay = np.exp(-np.abs(work))
        result = np.where(work >= 0, 1, decay) / (1 + decay)
    return np.asarray(result).astype(x.dtype, copy=False)


def argmax(x: Array) -> Array:
    """Index of the largest element along the last axis, int64, the lowest index of equals; NaN ranks below all.

    ``x``: rank 1 or more, last axis not empty; the result lacks the last axis.
    """
    work = _working(x)
    if np.isnan(work).any():
        return np.asarray(np.argsort(-work, axis=-1, kind="stable")[..., 0]).astype(np.int64, copy=False)
    return np.asarray(work.argmax(axis=-1)).astype(np.int64, copy=False)


def threshold(x: Array, lowest: float) -> Array:
    """``x`` with every element below ``lowest`` (rounded to the dtype of ``x``) replaced by 0; NaN stays NaN."""
    with np.errstate(over="ignore", under="ignore"):
        limit = np.asarray(lowest).astype(x.dtype)
    return np.asarray(np.where(x < limit, np.zeros((), x.dtype), x))


def round_to(x: Array, digits: int) -> Array:
    """``x`` rounded to ``digits`` decimals, halves to even; elements too large to have such decimals stay."""
    work = _working(x)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.round(work, digits)
    return np.asarray(np.where(np.isfinite(rounded), rounded, work)).astype(x.dtype, copy=False)


def best_entries(
    x: Array,
    *,
    top_k: int | None = None,
    lowest: float | None = None,
    labels: Sequence[str] = (),
    digits: int | None = None,
) -> list[Any]:
    """The entries of each row by falling score, equal scores by rising index.

    Args:
        x: scores, rank 1 or more; leading axes become nested lists.
        top_k: most entries per row, None for all. NaN ranks last.
        lowest: entries below it (in the dtype of ``x``), and NaN, are dropped.
        labels: one per element of the last axis, or empty.
        digits: decimals the scores are rounded to.

    Returns:
        JSON-ready lists of ``{"label", "index", "score"}``; without labels there is no ``label``. A float32 score
        is the shortest decimal that reads back as the same float32.
    """
    if x.ndim > 1:
        return [best_entries(row, top_k=top_k, lowest=lowest, labels=labels, digits=digits) for row in x]
    chosen = _best_indices(x, top_k, lowest)
    scores = _decimals(x[chosen] if digits is None else round_to(x[chosen], digits))
    pairs = zip(chosen.tolist(), scores, strict=True)
    if labels:
        return [{"label": labels[index], "index": index, "score": score} for index, score in pairs]
    return [{"index": index, "score": score} for index, score in pairs]


def _best_indices(row: Array, top_k: int | None, lowest: float | None) -> Array:
    keys = -_working(row)
    candidates = np.arange(row.size)
    if lowest is not None:
        with np.errstate(over="ignore", under="ignore"):
            candidates = np.flatnonzero(row >= np.asarray(lowest).astype(row.dtype))
        keys = keys[candidates]
    if top_k is not None and top_k < keys.size:
        limit = np.partition(keys, top_k - 1)[top_k - 1]
        if not np.isnan(limit):  # keeps every entry equal to the last one, so that ties go by index
            within = np.flatnonzero(keys <= limit)
            candidates, keys = candidates[within], keys[within]
    return np.asarray(candidates[np.argsort(keys, kind="stable")[:top_k]])


def _decimals(scores: Array) -> list[float]:
    if scores.dtype == np.float64:
        return [float(score) for score in scores]
    return [float(str(score)) for score in scores.astype(np.float32)]
