"""Real models through the manager and the engine: what a repository's owner does, and what clients see meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import warnings

import numpy as np
import pytest
from lifecycle_models import place, write_keras, write_saved_model

from tensorhost.core.errors import (
    DeadlineExceededError,
    ModelFailedError,
    ModelNotReadyError,
    OutOfMemoryError,
    RuntimeMissingError,
    TensorhostError,
)
from tensorhost.inference import InferenceEngine
from tensorhost.models import ModelManager, VersionState
from tensorhost.runtimes import LoadOptions, prepare
from tensorhost.runtimes.tensorflow import process as tensorflow_process
from tensorhost.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Models by name: ``add1`` to ``add3`` and ``slow`` (SavedModel), ``add1.keras`` and ``add2.keras``."""
    folder = tmp_path_factory.mktemp("made")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(LoadOptions(intra_op_threads=1, inter_op_threads=1))
        import keras
        import tensorflow as tf

        for constant in (1, 2, 3):
            write_saved_model(tf, folder / f"add{constant}", float(constant))
        write_saved_model(tf, folder / "slow", 9.0, steps=300)
        for constant in (1, 2):
            write_keras(keras, folder / f"add{constant}.keras", float(constant))
    return folder


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    return root


@pytest.fixture
async def serve(root):
    """Starts a manager of ``root`` and waits until it has settled; closes it afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**settings) -> InferenceEngine:
            # What is tried in child processes first is in test_probe.py.
            defaults = {
                "poll_interval_s": 0.05,
                "settle_s": 0.0,
                "load_backoff_s": 0.05,
                "warmup_iterations": 1,
                "probe": False,
            }
            manager = ModelManager(Settings(**(defaults | settings)), repository=root)
            await stack.enter_async_context(manager)
            async with asyncio.timeout(60):
                await manager.wait_settled()
            return InferenceEngine(manager)

        yield start


async def until(engine, condition):
    async with asyncio.timeout(60):
        await engine.manager._changes.until(condition)


async def ask(engine, model="m", version=None, **options):
    result = await engine.predict(model, np.zeros(1, np.float32), version=version, **options)
    return float(result.predictions[0]), result.model_version


def state(engine, version, model="m"):
    record = engine.manager.models()[model].versions.get(version)
    return record and record.state


async def test_one_good_model_is_served_and_the_rest_explained(made, root, serve):
    place(made / "add1", root / "good" / "1")
    (root / "corrupt" / "1").mkdir(parents=True)
    (root / "corrupt" / "1" / "saved_model.pb").write_bytes(os.urandom(5000))
    # A whole protocol buffer whose graph is noise: only loading finds that out.
    (root / "noise" / "1").mkdir(parents=True)
    (root / "noise" / "1" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x7f" + b"\x0f" * 127)
    (root / "empty").mkdir()
    place(made / "add2", root / "half" / "1")
    for shard in (root / "half" / "1" / "variables").glob("*.data-*"):
        shard.unlink()
    engine = await serve(load_attempts=1)
    assert await ask(engine, "good") == (1.0, "1")
    for name, reason in {
        "corrupt": r"saved_model\.pb \(cut short\)",
        "noise": "failed to load",
        "empty": "no version in the model's folder",
        "half": r"missing \(or still being copied\): variables/variables\.data",
    }.items():
        with pytest.raises(ModelNotReadyError, match=reason) as refused:
            await ask(engine, name)
        assert str(root) not in refused.value.message
    place(made / "add2", root / "half" / "1")
    await until(engine, lambda: state(engine, "1", "half") is VersionState.AVAILABLE)
    assert await ask(engine, "half") == (2.0, "1")


async def test_a_new_version_dropped_in_under_load_fails_no_request(made, root, serve):
    place(made / "add1", root / "m" / "1")
    engine = await serve()
    answers = []
    old_gone = asyncio.Event()

    async def client():
        while not old_gone.is_set():
            answers.append(await ask(engine))
            await asyncio.sleep(0)

    clients = [asyncio.create_task(client()) for _ in range(8)]
    await until(engine, lambda: engine.metrics.version("m", "1").requests > 0)
    place(made / "add2", root / "m" / "2")
    await until(engine, lambda: state(engine, "1") is VersionState.END)
    answers.append(await ask(engine))
    old_gone.set()
    await asyncio.gather(*clients)
    assert set(answers) == {(1.0, "1"), (2.0, "2")}
    assert answers[0] == (1.0, "1")
    assert answers[-1] == (2.0, "2")
    assert engine.metrics.version("m", "1").error_count == engine.metrics.version("m", "2").error_count == 0


async def test_a_broken_new_version_is_reported_and_the_old_one_serves(made, root, serve):
    place(made / "add1", root / "m" / "1")
    engine = await serve(load_attempts=2)
    broken = root / "m" / ".broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\x08\x01\x12\x7f" + b"\x0f" * 127)
    broken.rename(root / "m" / "2")
    await until(engine, lambda: state(engine, "2") is VersionState.END)
    record = engine.manager.version("m", "2")
    assert record.attempts == 2
    assert isinstance(record.error, ModelFailedError)
    assert await ask(engine) == (1.0, "1")
    with pytest.raises(ModelNotReadyError, match="version '2' is not available: it failed to load"):
        await ask(engine, version="2")
    place(made / "add2", root / "m" / "2")
    await until(engine, lambda: state(engine, "2") is VersionState.AVAILABLE)
    assert await ask(engine) == (2.0, "2")


async def test_a_removed_version_falls_back_to_the_one_before(made, root, serve):
    for constant in (1, 2):
        place(made / f"add{constant}", root / "m" / str(constant))
    engine = await serve()
    assert await ask(engine) == (2.0, "2")
    shutil.rmtree(root / "m" / "2")
    await until(engine, lambda: list(engine.manager.model("m").versions) == ["1"])
    assert await ask(engine) == (1.0, "1")


@pytest.mark.parametrize(("first", "second", "name"), [("add1", "add2", "m"), ("add1.keras", "add2.keras", "m.keras")])
async def test_files_replaced_in_place_are_swapped_in(made, root, serve, first, second, name):
    place(made / first, root / name)
    engine = await serve()
    row = np.zeros((1, 1) if name.endswith("keras") else 1, np.float32)
    assert float((await engine.predict("m", row)).predictions.item()) == 1.0
    old = engine.manager.find("m")
    place(made / second, root / name)
    await until(engine, lambda: engine.manager.find("m") is not old)
    assert float((await engine.predict("m", row)).predictions.item()) == 2.0


async def test_policies_and_labels(made, root, serve):
    for constant in (1, 2, 3):
        place(made / f"add{constant}", root / "m" / str(constant))
    toml = root / "m" / "model.toml"
    toml.write_text('version_policy = "latest:2"\nversion_labels = { stable = "2", canary = "3" }')
    engine = await serve()
    assert await ask(engine) == (3.0, "3")
    assert await ask(engine, version="stable") == (2.0, "2")
    assert await ask(engine, version="canary") == (3.0, "3")
    assert state(engine, "1") is VersionState.NEW
    toml.write_text('version_policy = ["1"]\nversion_labels = { stable = "3" }')
    await until(engine, lambda: state(engine, "1") is VersionState.AVAILABLE and state(engine, "2") is VersionState.END)
    assert await ask(engine, version="stable") == (3.0, "3")
    assert await ask(engine, version="1") == (1.0, "1")


async def test_lazy_models_load_once_for_twenty_first_requests(made, root, serve):
    place(made / "add1", root / "m" / "1")
    engine = await serve(loading="lazy")
    assert state(engine, "1") is VersionState.NEW
    assert await asyncio.gather(*(ask(engine) for _ in range(20))) == [(1.0, "1")] * 20
    assert engine.metrics.loads == {"succeeded": 1, "failed": 0}


async def test_a_deadline_passes_while_a_lazy_model_loads(made, root, serve):
    place(made / "slow", root / "m" / "1")
    engine = await serve(loading="lazy")
    with pytest.raises(DeadlineExceededError):
        await ask(engine, timeout_s=0.001)
    assert (await ask(engine))[1] == "1"
    assert engine.metrics.loads == {"succeeded": 1, "failed": 0}


async def test_two_lazy_models_of_three_fit_the_budget(made, root, serve, monkeypatch):
    for number, name in enumerate(("a", "b", "c"), 1):
        place(made / f"add{number}", root / name / "1")
    monkeypatch.setattr("tensorhost.models.loading._memory_need", lambda _weights, _grown: 1_000_000)
    engine = await serve(loading="lazy", memory_budget=2_500_000)
    for name in ("a", "b", "a", "c"):
        await ask(engine, name)
    serving = [name for name in "abc" if state(engine, "1", name) is VersionState.AVAILABLE]
    assert serving == ["a", "c"]
    assert await ask(engine, "b") == (2.0, "1")
    assert state(engine, "1", "a") is VersionState.NEW


async def test_what_alone_exceeds_the_budget_is_refused_before_it_is_tried(made, root, serve):
    place(made / "add1", root / "m" / "1")
    engine = await serve(loading="lazy", memory_budget=1000)
    with pytest.raises(OutOfMemoryError, match="of a budget of 1000 are in use"):
        await ask(engine)
    assert state(engine, "1") is VersionState.NEW


async def test_the_python_api_by_path_and_by_url(made, tmp_path, monkeypatch):
    place(made / "add3", tmp_path / "models" / "classifier" / "7")
    place(made / "add1.keras", tmp_path / "models" / "add.keras")
    monkeypatch.chdir(tmp_path)
    manager = ModelManager(Settings(warmup_iterations=1, probe=False))
    await manager.load_model("my-classifier", "file://./models/classifier/7", "v1")
    await manager.load_model("my-keras", tmp_path / "models" / "add.keras")
    engine = InferenceEngine(manager)
    assert await ask(engine, "my-classifier", "v1") == (3.0, "v1")
    assert (await engine.predict("my-keras", [[1.0]])).predictions.tolist() == [[2.0]]
    loads = dict(engine.metrics.loads)
    await manager.load_model("my-classifier", version="v1")
    assert engine.metrics.loads == loads
    await manager.unload_model("my-classifier", "v1")
    with pytest.raises(ModelNotReadyError, match="unloaded"):
        await ask(engine, "my-classifier", "v1")
    await manager.load_model("my-classifier", "models/classifier", "v1")
    assert await ask(engine, "my-classifier") == (3.0, "v1")
    await manager.close()


async def test_what_was_unloaded_stays_out(made, root, serve):
    place(made / "add1", root / "m" / "1")
    engine = await serve()
    await engine.manager.unload_model("m")
    place(made / "add2", root / "other" / "1")
    await until(engine, lambda: "other" in engine.manager.models() and state(engine, "1", "other") == "AVAILABLE")
    assert state(engine, "1") is VersionState.END
    await engine.manager.load_model("m")
    assert await ask(engine) == (1.0, "1")


async def test_unloading_lets_slow_requests_finish(made, root, serve):
    place(made / "slow", root / "m" / "1")
    engine = await serve(max_batch_size=1)
    requests = [asyncio.create_task(ask(engine)) for _ in range(5)]
    await until(engine, lambda: engine.manager.find("m").leases == 5)
    await engine.manager.unload_model("m")
    assert all(request.done() for request in requests)
    assert [await request for request in requests] == [(9.0, "1")] * 5


async def test_unloading_cuts_off_what_takes_too_long(made, root, serve):
    place(made / "slow", root / "m" / "1")
    engine = await serve(max_batch_size=1, unload_timeout_s=0, inline_threshold_ms=0)
    requests = [asyncio.create_task(ask(engine)) for _ in range(50)]
    await until(engine, lambda: engine.manager.find("m").leases == 50)
    await engine.manager.unload_model("m")
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert outcomes[0] == (9.0, "1")
    assert isinstance(outcomes[-1], ModelNotReadyError)
    assert all(outcome == (9.0, "1") or isinstance(outcome, ModelNotReadyError) for outcome in outcomes)


async def test_without_tensorflow_the_load_names_what_to_install(made, root, serve, monkeypatch):
    place(made / "add1", root / "m" / "1")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find_spec(name))
    monkeypatch.setattr(tensorflow_process, "_prepared", asyncio.Event())
    monkeypatch.setattr("tensorhost.models.loading._tensorflow_kept", asyncio.Event())
    engine = await serve(load_attempts=1)
    with pytest.raises(ModelNotReadyError, match=r"pip install 'tensorhost\[tensorflow\]'"):
        await ask(engine)
    with pytest.raises(RuntimeMissingError):
        await engine.manager.load_model("m")
    assert engine.manager.settled


async def test_closing_under_load_answers_everyone(made, root, serve):
    place(made / "add1", root / "m" / "1")
    engine = await serve()

    async def client():
        for _ in range(10_000):
            try:
                await ask(engine)
            except TensorhostError as refusal:
                return refusal
            await asyncio.sleep(0)
        return None

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await until(engine, lambda: engine.metrics.version("m", "1").requests > 0)
    await engine.manager.close()
    async with asyncio.timeout(60):
        refusals = await asyncio.gather(*clients)
    assert {type(refusal) for refusal in refusals} == {ModelNotReadyError}
