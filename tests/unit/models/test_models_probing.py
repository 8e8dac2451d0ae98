"""The manager and models that are tried before they are loaded: when, with what, and what becomes of the verdict."""

from __future__ import annotations

import asyncio
import threading

import pytest
from model_fakes import FakeProber, FakeRuntime, available, probe_report, until

from tensorhost.core.errors import (
    ModelFailedError,
    ModelNotReadyError,
    OutOfMemoryError,
    RuntimeMissingError,
    ShuttingDownError,
    UntrustedModelError,
)
from tensorhost.frontends.native.descriptions import describe_version
from tensorhost.models import ModelManager, lifecycle, reservations, trials
from tensorhost.models.probe_trial import ModelTooLargeError
from tensorhost.models.states import VersionState
from tensorhost.runtimes import Contents, Finding, FindingKind
from tensorhost.settings import Settings

READS = Finding(FindingKind.READS_FILES, "ReadFile", 2, "It reads a file.")


def described(manager, name="m", version="1"):
    return describe_version(manager.model(name), manager.version(name, version))


async def test_a_model_is_tried_before_it_is_loaded(world, managed):
    world.write("m/1")
    world.configure("m", 'batching.max_batch_size = 7\nbatching.enabled = false\nwarmup.examples = "e.json"')
    (world.root / "m" / "e.json").write_text("[]")
    manager = await managed(intra_op_threads=3)
    [(key, options, runs)] = world.probes
    assert (key, world.loads) == ("m/1", ["m/1"])
    assert options.intra_op_threads == 3
    assert (runs.folder, runs.examples, runs.max_batch_rows, runs.batching) == (
        world.root / "m",
        "e.json",
        7,
        False,
    )
    facts = described(manager)
    assert facts["probeTimeMs"] == 2000.0 <= facts["loadTimeMs"]
    assert facts["peakMemoryBytes"] == 200
    assert facts["disabledOptimizations"] == []


@pytest.mark.parametrize(
    ("setting", "said", "batched"),
    [
        (True, "", True),
        (False, "", False),
        (False, "batching.enabled = true", True),
        (True, "batching.enabled = false", False),
    ],
)
async def test_a_model_says_for_itself_whether_it_is_batched(world, managed, setting, said, batched):
    world.write("m/1")
    world.configure("m", said)
    manager = await managed(batching=setting)
    [(_, _, runs)] = world.probes
    assert runs.batching is batched
    [signature] = described(manager)["signatures"].values()
    assert signature["batching"]["batched"] is batched
    assert (signature["batching"]["reason"] == "Batching is switched off for this model.") is not batched


async def test_signatures_that_no_request_can_call_are_named(world, managed, monkeypatch):
    monkeypatch.setattr(FakeRuntime, "refused_signatures", {"train": "it has no outputs"})
    world.write("m/1")
    assert described(await managed())["refusedSignatures"] == {"train": "it has no outputs"}


async def test_with_the_probe_off_nothing_is_tried(world, managed):
    world.write("m/1")
    world.contents = Contents({"MatMul": 1}, 12, (READS,))
    manager = await managed(probe=False)
    assert (world.probes, world.loads) == ([], ["m/1"])
    facts = described(manager)
    assert (facts["probeTimeMs"], facts["peakMemoryBytes"]) == (0.0, None)
    assert facts["parameters"] == 12
    assert facts["findings"] == [READS.to_json()]


@pytest.mark.parametrize("probe", [True, False])
async def test_strict_trust_refuses_for_good(world, managed, probe):
    world.write("m/1")
    world.contents = Contents(findings=(READS,))
    world.reports["m/1"] = probe_report(contents=world.contents)
    manager = await managed(trust="strict", probe=probe)
    assert manager.version("m", "1").state is VersionState.END
    assert isinstance(manager.version("m", "1").error, UntrustedModelError)
    assert world.loads == []


async def test_contents_found_in_the_child_are_shown_and_logged(world, managed, caplog):
    world.write("m/1")
    world.reports["m/1"] = probe_report(contents=Contents({}, 5, (READS,)))
    manager = await managed()
    assert described(manager)["findings"] == [READS.to_json()]
    assert len(warnings_of_findings(caplog)) == 1
    assert "ReadFile: It reads a file." in warnings_of_findings(caplog)[0]
    await manager.unload_model("m")
    await manager.load_model("m")
    assert len(world.probes) == 1
    assert len(warnings_of_findings(caplog)) == 2, "said at each load, tried or not"


