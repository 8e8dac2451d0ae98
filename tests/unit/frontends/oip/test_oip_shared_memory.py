"""The calls about shared memory: where there is none, and that what they ask is done in every process."""

from dataclasses import asdict

import pytest

from tensorhost.core.errors import NotFoundError
from tensorhost.frontends.oip.faults import UnsupportedError
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import Region, Regions
from tensorhost.settings import Settings
from tensorhost.telemetry.log_level import LogLevel

REGION = Region("r", "tensorhost_a", 8, 8)


class SeveralProcesses:
    """A group that notes what all its processes are to do."""

    def __init__(self, folder):
        self.state = ProcessState(Regions("tensorhost_", folder), LogLevel())
        self.told = []

    async def register_region(self, region):
        self.told.append(region)
        self.state.regions.register(region)

    async def unregister_region(self, name):
        self.told.append(name)
        self.state.regions.unregister(name)


async def refuse(memory, message):
    for ask in (memory.register(REGION), memory.unregister("r")):
        with pytest.raises(UnsupportedError, match=message):
            await ask
    with pytest.raises(UnsupportedError, match=message):
        memory.status()


async def test_it_is_off_unless_the_settings_have_it(tmp_path):
    memory = SharedMemory(Settings(), SeveralProcesses(tmp_path))
    await refuse(memory, "oip_shared_memory")
    with pytest.raises(UnsupportedError, match="oip_shared_memory"):
        memory.hold("r", 0, 1)


async def test_a_system_without_it_says_so(tmp_path):
    memory = SharedMemory(Settings(oip_shared_memory=True), SeveralProcesses(tmp_path / "none"))
    await refuse(memory, "no shared memory")


async def test_all_processes_are_told_and_this_one_answers(tmp_path):
    (tmp_path / REGION.key).write_bytes(bytes(16))
    group = SeveralProcesses(tmp_path)
    memory = SharedMemory(Settings(oip_shared_memory=True, workers=2), group)
    await memory.register(REGION)
    assert memory.status() == memory.status("r") == [asdict(REGION)]
    with pytest.raises(NotFoundError, match="Unable to find system shared memory region: 's'"):
        memory.status("s")
    part = memory.hold("r", 2, 4)
    assert (part.begin, part.byte_size) == (10, 4)
    part.release()
    await memory.unregister("r")
    assert memory.status() == []
    assert group.told == [REGION, "r"]
