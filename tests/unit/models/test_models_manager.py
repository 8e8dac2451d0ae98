"""The manager over files that no framework executes: who waits, who is told what, and what is left behind."""

from __future__ import annotations

import asyncio
import math
import shutil
import threading
import time
import weakref

import numpy as np
import pytest
from model_fakes import available, signature, until

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OutOfMemoryError,
    RuntimeMissingError,
    ShuttingDownError,
    UnsupportedModelError,
    VersionNotFoundError,
)
from tensorhost.core.tensors import TensorSpec
from tensorhost.inference import InferenceEngine
from tensorhost.models import ModelManager, lifecycle, loading, repository, reservations
from tensorhost.models.states import VersionState
from tensorhost.settings import Settings

LAZY = 'loading = "lazy"\n'


def state(manager, name="m", version="1"):
    return manager.version(name, version).state


async def answer(manager, name="m", version=None, **options):
    result = await InferenceEngine(manager).predict(name, np.zeros(1, np.float32), version=version, **options)
    return float(result.predictions[0]), result.model_version


# -- starting ----------------------------------------------------------------------------------------------------


async def test_one_broken_model_stops_no_other(world, managed):
    world.write("good/1", 1)
    world.write("broken/1")
    world.failures["broken/1"] = ValueError("secret detail")
    (world.root / "empty").mkdir()
    (world.root / "half" / "1").mkdir(parents=True)
    world.write("bad name/1")
    world.write("config/1")
    world.configure("config", "labels = 3")
    manager = await managed(load_attempts=1)
    assert await answer(manager, "good") == (1.0, "1")
    for name, reason in {
        "broken": r"failed to load: The model could not be loaded\.$",
        "empty": "no version",
        "half": "no model files",
        "config": "model.toml is not valid: labels",
    }.items():
        with pytest.raises(ModelNotReadyError, match=reason):
            await manager.lease(name)
    assert list(manager.problems()) == ["bad name"]
    assert manager.settled


async def test_an_empty_and_a_missing_repository_settle(world, managed):
    assert not (await managed()).models()
    shutil.rmtree(world.root)
    manager = await managed()
    assert manager.problems() == {"models": "The model path cannot be read."}
    world.root.mkdir()
    world.write("m/1", 1)
    await until(manager, lambda: available(manager, "m") == ["1"])


async def test_constructing_starts_nothing(world):
    world.write("m/1")
    threads, tasks = threading.active_count(), asyncio.all_tasks()
    manager = ModelManager(repository=world.root)
    assert not manager.settled
    assert (threading.active_count(), asyncio.all_tasks()) == (threads, tasks)
    await manager.close()
    assert not world.loads


async def test_a_wish_before_the_first_look_does_not_pass_for_settled(world, managed, monkeypatch):
    looking = threading.Event()
    scan = repository.scan

    def slow_scan(*args, **options):
        assert looking.wait(20)
        return scan(*args, **options)

    monkeypatch.setattr("tensorhost.models.origins.scan", slow_scan)
    world.write("m/1")
    manager = await managed(settle=False)
    with pytest.raises(ModelNotFoundError):
        await manager.unload_model("m")
    manager._kick()
    assert not manager.settled
    looking.set()
    await asyncio.wait_for(manager.wait_settled(), 20)
    assert available(manager, "m") == ["1"]


async def test_before_the_first_look_nobody_is_told_that_there_is_no_model(world, managed, monkeypatch):
    looking = threading.Event()
    scan = repository.scan

    def slow_scan(*args, **options):
        assert looking.wait(20)
        return scan(*args, **options)

    monkeypatch.setattr("tensorhost.models.origins.scan", slow_scan)
    world.write("m/1", 1)
    manager = await managed(settle=False)
    with pytest.raises(ModelNotReadyError) as early:
        await manager.lease("m")
    assert early.value.retry_after_s
    looking.set()
    await asyncio.wait_for(manager.wait_settled(), 20)
    assert await answer(manager) == (1.0, "1")
    with pytest.raises(ModelNotFoundError):
        await manager.lease("n")


async def test_files_that_are_never_quiet_do_not_hold_up_the_start(world, managed, monkeypatch):
    world.write("m/1")
    world.write("restless/1")
    measure = repository._measure

    def restless(path):
        size_bytes, changed_at = measure(path)
        return size_bytes, time.time() if path.parent.name == "restless" else changed_at - 60

    monkeypatch.setattr(repository, "_measure", restless)
    manager = await managed(settle_s=0.05, settle=False)
    async with asyncio.timeout(20):
        await manager.wait_settled()
    assert available(manager, "m") == ["1"]
    assert manager.version("restless", "1").on_disk.settling