async def test_without_a_child_findings_are_logged_once(world, managed, caplog):
    world.write("m/1")
    world.contents = Contents({}, 5, (READS,))
    await managed(probe=False)
    assert len(warnings_of_findings(caplog)) == 1


def warnings_of_findings(caplog):
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if "could do more than compute" in message]


async def test_a_model_over_the_operators_limit_is_tried_once(world, managed, caplog):
    world.write("m/1")
    world.reports["m/1"] = ModelTooLargeError("The model took 9 bytes; 8 are allowed (probe_memory).")
    manager = await managed()
    assert manager.version("m", "1").state is VersionState.END
    assert len(world.probes) == 1


async def test_attempts_that_found_too_little_memory_are_not_counted_in_the_log(world, managed, caplog):
    world.write("m/1")
    world.reports["m/1"] = OutOfMemoryError("Too little is free.")
    manager = await managed(load_attempts=1)
    await until(manager, lambda: manager.version("m", "1").attempts == 2)
    failures = [record.getMessage() for record in caplog.records if "load failed" in record.getMessage()]
    assert [failure.rpartition(" ")[2] for failure in failures[:2]] == ["attempt=1", "attempt=2"]


async def test_a_model_that_fails_there_is_not_loaded(world, managed):
    world.write("m/1")
    world.write("good/1")
    world.reports["m/1"] = ModelFailedError("The model crashed its runtime (signal 11, segmentation fault).")
    manager = await managed(load_attempts=2)
    await until(manager, lambda: manager.version("m", "1").state is VersionState.END)
    assert world.loads == ["good/1"]
    assert [key for key, *_ in world.probes].count("m/1") == 2
    with pytest.raises(ModelNotReadyError, match="signal 11, segmentation fault"):
        await manager.lease("m")


async def test_one_model_is_tried_while_another_is_loaded(world, managed):
    world.write("a/1")
    gate = world.gates["a/1"] = threading.Event()
    manager = await managed(settle=False)
    await until(manager, lambda: world.loads == ["a/1"])
    world.write("b/1")
    await until(manager, lambda: [key for key, *_ in world.probes] == ["a/1", "b/1"])
    gate.set()
    await until(manager, lambda: available(manager, "b") == ["1"])


async def test_what_no_further_attempt_can_cure_is_tried_once(world, managed):
    world.write("m/1")
    world.reports["m/1"] = RuntimeMissingError("pip install it")
    manager = await managed()
    assert manager.version("m", "1").state is VersionState.END
    assert len(world.probes) == 1


async def test_why_the_child_failed_comes_before_why_the_runtime_cannot_be_imported(world, managed, monkeypatch):
    def broken(_format, _options):
        raise ImportError("libtensorflow.so: no such file")

    monkeypatch.setattr(lifecycle, "prepare_runtime", broken)
    world.write("m/1")
    world.reports["m/1"] = RuntimeMissingError("pip install it")
    manager = await managed()
    assert manager.version("m", "1").error.message == "pip install it"


async def test_modules_of_the_model_are_not_imported_here_before_it_passed(world, managed, monkeypatch):
    prepared = []
    monkeypatch.setattr(lifecycle, "prepare_runtime", lambda _format, options: prepared.append(options.model_modules))
    world.write("m/1")
    world.configure("m", 'imports = ["own_layers"]')
    await managed()
    assert prepared == [()]
    assert world.probes[0][1].model_modules == world.options[0].model_modules == ("own_layers",)


async def test_a_crash_that_was_cured_is_cured_here_too(world, managed, caplog):
    world.write("m/1")
    world.write("good/1")
    world.reports["m/1"] = probe_report(crash="It crashed.")
    manager = await managed()
    remapping = dict(zip(world.loads, (options.remapping for options in world.options), strict=True))
    assert remapping == {"m/1": False, "good/1": True}
    assert described(manager)["disabledOptimizations"] == [{"name": "remapping", "reason": "It crashed."}]
    assert described(manager, "good")["disabledOptimizations"] == []
    assert any("served without an optimisation" in record.getMessage() for record in caplog.records)


