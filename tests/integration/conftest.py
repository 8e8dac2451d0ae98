"""One repository and one server process for all tests of the assembled server."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from native_models import write_repository
from native_server import RunningServer
from oip_models import write_repository as write_oip_repository
from serving_models import write_repository as write_serving_repository

from tensorhost.runtimes import LoadOptions, prepare

MAX_BODY_BYTES = 4 * 2**20


@pytest.fixture(scope="session")
def tf():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(LoadOptions(intra_op_threads=1, inter_op_threads=1))
        import tensorflow
    return tensorflow


@pytest.fixture(scope="session")
def repository(tf, tmp_path_factory) -> Path:
    """A repository root; nothing in it may be changed."""
    root = tmp_path_factory.mktemp("native") / "models"
    root.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_repository(tf, root)
    return root


@pytest.fixture(scope="session")
def serving_repository(tf, tmp_path_factory) -> Path:
    """The models of ``serving_models``; nothing in it may be changed."""
    root = tmp_path_factory.mktemp("serving") / "models"
    root.mkdir()
    write_serving_repository(tf, root)
    return root


@pytest.fixture(scope="session")
def first_health() -> list[dict[str, object]]:
    """What /health said while the models were loading: filled when the server starts."""
    return []


@pytest.fixture(scope="session")
def server(repository, first_health) -> Iterator[RunningServer]:
    """The server of ``repository``, ready."""
    limits = ("--max-body-bytes", MAX_BODY_BYTES, "--poll-interval-s", 0, "--settle-s", 0)
    # The custom steps lie beside the repository; what the tests themselves import from stays in force.
    python_path = os.pathsep.join([str(repository.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with RunningServer(repository, *limits, PYTHONPATH=python_path) as running:
        running.wait_for("listening")
        for path in ("/health", "/health/ready", "/health/live"):
            answer = running.get(path)
            first_health.append({"path": path, "status": answer.status, "body": answer.json})
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


@pytest.fixture(scope="session")
def serving_server(serving_repository) -> Iterator[RunningServer]:
    """The server of ``serving_repository`` with all its versions, ready, and reached over gRPC, too."""
    options = ("--grpc-port", -1, "--version-policy", "all", "--poll-interval-s", 0, "--settle-s", 0, "--grpc-profiler")
    with RunningServer(serving_repository, *options) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


@pytest.fixture(scope="session")
def oip_repository(tf, tmp_path_factory) -> Path:
    """The models of ``oip_models``; nothing in it may be changed."""
    root = tmp_path_factory.mktemp("oip") / "models"
    root.mkdir()
    write_oip_repository(tf, root)
    return root


@pytest.fixture(scope="session")
def oip_server(oip_repository) -> Iterator[RunningServer]:
    """The server of ``oip_repository`` with all its versions, ready, and reached over gRPC, too."""
    options = ("--grpc-port", -1, "--version-policy", "all", "--poll-interval-s", 0, "--settle-s", 0)
    with RunningServer(oip_repository, *options, "--inline-threshold-ms", 0, "--oip-shared-memory") as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0
