"""Weights of ``CuDNNLSTM`` and ``CuDNNGRU``, layers of Keras 2 for GPUs, in the order of ``LSTM`` and ``GRU``. Pure.

cuDNN keeps the matrices of each gate transposed, and a bias for the inputs and one for the state, one after the other.
``LSTM`` has one bias, their sum; ``GRU`` has both, in rows. (NVIDIA cuDNN, ``cudnnRNNMode_t``; the gates are in the
same order in Keras.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorhost.core.tensors import Array

_LSTM_GATES, _GRU_GATES = 4, 3


def ordinary_weights(values: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """The values with what cuDNN ordered put in Keras's order; everything else is left as it is.

    Args:
        values: weights in the order kernel, recurrent kernel, bias for each such layer, among others.
        shapes: of the weights they are meant for. A bias of twice as many numbers tells of cuDNN.
    """
    ordinary = list(values)
    for index in range(2, min(len(values), len(shapes))):
        gates = _gates(values[index - 2 : index + 1], shapes[index])
        if gates:
            kernel, recurrent, bias = values[index - 2 : index + 1]
            halves = bias.reshape(2, -1)
            ordinary[index - 2] = np.hstack([_kernel(part) for part in np.hsplit(kernel, gates)])
            ordinary[index - 1] = np.hstack([part.T for part in np.hsplit(recurrent, gates)])
            ordinary[index] = halves.sum(axis=0) if gates == _LSTM_GATES else halves
    return ordinary


def _gates(values: Sequence[Array], wanted: tuple[int, ...]) -> int:
    """How many gates a layer of cuDNN has with these weights; 0 if they are not of one."""
    kernel, recurrent, bias = values
    if kernel.ndim != 2 or recurrent.ndim != 2 or bias.ndim != 1:
        return 0
    units = recurrent.shape[0]
    for gates, shape in ((_LSTM_GATES, (_LSTM_GATES * units,)), (_GRU_GATES, (2, _GRU_GATES * units))):
        is_layer = kernel.shape[1] == recurrent.shape[1] == gates * units
        if is_layer and bias.shape == (2 * gates * units,) and wanted == shape:
            return gates
    return 0


def _kernel(part: Array) -> Array:
    """The matrix of one gate, whose numbers lie transposed."""
    return part.reshape(part.shape[::-1]).T
