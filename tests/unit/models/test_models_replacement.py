"""One list of models in the place of another, over files that no framework executes."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from model_fakes import available, until

from tensorhost.core.errors import (
    InvalidRequestError,
    LabelNotReadyError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    ShuttingDownError,
    VersionNotFoundError,
)
from tensorhost.inference import InferenceEngine
from tensorhost.models.ended import EndedVersion
from tensorhost.models.listed import ListedModel
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.states import VersionState
from tensorhost.models.wishes import Action, Wish

ALL = VersionPolicy()
UNAVAILABLE = r"^Request to assign label to version {} of model m, which is not currently available for inference$"


@pytest.fixture
def listed(world):
    """Makes entries of lists; without ``at``, the base path is the folder of the model's name."""

    def entry(name, policy=None, labels=None, at=None):
        return ListedModel(name, world.root / (at or name), policy, labels or {})

    return entry


def serving(manager):
    return {name: versions for name in manager.models() if (versions := available(manager, name))}


async def answer(manager, name="m", version=None):
    result = await InferenceEngine(manager).predict(name, np.zeros(1, np.float32), version=version)
    return float(result.predictions[0])


async def waiting(call):
    """Let a call run as far as it comes by itself."""
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not call.done()


# -- a list from the start -----------------------------------------------------------------------------------------


async def test_a_list_is_served_and_what_lies_beside_it_is_not(world, managed, listed):
    world.write("m/1", 1)
    world.write("m/00002", 2)
    world.write("m/v3", 3)
    world.write("other/1", 4)
    world.write("unlisted/1", 5)
    manager = await managed(models=(listed("m"), listed("n", ALL, at="other")))
    assert serving(manager) == {"m": ["2"], "n": ["1"]}
    assert await answer(manager) == 2.0
    assert await answer(manager, "n") == 4.0
    with pytest.raises(ModelNotFoundError):
        await manager.lease("unlisted")


async def test_a_missing_or_empty_base_path_holds_up_nobody_and_is_said_once(world, managed, listed, caplog):
    world.write("good/1", 1)
    (world.root / "empty").mkdir()
    manager = await managed(models=(listed("missing"), listed("empty"), listed("good")))
    assert manager.settled
    assert serving(manager) == {"good": ["1"]}
    with pytest.raises(ModelNotReadyError, match="base path does not exist"):
        await manager.lease("missing")
    with pytest.raises(ModelNotReadyError, match="named by a whole number"):
        await manager.lease("empty")
    world.write("good/2", 2)
    await until(manager, lambda: serving(manager) == {"good": ["2"]})
    world.write("missing/7", 7)
    world.write("empty/8", 8)
    await until(manager, lambda: serving(manager) == {"good": ["2"], "missing": ["7"], "empty": ["8"]})
    said = [record for record in caplog.records if "model has a problem" in record.getMessage()]
    assert len(said) == 2


async def test_a_base_path_that_goes_away_leaves_what_serves_and_one_that_empties_does_not(world, managed, listed):
    world.write("m/1", 1)
    manager = await managed(models=(listed("m"),))
    (world.root / "m").rename(world.root / ".away")
    await until(manager, lambda: manager.model("m").problem != "")
    assert serving(manager) == {"m": ["1"]}
    (world.root / ".away").rename(world.root / "m")
    (world.root / "m" / "1").rename(world.root / ".trash")
    await until(manager, lambda: not serving(manager))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, ["3"]),
        (VersionPolicy(latest=2), ["3", "2"]),
        (ALL, ["3", "2", "1"]),
        (VersionPolicy(specific=frozenset({"1", "9"})), ["1"]),
        (VersionPolicy(specific=frozenset()), []),
    ],
)
async def test_policies(world, managed, listed, policy, expected):
    for version in ("1", "2", "003"):
        world.write(f"m/{version}")
    manager = await managed(models=(listed("m", policy),))
    assert available(manager, "m") == expected


async def test_a_list_has_the_first_word_and_model_toml_the_second(world, managed, listed):
    for key in ("m/1", "m/2", "n/1", "n/2", "o/1", "o/2"):
        world.write(key)
    for name in ("m", "n"):
        world.configure(name, 'version_policy = "all"\nversion_labels = { stable = "2", old = "1" }')
    models = (listed("m", VersionPolicy(latest=1), {"stable": "1"}), listed("n"), listed("o"))
    manager = await managed(models=models, version_policy="latest:2")
    assert manager.model("m").version_labels == {"stable": "1", "old": "1"}
    # Its own label "old" has version 1 loaded, as ever.
    assert serving(manager) == {"m": ["2", "1"], "n": ["2", "1"], "o": ["2", "1"]}
    assert await answer(manager, "m", "stable") == 0.0


