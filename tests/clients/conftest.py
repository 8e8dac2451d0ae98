"""A server that other projects' clients are pointed at, with one model for each thing that they may ask."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.native_server import RunningServer
from tests.integration.oip_models import DATATYPES, UNTYPED, write_echo, write_identity, write_text

from tensorhost.runtimes import LoadOptions, prepare


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """``identity`` (y = 2x), ``text``, ``typed``, and ``half``, as in ``oip_models``; ``image``."""
    root = tmp_path_factory.mktemp("clients") / "models"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(LoadOptions(intra_op_threads=1, inter_op_threads=1))
        import tensorflow as tf

        write_identity(tf, root / "identity" / "1", 2.0)
        write_text(tf, root)
        write_echo(tf, root / "typed" / "1", [name for name in DATATYPES if name not in UNTYPED])
        write_echo(tf, root / "half" / "1", ["FP16"])
        _write_image(tf, root / "image" / "1")
    return root


@pytest.fixture(scope="session")
def server(repository) -> Iterator[RunningServer]:
    """The server of ``repository``, ready; whatever name shared memory has, it may be registered."""
    at_rest = ("--poll-interval-s", 0, "--settle-s", 0)
    shared = ("--oip-shared-memory", "--oip-shared-memory-prefix", "")
    with RunningServer(repository, "--grpc-port", -1, *at_rest, *shared) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


def _write_image(tf: Any, folder: Path) -> None:
    """image FP32 [-1,-1,-1,3] → colour FP32 [-1,3], the mean of all its points."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="image")])
    def mean(image):
        return {"colour": tf.reduce_mean(image, axis=[1, 2])}

    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": mean})
