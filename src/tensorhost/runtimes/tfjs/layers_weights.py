"""Which weight of the file belongs where in a layers model. Pure.

A layer asks for its weights one by one while it is built, and says which shape it needs before any memory of that shape
exists: a layer that claims to be enormous fails because its weight is not. Names are tried in this order: as
TensorFlow.js names them (``layer/kernel``); with the names of the models around the layer; without the last but one
part, as Keras 2 put the cell there (``lstm/lstm_cell/kernel``), which TensorFlow.js does too; and where none fits, the
weights whose names have the layer's name among their parts, in the order of the file (``dense/vars/0``). What must stay
true: no weight is used twice, none is left over, and no shape is ever adjusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.tensors import Array, format_shape
from tensorhost.runtimes.contents import shown

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """The layer that asks for weights.

    Attributes:
        scope: what stands before the names of its weights, such as ``("both", "forward_lstm")``.
        around: the names of the models it lies in, the outermost first.
    """

    scope: tuple[str, ...]
    around: tuple[str, ...] = ()


class WeightStore:
    """The weights of a file, each handed out once.

    Args:
        weights: arrays by name, in the order of the file. Emptied as they are taken, so that none is held twice.
    """

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = weights
        self._by_part: Mapping[str, list[str]] = _index_by_part(weights)
        self._shortened: Mapping[str, str] = _index_shortened(weights)
        self._in_order: dict[Owner, list[str]] = {}

    def take(self, owner: Owner, name: str, position: int, shape: Sequence[int]) -> Array:
        """The weight ``name`` of ``owner``, which is its ``position``-th, as float32.

        Raises:
            ModelFailedError: there is no such weight, or it has another shape or no numbers.
        """
        found = self._find(owner, name, position)
        wanted = "/".join((*owner.scope, name))
        if found is None:
            raise ModelFailedError(
                f"The weights manifest lacks the weight '{shown(wanted)}' of shape {format_shape(tuple(shape))}.",
                details={"weight": shown(wanted), "expected": list(shape)},
            )
        array = self._weights[found]
        if array.shape != tuple(shape):
            raise ModelFailedError(
                f"The weight '{shown(found)}' has the shape {format_shape(array.shape)}; the layer needs "
                f"{format_shape(tuple(shape))}.",
                details={"weight": shown(found), "expected": list(shape), "actual": list(array.shape)},
            )
        if array.dtype.kind not in "fi":
            raise ModelFailedError(f"The weight '{shown(found)}' does not hold real numbers.")
        del self._weights[found]
        return np.asarray(array, np.float32)

    def check_empty(self) -> None:
        """Raise ModelFailedError if a weight was not taken; the message names it."""
        if self._weights:
            names = list(self._weights)
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            listed = ", ".join(f"'{shown(name)}'" for name in names[:_MOST_NAMED])
            raise ModelFailedError(
                f"The weights manifest has weights that no layer of the model has: {listed}{more}.",
                details={"weights": [shown(name) for name in names[:100]]},
            )

    def _find(self, owner: Owner, name: str, position: int) -> str | None:
        wanted = "/".join((*owner.scope, name))
        outer = ["/".join((*owner.around[index:], wanted)) for index in reversed(range(len(owner.around)))]
        for candidate in (wanted, *outer):
            for found in (candidate, self._shortened.get(candidate)):
                if found in self._weights:
                    return found
        in_order = self._of(owner)
        found = in_order[position] if position < len(in_order) else None
        return found if found in self._weights else None

    def _of(self, owner: Owner) -> list[str]:
        """Names that have every part of the owner's scope among their own, in the order of the file."""
        if owner not in self._in_order:
            first, *rest = owner.scope
            fits = [name for name in self._by_part.get(first, ()) if name in self._weights and _has_parts(name, rest)]
            within = [name for name in fits if _has_parts(name, owner.around)]
            self._in_order[owner] = within or fits
        return self._in_order[owner]


def _index_by_part(weights: Mapping[str, Array]) -> Mapping[str, list[str]]:
    index: defaultdict[str, list[str]] = defaultdict(list)
    for name in weights:
        for part in dict.fromkeys(name.split("/")[:-1]):
            index[part].append(name)
    return index


def _index_shortened(weights: Mapping[str, Array]) -> Mapping[str, str]:
    """Names without their last but one part, where that is unambiguous."""
    index: defaultdict[str, list[str]] = defaultdict(list)
    for name in weights:
        parts = name.split("/")
        index["/".join((*parts[:-2], parts[-1]))].append(name)
    return {short: names[0] for short, names in index.items() if len(names) == 1}


def _has_parts(name: str, parts: Sequence[str]) -> bool:
    """Whether ``name`` has all ``parts``. The layers within a Bidirectional go by their direction alone too."""
    own = name.split("/")[:-1]
    return all(any(_same(part, there) for there in own) for part in parts)


def _same(part: str, there: str) -> bool:
    return part == there or any(
        part.startswith(direction) and there.startswith(direction) for direction in ("forward_", "backward_")
    )