async def test_what_passed_is_tried_again_only_when_something_changed(world, managed):
    folder = world.write("m/1")
    world.reports["m/1"] = probe_report(crash="It crashed.")
    manager = await managed()
    for _ in range(2):
        await manager.unload_model("m")
        await manager.load_model("m")
    assert (len(world.probes), len(world.loads)) == (1, 3)
    assert [options.remapping for options in world.options] == [False] * 3
    assert described(manager)["probeTimeMs"] == 0.0
    assert described(manager)["peakMemoryBytes"] == 200
    (folder / "constant").write_text("7")
    await until(manager, lambda: len(world.loads) == 4)
    assert len(world.probes) == 2
    world.configure("m", "batching.max_batch_size = 3")
    await until(manager, lambda: len(world.loads) == 5)
    assert [runs.max_batch_rows for _, _, runs in world.probes] == [32, 32, 3]


async def test_a_model_whose_measured_need_is_over_the_budget_is_not_loaded(world, managed):
    world.write("m/1")
    world.reports["m/1"] = probe_report(weights_bytes=5000, memory_bytes=9000)
    manager = await managed(memory_budget=8000)
    error = manager.version("m", "1").error
    assert isinstance(error, OutOfMemoryError)
    assert error.details == {"neededBytes": 9000, "usedBytes": 0, "budgetBytes": 8000}
    assert world.loads == []
    assert manager.version("m", "1").reserved_bytes == 0


async def test_the_measured_need_makes_room(world, managed):
    for name in ("a", "b"):
        world.write(f"{name}/1")
        world.reports[f"{name}/1"] = probe_report(memory_bytes=6000)
    world.weights_bytes = 6000
    manager = await managed(memory_budget=8000, loading="lazy")
    (await manager.lease("a")).release()
    (await manager.lease("b")).release()
    assert (available(manager, "a"), available(manager, "b")) == ([], ["1"])
    assert manager.version("a", "1").error is None


@pytest.mark.parametrize("memory_bytes", [6000, 10 * 2**30])
async def test_memory_counts_for_at_least_what_it_was_in_the_child(world, managed, memory_bytes):
    world.write("m/1")
    world.reports["m/1"] = probe_report(memory_bytes=memory_bytes)
    manager = await managed()
    assert described(manager)["memoryBytes"] == manager.version("m", "1").memory_bytes == memory_bytes


async def test_children_are_cleared_away_later(world, managed, monkeypatch):
    monkeypatch.setattr(FakeProber, "idle_s", -lifecycle._IDLE_MARGIN_S)
    cleared = asyncio.Event()
    monkeypatch.setattr(FakeProber, "end_idle", lambda _self: cleared.set())
    world.write("m/1")
    world.reports["m/1"] = ModelFailedError("No.")
    manager = await managed(load_attempts=1)
    assert manager.version("m", "1").failed
    await asyncio.wait_for(cleared.wait(), 20)


async def test_a_model_that_peaks_above_what_the_machine_has_free_is_not_loaded(world, managed, monkeypatch):
    monkeypatch.setattr(reservations, "available_memory_bytes", lambda: 5000)
    world.write("m/1")
    world.reports["m/1"] = probe_report(peak_bytes=5001)
    manager = await managed()
    assert manager.version("m", "1").error.details == {"neededBytes": 5001}
    assert world.loads == []


async def test_closing_ends_a_trial_at_once_and_counts_no_failure(world):
    world.write("m/1")
    world.probe_gates["m/1"] = threading.Event()
    manager = ModelManager(Settings(settle_s=0, poll_interval_s=0.02, warmup_iterations=0), repository=world.root)
    await manager.open()
    await until(manager, lambda: bool(world.probes))
    waiting = asyncio.create_task(manager.load_model("m"))
    await until(manager, lambda: manager.version("m", "1").asked_for)
    async with asyncio.timeout(20):
        await manager.close()
        with pytest.raises(ShuttingDownError):
            await waiting
    assert manager.version("m", "1").error is None
    assert manager.metrics.loads == {"succeeded": 0, "failed": 0}
    assert world.loads == []
    assert manager._lifecycle._prober.closed.is_set()


async def test_where_children_cannot_be_watched_models_are_loaded_at_once(world, managed, monkeypatch):
    monkeypatch.setattr(trials, "SUPPORTED", False)
    world.write("m/1")
    await managed()
    assert (world.probes, world.loads) == ([], ["m/1"])
