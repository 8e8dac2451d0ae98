"""A limit to the variables that a configuration may claim, while Keras builds the model.

Keras fills every weight with its first values and only then compares it with the file, so a few bytes that ask for a
layer of a billion units would take the memory of the machine. What must stay true: a variable is counted before any
memory of its size exists.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.tensors import format_shape
from tensorhost.runtimes.contents import shown

FREE_NUMBERS = 2**24
"""Numbers that need not be in the file: state of training and of random numbers, which are not always saved."""


@contextmanager
def variables_within(tf: Any, stored: int) -> Iterator[None]:
    """What Keras builds in this thread within the ``with`` block has no more weights than the file.

    Args:
        tf: the ``tensorflow`` module.
        stored: how many numbers the file holds as weights.

    Raises ModelFailedError, which names the layer, for the variable that is too much.
    """
    left = stored + FREE_NUMBERS

    def create(make: Callable[..., Any], **arguments: Any) -> Any:
        nonlocal left
        variable = _keras_variable(arguments.get("initial_value"))
        if variable is not None:
            shape = tuple(variable.shape)
            left -= prod(shape)
            if left < 0:
                raise _too_large(variable.path, shape, stored)
        return make(**arguments)

    with tf.variable_creator_scope(create):
        yield


def _keras_variable(initial_value: Any) -> Any:
    """The Keras variable that is to hold what the function ``initial_value`` makes; None for ready values."""
    # TensorFlow is given the function alone, without a shape; Keras's variable is what it refers to.
    return inspect.getclosurevars(initial_value).nonlocals.get("self") if inspect.isfunction(initial_value) else None


def _too_large(path: str, shape: tuple[int, ...], stored: int) -> ModelFailedError:
    layer, _, weight = path.rpartition("/")
    return ModelFailedError(
        f"The layer '{shown(layer)}' needs a weight '{shown(weight)}' of shape {format_shape(shape)}, which is more "
        f"than the {stored} numbers that the file holds as weights.",
        details={"layer": shown(layer), "expected": list(shape), "stored": stored},
    )
