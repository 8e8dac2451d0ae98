"""The system shared memory extension: what clients register, in every process of the server, and are told of it."""

from __future__ import annotations

from dataclasses import asdict

from tensorhost.frontends.oip.faults import UnsupportedError
from tensorhost.frontends.unsent_memory import UnsentMemory
from tensorhost.inference import Group
from tensorhost.inference.regions import Part, Region
from tensorhost.settings import Settings


class SharedMemory:
    """Registers regions, and lends parts of them.

    Args:
        settings: whether there is any, and limits.
        group: all processes of the server.

    Attributes:
        copied: memory of what was copied from regions, for all requests.
        max_text_bytes: most bytes of an input of texts, whose shape says nothing of their length.
    """

    def __init__(self, settings: Settings, group: Group) -> None:
        self._is_on = settings.oip_shared_memory
        self._group = group
        self._regions = group.state.regions
        self.copied = UnsentMemory(settings.max_buffered_body_bytes)
        self.max_text_bytes: int = settings.max_body_bytes

    async def register(self, region: Region) -> None:
        """Make a part of shared memory known to all processes.

        Raises UnsupportedError where there is none; otherwise as ``Regions.register``.
        """
        self._check_on()
        await self._group.register_region(region)

    async def unregister(self, name: str) -> None:
        """Forget a region, or all where the name is empty; one that is not there is forgotten already.

        Requests under way that use it go on to. Raises UnsupportedError where there is no shared memory.
        """
        self._check_on()
        await self._group.unregister_region(name)

    def status(self, name: str = "") -> list[dict[str, str | int]]:
        """``name``, ``key``, ``offset`` and ``byte_size`` of one region, or of all by name.

        Raises NotFoundError for an unknown one, UnsupportedError where there is no shared memory.
        """
        self._check_on()
        return [asdict(region) for region in ([self._regions.find(name)] if name else self._regions.registered())]

    def hold(self, region: str, offset: int, byte_size: int) -> Part:
        """``Regions.hold``; raises UnsupportedError where the settings have no shared memory."""
        if not self._is_on:
            raise _off()
        return self._regions.hold(region, offset, byte_size)

    def _check_on(self) -> None:
        if not self._is_on:
            raise _off()
        if not self._regions.available():
            raise UnsupportedError("this system has no shared memory that can be named")


def _off() -> UnsupportedError:
    return UnsupportedError("system shared memory is off on this server; the setting oip_shared_memory has it on")
