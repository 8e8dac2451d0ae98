"""The models under contract, each made once, and one runtime of each to share among tests that do not close it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contract_models
import pytest
from contract_background import Done, begin
from contract_case import DATA, Ask, Case
from contract_cases import CASES, MIXING

from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes import LoadOptions, Runtime, load


@dataclass
class Bench:
    """Runtimes and references by case, opened when first asked for."""

    fixture: Any
    base: LoadOptions
    _runtimes: dict[str, Runtime] = field(default_factory=dict)
    _tuned: dict[str, Runtime] = field(default_factory=dict)
    _references: dict[str, Ask] = field(default_factory=dict)

    def path(self, case: Case) -> Path:
        return case.locate(self.fixture)

    def options(self, case: Case) -> LoadOptions:
        return case.load_options(self.base)

    def load(self, case: Case, path: Path | None = None) -> Runtime:
        """A runtime of its own; the caller closes it."""
        with case.loading():
            return load(path or self.path(case), self.options(case))

    def runtime(self, case: Case) -> Runtime:
        """The one that tests share; nobody closes it."""
        if case.name not in self._runtimes:
            self._runtimes[case.name] = self.load(case)
        return self._runtimes[case.name]

    def tuned(self, case: Case) -> Runtime:
        """Another one that tests share: every signature is tuned for the case's batch sizes."""
        if case.name not in self._tuned:
            self._tuned[case.name] = runtime = self.load(case)
            for signature in case.promises:
                runtime.tune(signature, [case.inputs(signature, rows) for rows in sorted(case.rows)])
        return self._tuned[case.name]

    def expected(self, case: Case, signature: str, inputs: Tensors) -> dict[str, Array]:
        """What the format's own runtime answers."""
        if case.name not in self._references:
            self._references[case.name] = case.reference(self.fixture, self.path(case))
        return dict(self._references[case.name](signature, inputs))

    def close(self) -> None:
        for runtime in [*self._runtimes.values(), *self._tuned.values()]:
            runtime.close()


@pytest.fixture(scope="session")
def bench(request, options) -> Iterator[Bench]:
    made = Bench(request.getfixturevalue, options)
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def background(contract_graphs, contract_keras, contract_tflite, tmp_path_factory) -> Iterator[dict[str, Future[Done]]]:
    """What the processes of ``contract_background`` found, by kind of model; they run beside the other tests."""
    pool = ThreadPoolExecutor(2)
    yield begin(pool, contract_graphs, contract_keras, contract_tflite, tmp_path_factory.mktemp("background"))
    pool.shutdown(cancel_futures=True)


@pytest.fixture(params=CASES, ids=repr)
def case(request) -> Case:
    return request.param


@pytest.fixture(params=[*CASES, *MIXING], ids=repr)
def batch_case(request) -> Case:
    """One of all cases, models whose rows depend on each other among them."""
    return request.param


@pytest.fixture(scope="session")
def contract_graphs(tf, tmp_path_factory) -> Path:
    return contract_models.write_graphs(tf, tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session")
def mixing_saved_model(tf, tmp_path_factory) -> Path:
    return contract_models.write_mixing_saved_model(tf, tmp_path_factory.mktemp("mixing"))


@pytest.fixture(scope="session")
def contract_keras(tf, keras, tmp_path_factory) -> Path:
    return contract_models.write_keras(keras, tmp_path_factory.mktemp("keras3"))


@pytest.fixture(scope="session")
def contract_tflite(tf, keras, tmp_path_factory) -> Path:
    import tflite_models

    root = tmp_path_factory.mktemp("tflite")
    tflite_models.write_all(tf, keras, root)
    contract_models.write_tflite_mixing(root)
    return root


@pytest.fixture(scope="session")
def tfjs_mixing(tmp_path_factory) -> Path:
    folder = DATA / "tfjs" / "layers" / "softmax_default_axis"
    return contract_models.write_tfjs_mixing(folder, tmp_path_factory.mktemp("mixing"))


@pytest.fixture(scope="session")
def keras_2_models(tmp_path_factory) -> Path:
    """What Keras 2 saved, unpacked."""
    folder = tmp_path_factory.mktemp("keras2")
    with zipfile.ZipFile(DATA / "keras" / "references.zip") as archive:
        for name in ("nested_first.h5", "nested_first.keras"):
            archive.extract(name, folder)
    return folder