async def test_freshly_copied_files_are_waited_for_at_start_without_polling(world, managed):
    world.write("m/1", 1)
    manager = await managed(settle_s=0.2, poll_interval_s=0)
    assert available(manager, "m") == ["1"]


# -- versions ----------------------------------------------------------------------------------------------------


async def test_a_new_version_takes_over_and_the_old_one_goes(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    gate = world.gates["m/2"] = threading.Event()
    world.write("m/2", 2)
    await until(manager, lambda: "m/2" in world.loads)
    assert await answer(manager) == (1.0, "1")
    gate.set()
    await until(manager, lambda: available(manager, "m") == ["2"] and state(manager) is VersionState.END)
    assert await answer(manager) == (2.0, "2")
    assert world.runtimes["m/1"][0].closed


async def test_a_broken_version_is_tried_again_and_touches_nothing(world, managed):
    world.write("m/1", 1)
    manager = await managed(load_attempts=3)
    world.failures["m/2"] = ModelFailedError("It is broken.")
    world.write("m/2", 2)
    await until(manager, lambda: "2" in manager.model("m").versions and state(manager, version="2") is VersionState.END)
    assert world.loads == ["m/1", "m/2", "m/2", "m/2"]
    assert await answer(manager) == (1.0, "1")
    with pytest.raises(ModelNotReadyError, match="failed to load: It is broken"):
        await manager.lease("m", "2")
    assert manager.metrics.loads == {"succeeded": 1, "failed": 3}
    assert world.runtimes["m/1"][0].closed is False


async def test_a_version_that_was_given_up_gets_another_chance_with_new_files(world, managed):
    world.failures["m/1"] = ModelFailedError("It is broken.")
    folder = world.write("m/1", 1)
    manager = await managed(load_attempts=1)
    assert state(manager) is VersionState.END
    del world.failures["m/1"]
    (folder / "constant").write_text("5")
    await until(manager, lambda: available(manager, "m") == ["1"])
    assert await answer(manager) == (5.0, "1")


async def test_deleting_the_newest_version_goes_back_without_a_gap(world, managed):
    world.write("m/1", 1)
    newest = world.write("m/2", 2)
    manager = await managed()
    gate = world.gates["m/1"] = threading.Event()
    newest.rename(world.root / ".trash")
    await until(manager, lambda: "m/1" in world.loads)
    assert await answer(manager) == (2.0, "2")
    gate.set()
    await until(manager, lambda: list(manager.model("m").versions) == ["1"])
    assert await answer(manager) == (1.0, "1")


async def test_a_removed_model_is_unloaded_and_forgotten(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    (world.root / "m").rename(world.root / ".trash")
    await until(manager, lambda: "m" not in manager.models())
    assert world.runtimes["m/1"][0].closed
    with pytest.raises(ModelNotFoundError, match="no model is known"):
        await manager.lease("m")


async def test_a_root_that_blinks_changes_nothing(world, managed, monkeypatch):
    world.write("m/1", 1)
    manager = await managed()
    scans = []

    def unreadable(*_args, **_options):
        scans.append(1)
        return repository.Scan(readable=False)

    monkeypatch.setattr("tensorhost.models.origins.scan", unreadable)
    await until(manager, lambda: len(scans) > 2)
    assert await answer(manager) == (1.0, "1")


async def test_a_look_that_fails_is_not_the_last(world, managed, monkeypatch):
    manager = await managed()
    scan = repository.scan
    fails = iter([True, True, False])

    def failing(*args, **options):
        if next(fails, False):
            raise KeyError("a fault of ours")
        return scan(*args, **options)

    monkeypatch.setattr("tensorhost.models.origins.scan", failing)
    world.write("m/1", 1)
    await until(manager, lambda: available(manager, "m") == ["1"])


async def test_replaced_files_are_swapped_in(world, managed):
    folder = world.write("m/1", 1)
    manager = await managed()
    (folder / "constant").write_text("7")
    await until(manager, lambda: world.runtimes["m/1"][0].closed)
    assert await answer(manager) == (7.0, "1")
    assert world.loads == ["m/1", "m/1"]


async def test_a_broken_replacement_is_tried_again_while_the_old_files_serve(world, managed):
    folder = world.write("m/1", 1)
    manager = await managed(load_attempts=3)
    world.failures["m/1"] = ModelFailedError("It is broken.")
    (folder / "constant").write_text("7")
    await until(manager, lambda: manager.version("m", "1").attempts == 3 and not manager.version("m", "1").busy)
    assert world.loads == ["m/1"] * 4
    assert await answer(manager) == (1.0, "1")
    assert manager.version("m", "1").error.message == "It is broken."
    del world.failures["m/1"]
    await manager.load_model("m", version="1")
    assert await answer(manager) == (7.0, "1")
    assert manager.version("m", "1").error is None


async def test_a_changed_model_toml_is_swapped_in_whole_and_fails_no_request(world, managed):
    world.signatures = (signature(outputs={"y": TensorSpec("y", DType.FLOAT32, (None, 3))}),)
    world.runs["m/1"] = lambda x: np.tile(np.float32([1, 3, 2]), (len(x), 1))
    world.write("m/1")
    world.configure("m", 'labels = ["a", "b", "c"]\npostprocessing.topK = 1')
    manager = await managed()
    engine = InferenceEngine(manager)

    async def top():
        result = await engine.predict("m", np.zeros(1, np.float32))
        return [entry["label"] for entry in result.predictions[0]]

    assert await top() == ["b"]
    world.configure("m", 'labels = ["x", "y", "z"]\npostprocessing.topK = 2\nbatching.max_batch_size = 7')
    async with asyncio.timeout(20):
        while not world.runtimes["m/1"][0].closed:
            assert await top() in (["b"], ["y", "z"])
    assert await top() == ["y", "z"]
    assert manager.model("m").config.labels == ("x", "y", "z")
    assert manager.find("m").loaded.config == manager.model("m").config
    assert world.loads == ["m/1"] * 2


async def test_what_a_loaded_version_does_not_hold_changes_without_a_reload(world, managed):
    world.write("m/1")
    world.configure("m", 'labels = ["a"]')
    manager = await managed()
    world.configure(
        "m", 'description = "new"\nlabels = ["a"]\nversion_policy = "all"\nversion_labels = { stable = "1" }'
    )
    await until(manager, lambda: "stable" in manager.model("m").version_labels)
    await manager.load_model("m")
    assert world.loads == ["m/1"]


async def test_a_model_toml_that_does_not_fit_is_tried_once_until_it_changes(world, managed):
    world.write("m/1", 1)
    world.configure("m", "preprocessing.no_such_step = true")
    manager = await managed()
    assert state(manager) is VersionState.END
    assert manager.metrics.loads == {"succeeded": 0, "failed": 1}
    with pytest.raises(ModelFailedError, match=r"model\.toml does not fit the model: .*no_such_step"):
        await manager.load_model("m")
    world.configure("m", "")
    await until(manager, lambda: available(manager, "m") == ["1"])
    assert len(world.loads) == 3
    world.configure("m", "postprocessing.no_such_step = true")
    await until(manager, lambda: manager.version("m", "1").attempts == 1 and not manager.version("m", "1").busy)
    assert await answer(manager) == (1.0, "1")
    assert manager.version("m", "1").next_attempt_at == math.inf


async def test_labels_lead_to_versions_and_move_with_the_file(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    world.configure("m", 'version_policy = "all"\nversion_labels = { stable = "1", canary = "2" }')
    manager = await managed()
    assert await answer(manager, version="stable") == (1.0, "1")
    assert await answer(manager, version="canary") == (2.0, "2")
    world.configure("m", 'version_policy = "all"\nversion_labels = { stable = "2" }')
    await until(manager, lambda: "canary" not in manager.model("m").version_labels)
    assert await answer(manager, version="stable") == (2.0, "2")
    with pytest.raises(VersionNotFoundError, match="labels: stable"):
        await manager.lease("m", "canary")


async def test_a_broken_model_toml_changes_nothing_that_serves(world, managed):
    world.write("m/1", 1)
    world.configure("m", 'version_labels = { stable = "1" }')
    manager = await managed()
    world.configure("m", "labels = [")
    world.write("m/2", 2)
    await until(manager, lambda: bool(manager.model("m").problem) and "2" in manager.model("m").versions)
    assert await answer(manager, version="stable") == (1.0, "1")
    assert world.loads == ["m/1"]
    world.configure("m", "")
    await until(manager, lambda: available(manager, "m") == ["2"])


# -- lazy loading ------------------------------------------------------------------------------------------------


async def test_twenty_first_requests_are_one_load(world, managed):
    world.write("m/1", 1)
    world.configure("m", LAZY)
    manager = await managed()
    assert not world.loads
    answers = await asyncio.gather(*(answer(manager) for _ in range(20)))
    assert answers == [(1.0, "1")] * 20
    assert world.loads == ["m/1"]


async def test_a_failed_lazy_load_is_told_to_everyone_and_not_hammered(world, managed):
    world.write("m/1", 1)
    world.configure("m", LAZY)
    world.failures["m/1"] = ModelFailedError("It is broken.")
    manager = await managed(load_backoff_s=3600)
    failures = await asyncio.gather(*(answer(manager) for _ in range(20)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {ModelNotReadyError}
    for _ in range(20):
        with pytest.raises(ModelNotReadyError, match="It is broken"):
            await answer(manager)
    assert world.loads == ["m/1"]


async def test_a_failed_lazy_load_is_tried_again(world, managed):
    world.write("m/1", 1)
    world.configure("m", LAZY)
    world.failures["m/1"] = ModelFailedError("It is broken.")
    manager = await managed(load_attempts=50)
    with pytest.raises(ModelNotReadyError):
        await answer(manager)
    del world.failures["m/1"]
    await until(manager, lambda: available(manager, "m") == ["1"])
    assert await answer(manager) == (1.0, "1")


async def test_the_deadline_ends_the_wait_but_not_the_load(world, managed):
    world.write("m/1", 1)
    world.configure("m", LAZY)
    gate = world.gates["m/1"] = threading.Event()
    manager = await managed()
    with pytest.raises(DeadlineExceededError, match="while the model was loading"):
        await answer(manager, timeout_s=0.05)
    assert manager.version("m", "1").waiters == 0
    gate.set()
    assert await answer(manager) == (1.0, "1")
    assert world.loads == ["m/1"]


async def test_a_waiter_that_leaves_harms_no_other(world, managed):
    world.write("m/1", 1)
    world.configure("m", LAZY)
    gate = world.gates["m/1"] = threading.Event()
    manager = await managed()
    leaving, staying = (asyncio.create_task(answer(manager)) for _ in range(2))
    await until(manager, lambda: bool(world.loads))
    leaving.cancel()
    gate.set()
    assert await staying == (1.0, "1")
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert manager.version("m", "1").servable.leases == 0


async def test_when_the_newest_lazy_version_is_broken_the_one_before_it_answers(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    world.configure("m", LAZY)
    world.failures["m/2"] = ModelFailedError("It is broken.")
    manager = await managed(load_attempts=1)
    assert await answer(manager) == (1.0, "1")
    with pytest.raises(ModelNotReadyError, match="It is broken"):
        await answer(manager, version="2")


async def test_all_lazy_versions_broken_is_an_answer_too(world, managed):
    world.configure("m", LAZY)
    for version in ("1", "2"):
        world.write(f"m/{version}")
        world.failures[f"m/{version}"] = ModelFailedError("It is broken.")
    manager = await managed(load_attempts=1)
    for _ in range(2):
        with pytest.raises(ModelNotReadyError, match="version '2' is not available: it failed"):
            await asyncio.wait_for(answer(manager), 20)


async def test_a_lazy_version_that_vanishes_under_its_waiter(world, managed):
    folder = world.write("m/1", 1)
    world.configure("m", LAZY)
    gate = world.gates["m/1"] = threading.Event()
    manager = await managed()
    waiting = asyncio.create_task(answer(manager))
    await until(manager, lambda: bool(world.loads))
    folder.rename(world.root / ".trash")
    await until(manager, lambda: manager.model("m").versions["1"].vanished)
    gate.set()
    with pytest.raises((ModelNotReadyError, VersionNotFoundError)):
        await asyncio.wait_for(waiting, 20)


# -- memory ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def tight(world, managed):
    """Three lazy models of 1000 bytes and a budget for two of them."""
    world.weights_bytes = 1000
    for name in ("a", "b", "c"):
        world.write(f"{name}/1", padding_bytes=900)
        world.configure(name, LAZY)
    return await managed(memory_budget=2500)


def loaded(manager):
    return [name for name in sorted(manager.models()) if available(manager, name)]


async def test_the_least_recently_used_makes_room(world, tight):
    for name in ("a", "b", "a"):
        await answer(tight, name)
    await answer(tight, "c")
    assert loaded(tight) == ["a", "c"]
    assert state(tight, "b") is VersionState.NEW
    assert world.runtimes["b/1"][0].closed
    await answer(tight, "b")
    assert loaded(tight) == ["b", "c"]


async def test_what_is_in_use_is_not_evicted(world, tight):
    await answer(tight, "a")
    await answer(tight, "b")
    with await tight.lease("a"):
        await answer(tight, "c")
        assert loaded(tight) == ["a", "c"]
        with await tight.lease("c"), pytest.raises(OutOfMemoryError, match="of a budget of 2500 are in use"):
            await answer(tight, "b")
    assert not world.runtimes["a/1"][0].closed
    assert len(world.runtimes["b/1"]) == 1


async def test_memory_that_was_short_may_be_there_for_the_next_request(world, tight):
    with await tight.lease("a"), await tight.lease("b"):
        for _ in range(10):
            with pytest.raises(OutOfMemoryError):
                await answer(tight, "c")
            record = tight.version("c", "1")
            assert record.state is VersionState.NEW
            assert not record.asked_for
            record.next_attempt_at = -1.0
    assert await answer(tight, "c") == (0.0, "1")


async def test_what_cannot_fit_is_refused_before_it_is_tried(world, tight):
    world.write("huge/1", padding_bytes=3000)
    world.configure("huge", LAZY)
    await until(tight, lambda: "huge" in tight.models())
    await answer(tight, "a")
    with pytest.raises(OutOfMemoryError, match="needs at least 30"):
        await answer(tight, "huge")
    assert "huge/1" not in world.loads
    assert loaded(tight) == ["a"]


async def test_more_than_the_machine_has_is_refused_without_a_budget(world, managed, monkeypatch):
    monkeypatch.setattr(reservations, "available_memory_bytes", lambda: 500)
    world.write("m/1", padding_bytes=600)
    manager = await managed()
    with pytest.raises(OutOfMemoryError, match="more than the machine has free"):
        await manager.lease("m")
    assert not world.loads


async def test_a_request_for_what_is_being_evicted_is_answered(world, tight):
    """The request comes while its model drains: it must have it loaded again, and not wait for ever."""
    gate = threading.Event()
    await answer(tight, "a")
    await answer(tight, "b")
    servable = tight.find("a")
    close = servable.close
    servable.close = lambda: (gate.wait(20), close())
    evicting = asyncio.create_task(answer(tight, "c"))
    await until(tight, lambda: state(tight, "a") is VersionState.UNLOADING)
    waiting = asyncio.create_task(answer(tight, "a"))
    await until(tight, lambda: tight.version("a", "1").waiters == 1)
    gate.set()
    async with asyncio.timeout(20):
        assert await evicting == (0.0, "1")
        assert await waiting == (0.0, "1")


async def test_two_loads_at_once_count_each_others_evictions(world, managed):
    world.weights_bytes = 1000
    for name in ("a", "b", "c", "d"):
        world.write(f"{name}/1", padding_bytes=900)
        world.configure(name, LAZY)
    manager = await managed(memory_budget=2500, load_threads=2)
    for _ in range(5):
        for pair in (("a", "b"), ("c", "d")):
            async with asyncio.timeout(20):
                assert await asyncio.gather(*(answer(manager, name) for name in pair)) == [(0.0, "1")] * 2
    assert loaded(manager) == ["c", "d"]


async def test_a_load_that_took_more_than_foreseen_evicts_afterwards(world, managed):
    world.weights_bytes = 1000
    for name in ("a", "b"):
        world.write(f"{name}/1")
        world.configure(name, LAZY)
    manager = await managed(memory_budget=1500)
    await answer(manager, "a")
    await answer(manager, "b")
    await until(manager, lambda: loaded(manager) == ["b"])


async def test_a_replacement_that_took_more_than_foreseen_evicts_afterwards(world, managed):
    world.weights_bytes = 1000
    for name in ("a", "b"):
        world.write(f"{name}/1")
        world.configure(name, LAZY)
    manager = await managed(memory_budget=3500)
    await answer(manager, "a")
    await answer(manager, "b")
    world.weights_bytes = 3000
    world.configure("b", LAZY + 'labels = ["new"]')
    await until(manager, lambda: loaded(manager) == ["b"])
    assert len(world.runtimes["b/1"]) == 2


async def test_requests_for_three_models_where_two_fit_are_all_answered(world, tight):
    """Whoever comes is answered or told that memory is short; nobody hangs and the account stays right."""

    async def client(name):
        answered = 0
        while answered < 5:
            try:
                await answer(tight, name)
                answered += 1
            except OutOfMemoryError:
                tight.version(name, "1").next_attempt_at = -1.0
                await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(*(client(name) for name in ("a", "b", "c", "a", "b", "c")))
    await until(tight, lambda: not any(record.busy for record in tight._catalog.records()))
    held = sum(record.memory_bytes for record in tight._catalog.records())
    assert held == 1000 * len(loaded(tight))
    assert all(record.waiters == 0 for record in tight._catalog.records())


# -- operators ---------------------------------------------------------------------------------------------------


async def test_a_version_named_by_path(world):
    folder = world.write("any/7", 3)
    async with ModelManager(Settings(warmup_iterations=0)) as manager:
        await manager.load_model("mine", f"file://{folder}", "v1")
        assert await answer(manager, "mine", "v1") == (3.0, "v1")
        await manager.load_model("mine", folder, "v1")
        assert world.loads == ["any/7"]
        await manager.unload_model("mine", "v1")
        with pytest.raises(ModelNotReadyError, match="it was unloaded"):
            await answer(manager, "mine", "v1")
        await manager.load_model("mine")
        assert await answer(manager, "mine") == (3.0, "v1")


@pytest.mark.parametrize(
    ("name", "source", "version", "error"),
    [
        ("../m", None, None, InvalidRequestError),
        ("m", "x", "a/b", InvalidRequestError),
        ("new", "/no/such/path", None, InvalidRequestError),
        ("new", "http://host/m", None, InvalidRequestError),
        ("new", None, None, ModelNotFoundError),
        ("m", None, "9", VersionNotFoundError),
    ],
)
async def test_what_cannot_be_loaded_is_refused_and_leaves_nothing(world, managed, name, source, version, error):
    world.write("m/1")
    manager = await managed()
    with pytest.raises(error):
        await manager.load_model(name, source, version)
    assert list(manager.models()) == ["m"]
    assert available(manager, "m") == ["1"]


async def test_a_failed_load_tells_why_each_time(world):
    folder = world.write("any/1")
    world.failures["any/1"] = ModelFailedError("It is broken.", details={"why": "test"})
    async with ModelManager(Settings(warmup_iterations=0)) as manager:
        for _ in range(3):
            with pytest.raises(ModelFailedError, match="It is broken") as raised:
                await manager.load_model("mine", folder)
            assert raised.value.details == {"why": "test"}
        kept = manager.version("mine", "1").error
        assert kept is not raised.value
        assert kept.__traceback__ is None
        assert world.loads == ["any/1"] * 3


async def test_what_an_operator_unloaded_stays_out_until_loaded_again(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    await manager.unload_model("m")
    assert world.runtimes["m/1"][0].closed
    world.write("other/1")
    await until(manager, lambda: available(manager, "other") == ["1"])
    assert world.loads.count("m/1") == 1
    with pytest.raises(ModelNotReadyError, match="it was unloaded"):
        await manager.lease("m")
    await manager.load_model("m")
    assert await answer(manager) == (1.0, "1")
    await manager.unload_model("m", "1")
    await manager.unload_model("m", "1")
    await manager.load_model("m", version="1")
    assert await answer(manager) == (1.0, "1")


async def test_loading_a_model_does_not_pin_what_the_policy_wants_anyway(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    await manager.load_model("m")
    world.write("m/2", 2)
    await until(manager, lambda: available(manager, "m") == ["2"])


async def test_loading_a_version_pins_it_beside_the_newest(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    manager = await managed()
    await manager.load_model("m", version="1")
    assert available(manager, "m") == ["2", "1"]
    await manager.unload_model("m", "1")
    assert available(manager, "m") == ["2"]


async def test_unloading_the_newest_version_brings_back_the_one_before(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    manager = await managed()
    await manager.unload_model("m", "2")
    await until(manager, lambda: available(manager, "m") == ["1"])


async def test_two_loads_at_once_are_one(world):
    folder = world.write("any/1", 3)
    async with ModelManager(Settings(warmup_iterations=0)) as manager:
        async with asyncio.timeout(20):
            await asyncio.gather(*(manager.load_model("mine", folder) for _ in range(5)))
        assert world.loads == ["any/1"]


async def test_unloading_while_it_loads(world, managed):
    world.write("m/1", 1)
    gate = world.gates["m/1"] = threading.Event()
    manager = await managed(settle=False)
    await until(manager, lambda: bool(world.loads))
    loading_it = asyncio.create_task(manager.load_model("m"))
    await until(manager, lambda: manager.version("m", "1").asked_for)
    unloading = asyncio.create_task(manager.unload_model("m"))
    with pytest.raises(ModelNotReadyError, match="was unloaded"):
        await asyncio.wait_for(loading_it, 20)
    gate.set()
    await asyncio.wait_for(unloading, 20)
    assert state(manager) is VersionState.END
    assert world.runtimes["m/1"][0].closed


async def test_unloading_waits_for_the_requests_in_flight(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    lease = await manager.lease("m")
    unloading = asyncio.create_task(manager.unload_model("m"))
    await until(manager, lambda: state(manager) is VersionState.DRAINING)
    assert manager.find("m") is None
    assert not world.runtimes["m/1"][0].closed
    lease.release()
    lease.release()
    await asyncio.wait_for(unloading, 20)
    assert world.runtimes["m/1"][0].closed


async def test_unloading_waits_no_longer_than_allowed_and_not_under_a_running_call(world, managed):
    running, go_on = threading.Event(), threading.Event()

    def slow(x):
        running.set()
        assert go_on.wait(20)
        return x

    world.write("m/1", 1)
    manager = await managed(unload_timeout_s=0.05)
    manager.find("m").loaded.runtime._run = slow
    request = asyncio.create_task(answer(manager))
    await asyncio.to_thread(running.wait, 20)
    unloading = asyncio.create_task(manager.unload_model("m"))
    await until(manager, lambda: state(manager) is VersionState.UNLOADING)
    assert not world.runtimes["m/1"][0].closed
    world.write("other/1", 4)
    await until(manager, lambda: available(manager, "other") == ["1"])
    go_on.set()
    await asyncio.wait_for(unloading, 20)
    assert world.runtimes["m/1"][0].closed
    assert await request == (0.0, "1")


async def test_requests_that_still_wait_after_the_time_allowed_are_refused(world, managed):
    running, go_on = threading.Event(), threading.Event()

    def slow(x):
        running.set()
        assert go_on.wait(20)
        return x

    world.write("m/1", 1)
    manager = await managed(unload_timeout_s=0.05)
    manager.find("m").loaded.runtime._run = slow
    first = asyncio.create_task(answer(manager))
    await asyncio.to_thread(running.wait, 20)
    second = asyncio.create_task(answer(manager))
    await until(manager, lambda: manager.find("m").leases == 2)
    unloading = asyncio.create_task(manager.unload_model("m"))
    with pytest.raises(ModelNotReadyError, match="was unloaded"):
        await asyncio.wait_for(second, 20)
    go_on.set()
    assert await first == (0.0, "1")
    await unloading


# -- faults of ours and of runtimes --------------------------------------------------------------------------------


async def test_a_runtime_that_is_not_installed_says_what_to_install(world, managed, monkeypatch):
    def missing(_format, _options):
        raise RuntimeMissingError("This model needs TensorFlow: pip install 'tensorhost[tensorflow]'.")

    monkeypatch.setattr(lifecycle, "prepare_runtime", missing)
    world.write("m/1")
    manager = await managed()
    assert state(manager) is VersionState.END, "no further attempt can succeed"
    with pytest.raises(ModelNotReadyError, match="pip install"):
        await manager.lease("m")
    with pytest.raises(RuntimeMissingError, match="pip install"):
        await manager.load_model("m")


async def test_a_format_that_is_not_executed_is_tried_once(world, managed):
    world.write("m/1")
    world.failures["m/1"] = UnsupportedModelError("This format is recognised and not executed.")
    manager = await managed()
    assert (state(manager), world.loads) == (VersionState.END, ["m/1"])


async def test_a_runtime_that_cannot_be_imported_is_a_failed_load_like_any_other(world, managed, monkeypatch):
    def broken(_format, _options):
        raise ImportError("libtensorflow.so: no such file")

    monkeypatch.setattr(lifecycle, "prepare_runtime", broken)
    world.write("m/1")
    manager = await managed(load_attempts=2)
    await until(manager, lambda: state(manager) is VersionState.END)
    record = manager.version("m", "1")
    assert record.attempts == 2
    assert record.error.message == "The model could not be loaded."
    assert "libtensorflow" in record.error.log_detail


async def test_a_fault_of_ours_ends_a_version_and_nothing_else(world, managed, monkeypatch):
    install = lifecycle.Lifecycle._install

    def faulty(self, record, loaded):
        if record.id.name == "m":
            raise RuntimeError("a fault of ours")
        install(self, record, loaded)

    monkeypatch.setattr(lifecycle.Lifecycle, "_install", faulty)
    world.write("m/1")
    world.write("other/1", 2)
    manager = await managed()
    assert await answer(manager, "other") == (2.0, "1")
    with pytest.raises(ModelNotReadyError, match="Something went wrong"):
        await asyncio.wait_for(manager.lease("m"), 20)
    assert world.loads.count("m/1") == 1


async def test_a_runtime_that_fails_to_close_is_gone_all_the_same(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    manager.find("m").loaded.runtime.closed = True
    await asyncio.wait_for(manager.unload_model("m"), 20)
    assert state(manager) is VersionState.END
    await manager.load_model("m")
    assert await answer(manager) == (1.0, "1")


# -- stopping ----------------------------------------------------------------------------------------------------


async def test_closing_leaves_no_task_no_thread_and_no_model(world):
    threads = set(threading.enumerate())
    tasks = asyncio.all_tasks()
    for name in ("a", "b"):
        world.write(f"{name}/1")
    manager = ModelManager(Settings(settle_s=0, poll_interval_s=0.02, warmup_iterations=0), repository=world.root)
    await manager.open()
    await manager.wait_settled()
    await answer(manager, "a")
    await manager.close()
    await manager.close()
    assert all(runtime.closed for runtimes in world.runtimes.values() for runtime in runtimes)
    assert asyncio.all_tasks() == tasks
    left = [thread.name for thread in set(threading.enumerate()) - threads if not thread.name.startswith("asyncio")]
    assert left == []


async def test_closing_waits_for_a_load_and_refuses_who_waits_for_it(world):
    world.write("m/1", 1)
    gate = world.gates["m/1"] = threading.Event()
    manager = ModelManager(Settings(settle_s=0, poll_interval_s=0.02, warmup_iterations=0), repository=world.root)
    await manager.open()
    await until(manager, lambda: bool(world.loads))
    waiting = [asyncio.create_task(manager.load_model("m")), asyncio.create_task(manager.wait_settled())]
    await until(manager, lambda: manager.version("m", "1").asked_for)
    closing = asyncio.create_task(manager.close())
    for waiter in waiting:
        with pytest.raises(ShuttingDownError):
            await asyncio.wait_for(waiter, 20)
    assert not closing.done()
    gate.set()
    await asyncio.wait_for(closing, 20)
    assert world.runtimes["m/1"][0].closed
    with pytest.raises(ShuttingDownError):
        await asyncio.wait_for(manager.load_model("m"), 20)


async def test_closing_begins_no_load_that_waits_its_turn(world):
    for name in ("a", "b", "c"):
        world.write(f"{name}/1")
        world.gates[f"{name}/1"] = threading.Event()
    manager = ModelManager(Settings(settle_s=0, poll_interval_s=0.02, warmup_iterations=0), repository=world.root)
    await manager.open()
    await until(manager, lambda: bool(world.loads))
    closing = asyncio.create_task(manager.close())
    await asyncio.sleep(0)
    for gate in world.gates.values():
        gate.set()
    await asyncio.wait_for(closing, 20)
    assert len(world.loads) == 1
    assert all(record.error is None for model in manager.models().values() for record in model.versions.values())


async def test_metrics_of_a_version_follow_its_life(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    counters = manager.metrics.version("m", "1")
    assert counters.memory_bytes == 100
    await manager.unload_model("m")
    assert counters.memory_bytes == 0
    assert manager.metrics.models_by_state()["END"] == 1


async def test_metrics_of_a_version_that_never_served_go_with_its_files(world, managed, monkeypatch):
    world.write("m/1", 1)
    half = world.root / "half"
    (half / "1").mkdir(parents=True)
    manager = await managed()
    forgotten = []
    monkeypatch.setattr(manager.metrics, "forget", lambda *model_id: forgotten.append(model_id))
    shutil.rmtree(half)
    await until(manager, lambda: "half" not in manager.models())
    assert forgotten == [("half", "1")]


async def test_a_failed_load_leaves_nothing_of_the_model_in_memory(world, managed, monkeypatch):
    class Weights:
        pass

    seen = []

    def failing(_path, _options):
        weights = Weights()
        seen.append(weakref.ref(weights))
        try:
            raise ValueError("the runtime's own error")
        except ValueError as error:
            raise ModelFailedError("It is broken.") from error

    monkeypatch.setattr(loading, "load", failing)
    world.write("m/1")
    manager = await managed(load_attempts=1)
    assert manager.version("m", "1").error is not None
    assert [reference() for reference in seen] == [None]


# -- labels that operators move ----------------------------------------------------------------------------------


async def test_a_label_is_moved_whatever_the_file_says_and_given_back(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    world.configure("m", 'version_policy = "all"\nversion_labels = { stable = "1" }')
    manager = await managed()
    await manager.label_version("m", "stable", "2")
    await manager.label_version("m", "new", "1")
    assert await answer(manager, version="stable") == (2.0, "2")
    assert await answer(manager, version="new") == (1.0, "1")
    assert manager.model("m").version_labels == {"stable": "2", "new": "1"}
    await manager.label_version("m", "stable", None)
    await manager.label_version("m", "new", None)
    await manager.label_version("m", "new", None)
    assert await answer(manager, version="stable") == (1.0, "1")
    assert manager.model("m").version_labels == {"stable": "1"}
    with pytest.raises(VersionNotFoundError):
        await manager.lease("m", "new")


async def test_a_label_does_not_move_to_what_does_not_serve(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    world.configure("m", 'version_policy = "latest:1"\nversion_labels = { stable = "2" }')
    manager = await managed()
    with pytest.raises(ModelNotReadyError):
        await manager.label_version("m", "stable", "1")
    with pytest.raises(VersionNotFoundError, match="versions: 2, 1"):
        await manager.label_version("m", "stable", "3")
    with pytest.raises(VersionNotFoundError):
        await manager.label_version("m", "stable", "stable")
    with pytest.raises(ModelNotFoundError):
        await manager.label_version("n", "stable", "1")
    for label in ("1", "a label", "", "../x"):
        with pytest.raises(InvalidRequestError):
            await manager.label_version("m", label, "2")
    assert manager.model("m").version_labels == {"stable": "2"}


async def test_a_version_that_only_a_label_holds_is_unloaded_when_the_label_moves(world, managed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    world.configure("m", 'version_labels = { stable = "1" }')
    manager = await managed()
    assert available(manager, "m") == ["2", "1"]
    await manager.label_version("m", "stable", "2")
    await until(manager, lambda: available(manager, "m") == ["2"])


async def test_labels_have_a_limit(world, managed):
    world.write("m/1", 1)
    manager = await managed()
    for number in range(100):
        await manager.label_version("m", f"l{number}", "1")
    await manager.label_version("m", "l7", "1")
    with pytest.raises(InvalidRequestError, match="100 labels"):
        await manager.label_version("m", "one-more", "1")
