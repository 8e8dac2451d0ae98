"""A manager that takes the place of another, and one that does what another was asked to."""

import asyncio
import contextlib

import pytest
from model_fakes import until

from tensorhost.core.errors import ModelNotFoundError, VersionNotFoundError
from tensorhost.models.states import VersionState
from tensorhost.models.wishes import Action, Wish

LOAD, UNLOAD = Action.LOAD, Action.UNLOAD


def available(manager):
    """Every version that serves."""
    return {
        str(record.id) for model in manager.models().values() for record in model.versions.values() if record.available
    }


async def test_earlier_wishes_are_taken_up_before_anything_is_loaded(world, managed):
    for version in ("m/1", "m/2", "n/1"):
        world.write(version)
    wishes = (Wish(UNLOAD, "n"), Wish(LOAD, "m", "1"), Wish(UNLOAD, "m", "2"))
    manager = await managed(wishes=wishes)
    assert world.loads == ["m/1"]
    assert available(manager) == {"m/1"}
    assert "unloaded" in str(manager._catalog.not_ready(manager.version("n", "1")))


async def test_what_cannot_be_had_any_more_does_not_keep_the_rest_from_it(world, managed):
    world.write("m/1")
    wishes = (Wish(LOAD, "gone"), Wish(LOAD, "away", "1", world.root / "away"), Wish(UNLOAD, "gone"), Wish(UNLOAD, "m"))
    manager = await managed(wishes=wishes)
    assert world.loads == []
    assert manager.settled


async def test_a_model_named_by_path_comes_back(world, managed, tmp_path):
    world.write("m/1")
    manager = await managed(wishes=(Wish(LOAD, "named", "7", world.root / "m" / "1"),))
    assert available(manager) == {"m/1", "named/7"}


async def test_a_call_passed_on_is_carried_out_and_the_disk_is_looked_at_first(world, managed):
    manager = await managed(poll_interval_s=0)
    world.write("m/1")
    await manager.carry_out(Wish(UNLOAD, "m"))
    assert manager.version("m", "1").state is VersionState.NEW
    await manager.carry_out(Wish(LOAD, "m"))
    assert available(manager) == {"m/1"}
    with pytest.raises(ModelNotFoundError):
        await manager.carry_out(Wish(UNLOAD, "none"))
    with pytest.raises(VersionNotFoundError):
        await manager.carry_out(Wish(UNLOAD, "m", "9"))


async def test_a_call_passed_on_at_the_start_comes_after_what_was_asked_before(world, managed):
    world.write("m/1")
    manager = await managed(settle=False, wishes=(Wish(LOAD, "m", "1"),))
    await manager.carry_out(Wish(UNLOAD, "m"))
    assert available(manager) == set()
    assert manager.model("m").stopped


class Turns:
    """Grants everything, and notes when."""

    def __init__(self):
        self.open, self.most, self.notes = 0, 0, []

    @contextlib.asynccontextmanager
    async def trial(self):
        self.notes.append("trial")
        yield

    @contextlib.asynccontextmanager
    async def turn(self):
        self.notes.append("turn")
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0)
        yield
        self.open -= 1


async def test_every_load_has_its_turn_and_gives_it_back(world, managed):
    for name in ("a/1", "b/1"):
        world.write(name)
    turns = Turns()
    manager = await managed(sharing=turns)
    assert available(manager) == {"a/1", "b/1"}
    assert sorted(turns.notes) == ["trial", "trial", "turn", "turn"]
    assert turns.open == 0


async def test_a_label_moved_earlier_has_its_version_loaded_and_a_bad_one_is_left_out(world, managed):
    for version in ("m/1", "m/2"):
        world.write(version)
    wishes = (
        Wish(Action.RELABEL, "m", "1", label="stable"),
        Wish(Action.RELABEL, "gone", "9", label="gone"),
        Wish(Action.RELABEL, "m", None, label="taken-back"),
    )
    manager = await managed(wishes=wishes)
    assert available(manager) == {"m/1", "m/2"}
    assert manager.model("m").version_labels == {"stable": "1"}


async def test_a_label_is_moved_when_another_process_was_asked_to(world, managed):
    world.write("m/1")
    manager = await managed(poll_interval_s=0)
    await manager.carry_out(Wish(Action.LABEL, "m", "1", label="stable"))
    assert manager.model("m").version_labels == {"stable": "1"}
    await manager.unload_model("m")
    await manager.carry_out(Wish(Action.RELABEL, "m", "1", label="other"))
    assert manager.model("m").version_labels == {"stable": "1", "other": "1"}


async def test_a_moved_label_outlasts_a_folder_that_is_away_for_a_while(world, managed):
    world.write("m/1")
    manager = await managed()
    await manager.label_version("m", "stable", "1")
    (world.root / "m").rename(world.root / ".away")
    await until(manager, lambda: "m" not in manager.models())
    (world.root / ".away").rename(world.root / "m")
    await until(manager, lambda: available(manager) == {"m/1"})
    assert manager.model("m").version_labels == {"stable": "1"}
