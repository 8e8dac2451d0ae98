"""Models that are added: once, whoever asks, and without a trace where they cannot be loaded."""

import asyncio
import threading

import pytest
from model_fakes import available, until

from tensorhost.core.errors import AlreadyLoadedError, InvalidRequestError, ModelFailedError, OutOfMemoryError
from tensorhost.inference import Alone
from tensorhost.models.states import VersionState
from tensorhost.models.wishes import Action, Wish


@pytest.fixture
async def elsewhere(world, tmp_path):
    """A folder with a version that is in no repository."""
    return world.write("away").rename(tmp_path / "a")


def is_loading(manager, name):
    model = manager.models().get(name)
    return model is not None and any(record.state is VersionState.LOADING for record in model.versions.values())


async def test_of_many_who_add_a_model_one_does(world, managed, elsewhere):
    manager = await managed()
    group, gate = Alone(manager), threading.Event()
    world.gates[f"{elsewhere.parent.name}/a"] = gate
    calls = [asyncio.create_task(group.add_model("m", elsewhere, "1")) for _ in range(5)]
    other = asyncio.create_task(group.add_model("n", elsewhere, "1"))
    await until(manager, lambda: {"m", "n"} == {name for name in manager.models() if is_loading(manager, name)})
    gate.set()
    outcomes = await asyncio.gather(*calls, other, return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome is None] == [None, None]
    assert [str(error) for error in outcomes if error is not None] == ["Model m is already loaded."] * 4
    assert len(world.loads) == 2
    with pytest.raises(AlreadyLoadedError):
        await manager.carry_out(Wish(Action.ADD, "m", "2", elsewhere))
    assert available(manager, "m") == ["1"]
    await group.unload_model("m")
    await group.add_model("m", elsewhere, "1")
    assert available(manager, "m") == ["1"]


async def test_those_who_waited_try_it_themselves_where_it_failed(world, managed, elsewhere):
    manager = await managed()
    group, key = Alone(manager), f"{elsewhere.parent.name}/a"
    world.gates[key] = gate = threading.Event()
    world.failures[key] = ModelFailedError("It is broken.")
    first = asyncio.create_task(group.add_model("m", elsewhere, "1"))
    second = asyncio.create_task(group.add_model("m", elsewhere, "1"))
    await until(manager, lambda: is_loading(manager, "m"))
    gate.set()
    with pytest.raises(ModelFailedError, match="It is broken"):
        await first
    del world.failures[key]
    await second
    assert available(manager, "m") == ["1"]


@pytest.mark.parametrize("failure", [OutOfMemoryError("No room."), ModelFailedError("It is broken.")])
async def test_what_could_not_be_added_is_not_tried_again(world, managed, elsewhere, failure):
    manager = await managed(load_attempts=3, load_retry_interval_s=0.0)
    key = f"{elsewhere.parent.name}/a"
    world.failures[key] = failure
    with pytest.raises(type(failure)):
        await Alone(manager).add_model("m", elsewhere, "1")
    tried = len(world.loads)
    del world.failures[key]
    manager._kick()
    assert (len(world.loads), available(manager, "m")) == (tried, [])
    assert not manager.models()["m"].wanted()
    # Whoever has made room asks again.
    await Alone(manager).add_model("m", elsewhere, "1")
    assert available(manager, "m") == ["1"]


async def test_a_load_goes_on_without_who_asked_and_is_not_tried_again_where_it_fails(
    world, managed, elsewhere, caplog
):
    manager = await managed(load_attempts=3)
    group, key = Alone(manager), f"{elsewhere.parent.name}/a"
    world.gates[key] = gate = threading.Event()
    world.failures[key] = ModelFailedError("It is broken.")
    gone = asyncio.create_task(group.add_model("m", elsewhere, "1"))
    await until(manager, lambda: is_loading(manager, "m"))
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    waiting = asyncio.create_task(group.add_model("m", elsewhere, "2"))
    await asyncio.sleep(0)
    assert "2" not in manager.models()["m"].versions
    gate.set()
    await until(manager, lambda: "2" in manager.models()["m"].versions)
    assert not manager.version("m", "1").busy
    with pytest.raises(ModelFailedError, match="It is broken"):
        await waiting
    assert (len(world.loads), manager.models()["m"].wanted()) == (2, set())
    assert "never retrieved" not in caplog.text


async def test_a_path_that_is_none_changes_nothing(world, managed, tmp_path):
    world.write("m/1")
    manager = await managed()
    with pytest.raises(InvalidRequestError):
        await Alone(manager).add_model("n", tmp_path / "none", None)
    assert "n" not in manager.models()
    assert manager.version("m", "1").state is VersionState.AVAILABLE
