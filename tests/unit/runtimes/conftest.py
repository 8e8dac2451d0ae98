"""Real models, each made once per test session."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tensorhost.runtimes import LoadOptions, load, prepare

OPTIONS = LoadOptions(intra_op_threads=1, inter_op_threads=1)


@pytest.fixture(scope="session")
def options() -> LoadOptions:
    return OPTIONS


@pytest.fixture(scope="session")
def tf(options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(options)
        import tensorflow
    return tensorflow


@pytest.fixture(scope="session")
def keras(tf):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    return keras


@pytest.fixture(scope="session")
def models(tf, tmp_path_factory) -> Path:
    """SavedModels of TensorFlow 2 by name of their folder."""
    import tf2_models

    root = tmp_path_factory.mktemp("tf2")
    tf2_models.write_all(tf, root)
    return root


@pytest.fixture(scope="session")
def tf1_models(tf, tmp_path_factory) -> Path:
    """SavedModels of TensorFlow 1 by name of their folder."""
    import tf1_models

    root = tmp_path_factory.mktemp("tf1")
    tf1_models.write_all(tf, root)
    return root


@pytest.fixture(scope="session")
def keras_models(tf, keras, tmp_path_factory) -> Path:
    """``.keras`` files by name."""
    import keras_models

    root = tmp_path_factory.mktemp("keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras_models.write_all(keras, root)
    return root


@pytest.fixture
def loaded(options):
    """Loads models and closes them after the test."""
    opened = []

    def open_one(path, chosen=options):
        runtime = load(path, chosen)
        opened.append(runtime)
        return runtime

    yield open_one
    for runtime in opened:
        runtime.close()
