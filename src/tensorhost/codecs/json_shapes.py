"""The shape of nested JSON lists, and where lists that are no tensor go wrong.

The shape is read off the first element of each level; that all others agree is proved by counting the lists where
they are few, otherwise by comparing structures (``json_structure``). Only when that comparison has failed are the
lists walked to name the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from math import prod
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import depth_error, kind_of
from tensorhost.core.errors import InvalidInputShapeError, PayloadTooLargeError, RaggedInputError
from tensorhost.core.tensors import TensorSpec, format_shape

MAX_SEARCH = 2**18
"""Most values looked at in search of the one a message should name."""

_DOUBLE_BYTES = 8
_SATURATED = 2**24 - 1  # the parser counts the elements of one list no further than this


def probe_shape(spec: TensorSpec, value: Any, *, max_depth: int, max_elements: int) -> tuple[tuple[int, ...], Any]:
    """The shape that ``value`` has if it is not ragged, and its first leaf (None where there is no leaf).

    Looks at one list per level. Elements are counted one by one only where the parser's own count is not exact, and
    only once nothing cheaper refuses them.

    Raises:
        InvalidRequestError: nested deeper than ``max_depth``.
        PayloadTooLargeError: the shape has more than ``max_elements`` elements or as many empty lists.
        InvalidInputShapeError: the spec does not admit the shape, which has more than ``MAX_SEARCH`` elements; fewer
            are left to the caller, who can say of ragged lists that they are. So are objects, maybe images, where
            the spec is not of strings.
    """
    shape: list[int] = []
    elements = 1
    leaf = value
    while isinstance(leaf, JsonArray):
        if len(shape) == max_depth:
            raise depth_error(f"Input '{spec.name}'", max_depth)
        size = len(leaf)
        shape.append(size)
        elements *= size or 1
        if elements > max_elements:
            raise _too_many(spec.name, max_elements)
        leaf = leaf[0] if size else None
    if elements > MAX_SEARCH and not _may_fit(spec, shape):
        maybe_images = isinstance(leaf, JsonMembers) and not spec.dtype.is_string
        if not maybe_images:
            raise _shape_error(spec, shape)
    if _SATURATED in shape:
        shape = _counted(spec.name, value, shape, max_elements)
    return tuple(shape), leaf


def _may_fit(spec: TensorSpec, shape: Sequence[int]) -> bool:
    """Whether the spec admits ``shape``, read off the parser's counts, or might once they are exact."""
    if spec.shape is None:
        return True
    if len(shape) != len(spec.shape):
        return len(shape) < len(spec.shape) and shape[-1] == 0  # lists without elements hide dimensions
    pairs = zip(spec.shape, shape, strict=True)
    return all(want is None or min(want, _SATURATED) == size for want, size in pairs)


def _counted(name: str, value: Any, shape: Sequence[int], max_elements: int) -> list[int]:
    """``shape`` with the parser's saturated counts replaced by exact ones."""
    exact = list(shape)
    for level, size in enumerate(shape):
        if size == _SATURATED:
            exact[level] = 1
            limit = max_elements // prod(size or 1 for size in exact)
            exact[level] = sum(1 for _ in islice(value, limit + 1))
            if exact[level] > limit:
                raise _too_many(name, max_elements)
        value = value[0] if size else None
    return exact


def _too_many(name: str, max_elements: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"Input '{name}' has more than {max_elements} elements.", details={"input": name, "expected": max_elements}
    )


def _shape_error(spec: TensorSpec, shape: Sequence[int]) -> InvalidInputShapeError:
    """As ``TensorSpec.shape_error``, with ``?`` and None for a dimension that was not counted to its end."""
    known = tuple(None if size == _SATURATED else size for size in shape)
    return InvalidInputShapeError(
        f"Input '{spec.name}' has shape {format_shape(known)}, expected {format_shape(spec.shape)}.",
        details={
            "input": spec.name,
            "expected": None if spec.shape is None else list(spec.shape),
            "actual": list(known),
        },
    )


def count_lists(shape: Sequence[int]) -> int:
    """Number of lists in nested lists of ``shape``, the outermost included; 0 for a scalar."""
    lists, level = 0, 1
    for size in shape:
        lists += level
        level *= size
    return lists


