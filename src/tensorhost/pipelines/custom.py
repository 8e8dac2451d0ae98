"""Custom steps: a Python function that a model's model.toml names as ``module:function``.

The function takes arrays by name and returns arrays by name. It is the model owner's code and part of the model: a
request can neither name one nor switch one off, and what it raises is a failure of the model. The module is
imported as Python imports it; no folder is added to the import path. A function that wants to refuse a request
raises an error of ``tensorhost.core.errors``, which reaches the client as it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.core.tensors import Array, Tensors

CustomFunction: TypeAlias = Callable[[dict[str, Array]], dict[str, Array]]


def load_custom_function(entry_point: str) -> CustomFunction:
    """Import the function that ``entry_point`` (``module:function``) names. Runs the module's code.

    Raises:
        ModelFailedError: the module cannot be imported or has no such function; ``log_detail`` says why.
    """
    module_name, _, function_name = entry_point.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # importing runs the model owner's code, part of a load attempt
        detail = f"{entry_point}: {type(error).__name__}: {error}"
        raise ModelFailedError("The model's custom step cannot be imported.", log_detail=detail) from error
    if not callable(function):
        raise ModelFailedError("The model's custom step is not a function.", log_detail=entry_point)
    checked: CustomFunction = function
    return checked


def run_custom(function: CustomFunction, tensors: Tensors) -> dict[str, Array]:
    """Call ``function`` with read-only views of ``tensors`` and return what it returns, checked to be arrays by name.

    Raises:
        ModelFailedError: the function raised, or returned something else than a dict of arrays of tensor dtypes.
        TensorhostError: any that the function itself raises.
    """
    try:
        result = function({name: _read_only(array) for name, array in tensors.items()})
    except TensorhostError:
        raise
    except Exception as error:  # the model owner's code may raise anything
        detail = f"{type(error).__name__}: {error}"
        raise ModelFailedError("The model's custom step failed.", log_detail=detail) from error
    if not isinstance(result, dict) or not all(_is_tensor(name, value) for name, value in result.items()):
        raise ModelFailedError(
            "The model's custom step returned something else than arrays by name.",
            log_detail=f"returned {type(result).__name__}",
        )
    return result


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _is_tensor(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, np.ndarray):
        return False
    try:
        DType.of(value)
    except KeyError:
        return False
    return True