async def test_a_label_of_a_list_has_nothing_loaded(world, managed, listed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    manager = await managed(models=(listed("m", labels={"stable": "1", "future": "3", "new": "2"}),))
    assert serving(manager) == {"m": ["2"]}
    assert await answer(manager, "m", "new") == 2.0
    with pytest.raises(ModelNotReadyError):
        await manager.lease("m", "stable")
    with pytest.raises(VersionNotFoundError):
        await manager.lease("m", "future")
    world.write("m/3", 3)
    await until(manager, lambda: serving(manager) == {"m": ["3"]})
    assert await answer(manager, "m", "future") == 3.0


async def test_labels_that_lead_nowhere_at_the_start_are_said(world, managed, listed, caplog):
    world.write("m/1", 1)
    await managed(models=(listed("m", labels={"stable": "1", "ghost": "9"}),))
    said = [record.getMessage() for record in caplog.records if "label" in record.getMessage()]
    assert len(said) == 1
    assert "ghost" in said[0]


async def test_retries_of_one_model_hold_up_no_other(world, managed, listed):
    world.failures["broken/1"] = ModelFailedError("It is broken.")
    world.write("broken/1")
    world.write("m/1", 1)
    manager = await managed(
        models=(listed("broken"), listed("m")), load_threads=1, load_retry_interval_s=3600, load_attempts=6
    )
    assert serving(manager) == {"m": ["1"]}
    assert manager.version("broken", "1").state is VersionState.NEW
    world.write("m/2", 2)
    await until(manager, lambda: serving(manager) == {"m": ["2"]})
    await manager.replace_models((listed("broken"),))
    assert serving(manager) == {}
    assert world.loads.count("broken/1") == 1


async def test_a_constant_wait_between_attempts(world, managed, listed):
    world.failures["m/1"] = ModelFailedError("It is broken.")
    world.write("m/1")
    manager = await managed(models=(listed("m"),), load_retry_interval_s=0, load_backoff_s=3600, load_attempts=4)
    await until(manager, lambda: manager.version("m", "1").state is VersionState.END)
    assert world.loads == ["m/1"] * 4


# -- another list --------------------------------------------------------------------------------------------------


async def test_the_whole_list_replaces_what_was_served(world, managed, listed):
    for key, constant in (("a/1", 1), ("b/1", 2), ("c/1", 3)):
        world.write(key, constant)
    manager = await managed()
    assert serving(manager) == {"a": ["1"], "b": ["1"], "c": ["1"]}
    await manager.replace_models((listed("b"), listed("new", at="c")))
    assert serving(manager) == {"b": ["1"], "new": ["1"]}
    assert world.loads.count("b/1") == 1, "what serves the same files goes on"
    await until(manager, lambda: sorted(manager.models()) == ["b", "new"])
    await manager.replace_models(())
    assert serving(manager) == {}
    await until(manager, lambda: not manager.models())
    assert all(runtime.closed for runtimes in world.runtimes.values() for runtime in runtimes)
    world.write("a/2", 9)
    await manager.replace_models((listed("a"),))
    assert serving(manager) == {"a": ["2"]}


async def test_it_returns_when_the_new_ones_serve_and_the_old_go_on_until_then(world, managed, listed):
    world.write("m/1", 1)
    world.write("next/2", 2)
    gate = world.gates["next/2"] = threading.Event()
    manager = await managed(models=(listed("m"),))
    call = asyncio.create_task(manager.replace_models((listed("m", at="next"),)))
    await until(manager, lambda: "next/2" in world.loads)
    await waiting(call)
    assert await answer(manager) == 1.0
    gate.set()
    await call
    assert await answer(manager) == 2.0
    await until(manager, lambda: world.runtimes["m/1"][0].closed)


async def test_files_that_have_just_been_copied_are_waited_for(world, managed, listed):
    manager = await managed(models=(), settle_s=0.2, poll_interval_s=0)
    world.write("m/1", 1)
    await manager.replace_models((listed("m"),))
    assert serving(manager) == {"m": ["1"]}


async def test_the_same_list_again_changes_nothing(world, managed, listed):
    world.write("m/1", 1)
    world.failures["broken/1"] = ModelFailedError("It is broken.")
    world.write("broken/1")
    models = (listed("m"), listed("broken"))
    manager = await managed(models=models, load_attempts=1)
    await manager.unload_model("m")
    loads = list(world.loads)
    await manager.replace_models(models)
    assert world.loads == loads
    assert serving(manager) == {}


async def test_what_is_new_in_a_list_counts_more_than_earlier_wishes(world, managed, listed):
    world.write("m/1", 1)
    manager = await managed()
    await manager.unload_model("m")
    await manager.replace_models((listed("m"),))
    assert serving(manager) == {"m": ["1"]}


async def test_failures_are_told_by_name_and_the_rest_serves(world, managed, listed):
    world.write("good/1", 1)
    world.failures["m/1"] = ModelFailedError("It is broken.")
    world.write("m/1")
    manager = await managed(models=())
    with pytest.raises(ModelFailedError) as failed:
        await manager.replace_models((listed("m"), listed("missing"), listed("good")))
    assert failed.value.message == (
        "2 servable(s) did not become available: {{name: m version: 1} due to error: It is broken., "
        "{name: missing} due to error: The model's base path does not exist or cannot be read., }"
    )
    assert serving(manager) == {"good": ["1"]}
    del world.failures["m/1"]
    await until(manager, lambda: serving(manager) == {"good": ["1"], "m": ["1"]})


async def test_a_list_that_cannot_be_served_changes_nothing(world, managed, listed):
    world.write("m/1", 1)
    manager = await managed(models=(listed("m"),))
    with pytest.raises(InvalidRequestError, match="multiple times"):
        await manager.replace_models((listed("n"), listed("n")))
    assert serving(manager) == {"m": ["1"]}
    world.write("m/2", 2)
    await until(manager, lambda: serving(manager) == {"m": ["2"]})


async def test_a_later_list_ends_the_waiting_for_an_earlier_one(world, managed, listed):
    world.write("slow/1", 1)
    world.write("m/1", 2)
    gate = world.gates["slow/1"] = threading.Event()
    manager = await managed(models=())
    first = asyncio.create_task(manager.replace_models((listed("slow"),)))
    await until(manager, lambda: "slow/1" in world.loads)
    await waiting(first)
    second = asyncio.create_task(manager.replace_models((listed("m"),)))
    await first
    gate.set()
    await second
    await until(manager, lambda: serving(manager) == {"m": ["1"]} and list(manager.models()) == ["m"])
    assert world.runtimes["slow/1"][0].closed


async def test_cancelling_ends_the_waiting_and_nothing_else(world, managed, listed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    gate = world.gates["m/2"] = threading.Event()
    first = listed("m", VersionPolicy(specific=frozenset({"1"})), {"stable": "1"})
    manager = await managed(models=(first,))
    call = asyncio.create_task(manager.replace_models((listed("m", labels={"stable": "2"}),)))
    await until(manager, lambda: "m/2" in world.loads)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await answer(manager, "m", "stable") == 1.0
    gate.set()
    await until(manager, lambda: serving(manager) == {"m": ["2"]})
    assert await answer(manager, "m", "stable") == 2.0


async def test_closing_answers_who_waits(world, managed, listed):
    world.write("m/1", 1)
    gate = world.gates["m/1"] = threading.Event()
    manager = await managed(models=())
    call = asyncio.create_task(manager.replace_models((listed("m"),)))
    await until(manager, lambda: "m/1" in world.loads)
    closing = asyncio.create_task(manager.close())
    with pytest.raises(ShuttingDownError):
        await call
    gate.set()
    await closing


async def test_a_model_loaded_by_path_stays_unless_the_list_has_its_name(world, managed, listed):
    world.write("a/1", 1)
    world.write("b/1", 2)
    manager = await managed(models=())
    await manager.load_model("mine", world.root / "a" / "1", "1")
    await manager.load_model("taken", world.root / "a" / "1", "1")
    await manager.replace_models((listed("taken", at="b"),))
    assert serving(manager) == {"mine": ["1"], "taken": ["1"]}
    assert await answer(manager, "mine") == 1.0
    assert await answer(manager, "taken") == 2.0
    await manager.replace_models(())
    assert serving(manager) == {"mine": ["1"]}


async def test_a_wish_passed_on(world, managed, listed):
    world.write("m/1", 1)
    manager = await managed()
    await manager.carry_out(Wish(Action.REPLACE, "", models=(listed("n", at="m"),)))
    assert serving(manager) == {"n": ["1"]}


async def test_a_lazy_model_is_not_waited_for(world, managed, listed):
    world.write("m/1", 1)
    manager = await managed(models=(), loading="lazy")
    await manager.replace_models((listed("m", labels={"stable": "1"}),))
    assert world.loads == []
    assert await answer(manager, "m", "stable") == 1.0


# -- labels --------------------------------------------------------------------------------------------------------


async def test_a_label_moves_with_the_list_and_at_no_moment_leads_nowhere(world, managed, listed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    manager = await managed(models=(listed("m", VersionPolicy(specific=frozenset({"1"})), {"stable": "1"}),))
    gate = world.gates["m/2"] = threading.Event()
    call = asyncio.create_task(manager.replace_models((listed("m", labels={"stable": "2", "new": "2"}),)))
    await until(manager, lambda: "m/2" in world.loads)
    await waiting(call)
    assert await answer(manager, "m", "stable") == 1.0
    gate.set()
    await call
    assert await answer(manager, "m", "stable") == 2.0
    assert await answer(manager, "m", "new") == 2.0
    await manager.replace_models((listed("m"),))
    assert manager.model("m").version_labels == {}


@pytest.mark.parametrize(
    ("labels", "may_wait", "refused"),
    [
        ({"stable": "1"}, False, "1"),  # on disk, but the policy leaves it out
        ({"stable": "9"}, False, "9"),  # not there
        ({"new": "9"}, True, None),  # an unused label may wait
        ({"stable": "9"}, True, "9"),  # one in use may not
        ({"stable": "2"}, False, None),
    ],
)
async def test_a_label_for_what_does_not_serve(world, managed, listed, labels, may_wait, refused):
    world.write("m/1", 1)
    world.write("m/2", 2)
    world.write("n/1", 3)
    before = (listed("m", labels={"stable": "2"}),)
    manager = await managed(models=before)
    after = (listed("m", VersionPolicy(latest=1), labels), listed("n"))
    if refused is None:
        await manager.replace_models(after, labels_may_wait=may_wait)
        assert manager.model("m").version_labels == labels
        assert serving(manager) == {"m": ["2"], "n": ["1"]}
        return
    with pytest.raises(LabelNotReadyError, match=UNAVAILABLE.format(refused)):
        await manager.replace_models(after, labels_may_wait=may_wait)
    assert serving(manager) == {"m": ["2"]}
    assert await answer(manager, "m", "stable") == 2.0


async def test_a_label_stays_where_it_was_while_its_new_version_fails(world, managed, listed):
    world.write("m/1", 1)
    world.failures["m/2"] = ModelFailedError("It is broken.")
    manager = await managed(models=(listed("m", labels={"stable": "1"}),), load_attempts=1)
    world.write("m/2", 2)
    moved = (listed("m", VersionPolicy(latest=1), {"stable": "2"}),)
    with pytest.raises(ModelFailedError, match="It is broken"):
        await manager.replace_models(moved)
    assert await answer(manager, "m", "stable") == 1.0
    with pytest.raises(LabelNotReadyError, match=UNAVAILABLE.format(2)):
        await manager.replace_models(moved)
    del world.failures["m/2"]
    await manager.load_model("m", version="2")
    assert await answer(manager, "m", "stable") == 2.0


async def test_labels_that_an_operator_moved_stay_unless_the_list_has_them(world, managed, listed):
    world.write("m/1", 1)
    world.write("m/2", 2)
    manager = await managed(models=(listed("m", ALL, {"stable": "1"}),))
    await manager.label_version("m", "stable", "2")
    await manager.label_version("m", "mine", "2")
    await manager.replace_models((listed("m", ALL, {"stable": "1"}),))
    assert await answer(manager, "m", "stable") == 2.0
    await manager.replace_models((listed("m", ALL, {"stable": "1", "other": "1"}),))
    assert manager.model("m").version_labels == {"stable": "1", "other": "1", "mine": "2"}


# -- what has gone -------------------------------------------------------------------------------------------------


async def test_what_has_gone_is_remembered_with_its_error_and_not_for_ever(world, managed, listed):
    world.failures["m/2"] = ModelFailedError("It is broken.")
    world.write("m/1", 1)
    world.write("m/2", 2)
    manager = await managed(models=(listed("m"),), load_attempts=1)
    assert manager.ended("m") == ()
    await manager.replace_models(())
    await until(manager, lambda: not manager.models())
    assert sorted(each.version for each in manager.ended("m")) == ["1", "2"]
    errors = {each.version: each.error for each in manager.ended("m")}
    assert errors["1"] is None
    assert errors["2"].message == "It is broken."
    for number in range(10, 30):
        folder = world.write(f"m/{number}")
        await manager.replace_models((listed("m", VersionPolicy(specific=frozenset({str(number)}))),))
        folder.rename(world.root / f".trash{number}")
    await manager.replace_models(())
    await until(manager, lambda: not manager.models())
    assert manager.ended("m")[-1] == EndedVersion("29")
    assert len(manager.ended("m")) == 8
    assert manager.ended("never") == ()
