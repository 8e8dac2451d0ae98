"""Serialized Examples made up from what a model parses out of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.dtypes import DType
from tensorhost.runtimes.base import ExampleFeature

_Example: Any = message_class("tensorflow.Example")
_WORDS = (b"tensorhost", b"warms", b"up")


def made_up_example(features: Sequence[ExampleFeature], seed: int, row: int) -> bytes:
    """The Example of one row, the same for the same ``seed`` and ``row``."""
    rng = np.random.default_rng((seed, row))
    example = _Example()
    into = example.features.feature
    for feature in features:
        if feature.dtype is DType.STRING:
            into[feature.name].bytes_list.value.extend(_WORDS[(row + i) % len(_WORDS)] for i in range(feature.size))
        elif feature.dtype is DType.INT64:
            # 0 and 1 are valid indices of almost any table.
            into[feature.name].int64_list.value.extend(rng.integers(0, 2, feature.size).tolist())
        else:
            # Every third row is negative, as where numbers are made up.
            sign = -1.0 if row % 3 == 2 else 1.0
            into[feature.name].float_list.value.extend((sign * rng.random(feature.size)).tolist())
    data: bytes = example.SerializeToString(deterministic=True)
    return data