def is_made_of_lists(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether ``value``, whose probed shape is ``shape``, has a list of the right length wherever one belongs.

    The leaves are not looked at: they may yet be lists. False where the parser's count of elements is not exact.
    """
    if prod(shape[:-1]) == 1:
        return True  # the probe has seen every list that belongs there
    if max(shape[1:]) >= _SATURATED:
        return False
    level: list[Any] = [value]
    for size in shape[1:]:
        level = list(chain.from_iterable(level))
        if any(not isinstance(element, JsonArray) or len(element) != size for element in level):
            return False
    return True


def holds_every_leaf(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether the innermost lists of a ``value`` whose structure is that of ``shape`` have the right length.

    A list of one number and a list of none have the same structure; all together they hold too few numbers if one is
    not as the others. What cannot be counted as numbers is walked.
    """
    last = shape[-1]
    if last > 1 or count_numbers(value) == prod(shape):
        return True
    return set(map(len, iter_leaves(value, shape[:-1]))) == {last}


def count_numbers(value: Any) -> int | None:
    """How many numbers the list ``value`` holds in all its lists; None where it holds anything else."""
    try:
        size_bytes: int = value.as_buffer(of_type="d").size
    except (TypeError, ValueError):
        return None
    return size_bytes // _DOUBLE_BYTES


def fill_empty(shape: tuple[int, ...], spec: TensorSpec) -> tuple[int, ...]:
    """``shape`` with the dimensions that lists without elements cannot show.

    ``[]`` for a spec of [?, 4] has the shape [0, 4]. An inner dimension the spec does not know becomes 0.
    """
    if spec.shape is None or not shape or shape[-1] != 0 or len(shape) >= len(spec.shape):
        return shape
    return shape + tuple(size or 0 for size in spec.shape[len(shape) :])


def find_ragged(name: str, value: Any, shape: Sequence[int]) -> RaggedInputError | None:
    """The error for a ``value`` that is not nested lists of ``shape``, or None where it is.

    After ``MAX_SEARCH`` values the search ends with an error that names no place: call this only for values whose
    structure has been found to differ.
    """
    level: list[tuple[str, Any]] = [("", value)]
    seen = 0
    for size in shape:
        below: list[tuple[str, Any]] = []
        for place, element in level:
            if not isinstance(element, JsonArray):
                return _ragged(name, f"the value at {place} is {kind_of(element)} where others are lists of {size}")
            if len(element) != min(size, _SATURATED):
                return _ragged(name, f"the list at {place} has {len(element)} elements where others have {size}")
            seen += size
            if seen > MAX_SEARCH:
                return _ragged(name)
            below.extend((f"{place}[{index}]", child) for index, child in enumerate(element))
        level = below
    for place, element in level:
        if isinstance(element, JsonArray):
            return _ragged(name, f"the value at {place} is a list where others are not")
    return None


def ragged_error(name: str, value: Any, shape: Sequence[int]) -> RaggedInputError:
    """The error for a ``value`` known not to be nested lists of ``shape``; names the first place found."""
    return find_ragged(name, value, shape) or _ragged(name)


def _ragged(name: str, place: str = "its lists differ in length or depth") -> RaggedInputError:
    return RaggedInputError(f"Input '{name}' is ragged: {place}.", details={"input": name})


def iter_leaves(value: Any, shape: Sequence[int]) -> Iterator[Any]:
    """Each leaf of a ``value`` already proved to be nested lists of ``shape``, in order, one at a time."""
    level: Iterator[Any] = iter((value,))
    for _ in shape:
        level = chain.from_iterable(level)
    return level


def uniform_leaves(name: str, value: Any, shape: Sequence[int]) -> list[Any]:
    """Each leaf of ``value``, in order, after checking that it is nested lists of ``shape``.

    Raises:
        RaggedInputError: a list differs in length or depth.
    """
    level: list[Any] = [value]
    for size in shape:
        counted = min(size, _SATURATED)
        if any(not isinstance(element, JsonArray) or len(element) != counted for element in level):
            raise ragged_error(name, value, shape)
        level = list(chain.from_iterable(level))
    if JsonArray in set(map(type, level)):
        raise ragged_error(name, value, shape)
    return level


def place_of(index: int, shape: Sequence[int]) -> str:
    """Where the leaf of this flat index is: ``[0][3]``; empty for a scalar."""
    places: list[str] = []
    for size in reversed(shape):
        index, position = divmod(index, size)
        places.append(f"[{position}]")
    return "".join(reversed(places))
