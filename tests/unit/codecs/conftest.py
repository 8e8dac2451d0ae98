"""TensorFlow, which tells how tensors and records are read and written."""

from __future__ import annotations

import warnings

import pytest

from tensorhost.runtimes import LoadOptions, prepare


@pytest.fixture(scope="session")
def tf():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(LoadOptions(intra_op_threads=1, inter_op_threads=1))
        import tensorflow
    return tensorflow
