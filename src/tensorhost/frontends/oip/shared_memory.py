"""System shared memory that clients have registered: tensors are read from it and written to it.

Regions are read and written as files and never mapped. A client that shortened its region under a mapping would end
this process with SIGBUS, and one that wrote to it meanwhile would change tensors that have been checked; a copy costs
the time of a memcpy. What must stay true: no key leads out of the folder of shared memory or around the prefix that the
settings demand; nothing outside the part that was registered is touched.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tensorhost.core.errors import InvalidRequestError, NotFoundError, OverloadedError, PermissionDeniedError
from tensorhost.core.tensors import Array
from tensorhost.frontends.oip.faults import UnsupportedError
from tensorhost.settings import Settings

_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux has what shm_open opens
_KEY = re.compile(r"/?([A-Za-z0-9][A-Za-z0-9._-]{0,254})", re.ASCII)
_LONGEST_NAME = 256
_LONGEST_SHOWN = 128
_MOST_REGIONS = 1024
"""Each holds a file open."""

_Bytes: TypeAlias = bytes | bytearray | memoryview | Array


@dataclass(frozen=True, slots=True)
class Region:
    """A registered part of shared memory, with the protocol's words: ``byte_size`` bytes from ``offset`` on."""

    name: str
    key: str
    offset: int
    byte_size: int


class SharedMemory:
    """The regions registered with this process. What it does takes no longer than a memcpy, and never waits.

    Args:
        settings: whether there is any, and how keys must begin.
        folder: where shared memory lies.
    """

    def __init__(self, settings: Settings, folder: Path = _FOLDER) -> None:
        self._is_on = settings.oip_shared_memory
        self._prefix = settings.oip_shared_memory_prefix
        self._folder = folder
        self._regions: dict[str, tuple[Region, int]] = {}

    def check_on(self) -> None:
        """Raise UnsupportedError unless the settings allow shared memory and this system has it."""
        if not self._is_on:
            raise UnsupportedError(
                "system shared memory is off on this server; the setting oip_shared_memory has it on"
            )
        if not self._folder.is_dir():
            raise UnsupportedError("this system has no shared memory that can be named")

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Make a part of shared memory known as ``name``; the same part again under the same name changes nothing.

        Args:
            name: for requests, up to 256 characters.
            key: as it was given to ``shm_open``.
            offset, byte_size: the part, in bytes.

        Raises:
            UnsupportedError: see ``check_on``.
            InvalidRequestError: the name is taken, or a field is not what it should be, or the part lies outside.
            PermissionDeniedError: the key does not begin as it must, or this process may not open it.
            NotFoundError: there is no such shared memory.
            OverloadedError: there are too many regions.
        """
        self.check_on()
        if not 0 < len(name) <= _LONGEST_NAME:
            raise InvalidRequestError(f"the name of a shared memory region has 1 to {_LONGEST_NAME} characters")
        region = Region(name, key, offset, byte_size)
        known = self._regions.get(name)
        if known is not None:
            if known[0] == region:
                return
            raise InvalidRequestError(f"shared memory region '{_shown(name)}' already in manager")
        if offset < 0 or byte_size <= 0:
            raise InvalidRequestError(
                f"shared memory region '{_shown(name)}' needs an offset of at least 0 and a byte_size above 0"
            )
        if len(self._regions) >= _MOST_REGIONS:
            raise OverloadedError(f"there are {_MOST_REGIONS} shared memory regions, the most that may be registered")
        file = self._open(key)
        try:
            _check_holds(file, region)
        except BaseException:
            os.close(file)
            raise
        self._regions[name] = region, file

    def unregister(self, name: str) -> None:
        """Forget a region; an unknown one is none to forget, as in Triton. An empty name means all."""
        self.check_on()
        for each in [name] if name else list(self._regions):
            known = self._regions.pop(each, None)
            if known is not None:
                os.close(known[1])

    def status(self, name: str = "") -> list[dict[str, str | int]]:
        """``name``, ``key``, ``offset`` and ``byte_size`` of one region, or of all by name.

        Raises NotFoundError for an unknown one, UnsupportedError as ``check_on``.
        """
        self.check_on()
        regions = [self._find(name)[0]] if name else [region for region, _ in self._regions.values()]
        return [asdict(region) for region in sorted(regions, key=lambda region: region.name)]

    def view(self, region: str, offset: int, byte_size: int) -> memoryview:
        """The bytes of an input: a copy, which is the caller's.

        Args:
            region: its name.
            offset, byte_size: which part of the region, in bytes. Check ``byte_size`` against shape and datatype
                first: so much memory is taken.

        Raises:
            NotFoundError: no such region.
            InvalidRequestError: the part lies outside of it, or its owner has made it shorter.
            UnsupportedError: see ``check_on``.
        """
        known, file = self._part(region, offset, byte_size)
        copied = np.empty(byte_size, np.uint8).data
        done = 0
        while done < byte_size:
            count = os.preadv(file, [copied[done:]], known.offset + offset + done)
            if count == 0:
                raise _outside(region)
            done += count
        return copied

    def write(self, region: str, offset: int, data: _Bytes) -> None:
        """Put the bytes of an output into a region; raises as ``view``. An array must be contiguous."""
        left = memoryview(data).cast("B") if not isinstance(data, np.ndarray) else _bytes_of(data)
        known, file = self._part(region, offset, len(left))
        _check_holds(file, known)
        at = known.offset + offset
        while left:
            count = os.pwrite(file, left, at)
            left, at = left[count:], at + count

    def close(self) -> None:
        """Forget all regions."""
        for _, file in self._regions.values():
            os.close(file)
        self._regions.clear()

    def _open(self, key: str) -> int:
        match = _KEY.fullmatch(key)
        if match is None:
            raise InvalidRequestError(
                "the key of shared memory has up to 255 letters, digits, '.', '_' and '-', after one '/' at most"
            )
        if not match[1].startswith(self._prefix):
            raise PermissionDeniedError(f"keys of shared memory must begin with '{self._prefix}' on this server")
        try:
            # O_NONBLOCK: a named pipe of that name would wait for its other end.
            file = os.open(self._folder / match[1], os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"Unable to open shared memory region: '{_shown(key)}'") from None
        except OSError as error:
            raise PermissionDeniedError(
                f"Unable to open shared memory region: '{_shown(key)}'", log_detail=str(error)
            ) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise PermissionDeniedError(f"Unable to open shared memory region: '{_shown(key)}'")
        return file

    def _find(self, name: str) -> tuple[Region, int]:
        known = self._regions.get(name)
        if known is None:
            raise NotFoundError(f"Unable to find shared memory region: '{_shown(name)}'")
        return known

    def _part(self, name: str, offset: int, byte_size: int) -> tuple[Region, int]:
        self.check_on()
        region, file = self._find(name)
        if offset < 0 or byte_size < 0 or offset + byte_size > region.byte_size:
            raise _outside(name)
        return region, file


def _check_holds(file: int, region: Region) -> None:
    """Raise unless the shared memory is as long as what was registered of it."""
    if os.fstat(file).st_size < region.offset + region.byte_size:
        raise _outside(region.name)


def _outside(name: str) -> InvalidRequestError:
    return InvalidRequestError(f"Invalid offset + byte size for shared memory region: '{_shown(name)}'")


def _bytes_of(array: Array) -> memoryview:
    # Dtypes that the buffer protocol does not know, such as bfloat16, are seen as bytes by numpy alone.
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _shown(text: str) -> str:
    return text[:_LONGEST_SHOWN]
