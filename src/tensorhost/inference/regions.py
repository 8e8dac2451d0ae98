"""Regions of shared memory that clients have registered with this process: found by name, open as long as needed.

They are read and written as files and never mapped. A client that shortened its region under a mapping would end this
process with SIGBUS, which only a memfd can be sealed against, and one that wrote to it meanwhile would change tensors
that have been checked. What must stay true: no key leads out of the folder of shared memory or around the prefix that
the settings demand; nothing outside the part that was registered is touched; and a file stays open while a part of it
is held, whatever is unregistered meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from tensorhost.core.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    OutOfMemoryError,
    OverloadedError,
    PermissionDeniedError,
)

FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux has what shm_open opens
MOST_REGIONS = 1024
"""Each holds a file open."""

_KEY = re.compile(r"/?((?!\.)[!-.0-~]{1,255})", re.ASCII)
"""A name of printable characters that is no path and no hidden file: what ``shm_open`` takes, and a little less."""
LONGEST_NAME = 256
_LONGEST_SHOWN = 128
_LARGEST = 2**63 - 1
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Region:
    """A registered part of shared memory, with the protocol's words.

    Attributes:
        name: for requests, up to 256 characters.
        key: as it was given to ``shm_open``.
        offset, byte_size: the part, in bytes.
    """

    name: str
    key: str
    offset: int
    byte_size: int


class Regions:
    """The regions of this process. Nothing here takes longer than a system call.

    Args:
        prefix: how keys must begin.
        folder: where shared memory lies.
    """

    def __init__(self, prefix: str, folder: Path = FOLDER) -> None:
        self._prefix = prefix
        self._folder = folder
        self._open: dict[str, _OpenRegion] = {}

    def available(self) -> bool:
        """Whether this system has shared memory that can be named."""
        return self._folder.is_dir()

    def check(self, region: Region) -> None:
        """Raise what ``register`` would, as far as that can be told without opening anything."""
        if not 0 < len(region.name) <= LONGEST_NAME or not region.name.isprintable():
            raise InvalidRequestError(
                f"the name of a shared memory region has 1 to {LONGEST_NAME} printable characters"
            )
        if region.name in self._open:
            raise AlreadyExistsError(f"shared memory region '{_shown(region.name)}' already in manager")
        if region.offset < 0 or region.byte_size <= 0 or region.offset + region.byte_size > _LARGEST:
            raise _no_part(region, "needs an offset of at least 0 and a byte_size above 0")
        if len(self._open) >= MOST_REGIONS:
            raise OverloadedError(f"there are {MOST_REGIONS} shared memory regions, the most that may be registered")
        self._file_name(region.key)

    def register(self, region: Region) -> int:
        """Open a part of shared memory and make it known; the file's descriptor, which stays with this object.

        Raises:
            AlreadyExistsError: the name is taken, be it by the same part.
            InvalidRequestError: a field is not what it should be, or the part lies outside.
            PermissionDeniedError: the key does not begin as it must, or this process may not open it.
            NotFoundError: there is no such shared memory.
            OverloadedError: there are too many regions, or files open.
        """
        self.check(region)
        file = self._open_file(region.key)
        try:
            if os.fstat(file).st_size < region.offset + region.byte_size:
                raise _no_part(region, f"reaches beyond its {os.fstat(file).st_size} bytes")
        except BaseException:
            os.close(file)
            raise
        self.adopt(region, file)
        return file

    def adopt(self, region: Region, file: int) -> None:
        """Make a part known that ``register`` of another process has opened; the descriptor is this object's now."""
        self._open[region.name] = _OpenRegion(region, file)

    def unregister(self, name: str) -> None:
        """Forget a region; an unknown one is none to forget, as in Triton. An empty name means all."""
        for each in [name] if name else list(self._open):
            known = self._open.pop(each, None)
            if known is not None:
                known.let_go()

    def registered(self) -> list[Region]:
        """All of them, by name."""
        return [self._open[name].region for name in sorted(self._open)]

    def registered_files(self) -> list[int]:
        """The descriptors of all, in the order of ``registered``."""
        return [self._open[name].file for name in sorted(self._open)]

    def find(self, name: str) -> Region:
        """The region of this name. Raises NotFoundError."""
        known = self._open.get(name)
        if known is None:
            raise NotFoundError(f"Unable to find system shared memory region: '{_shown(name)}'")
        return known.region

    def hold(self, name: str, offset: int, byte_size: int) -> Part:
        """A part of a region, to be given back by its ``release``.

        Args:
            name: the region's.
            offset, byte_size: which part of the region, in bytes; not negative.

        Raises:
            NotFoundError: no such region.
            InvalidRequestError: the part lies outside of it.
        """
        known = self._open.get(name)
        if known is None:
            raise NotFoundError(f"Unable to find shared memory region: '{_shown(name)}'")
        if offset > known.region.byte_size:
            raise InvalidRequestError(f"Invalid offset for shared memory region: '{_shown(name)}'")
        if offset + byte_size > known.region.byte_size:
            raise _outside(name)
        return Part(known, offset, byte_size)

    def close(self) -> None:
        """Forget all regions."""
        self.unregister("")

    def _open_file(self, key: str) -> int:
        name = self._file_name(key)
        try:
            # O_NONBLOCK: a named pipe of that name would wait for its other end.
            file = os.open(self._folder / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(_unable_to_open(key)) from None
        except OSError as error:
            kind = OverloadedError if error.errno in _FULL else PermissionDeniedError
            raise kind(_unable_to_open(key), log_detail=str(error)) from error
        found = os.fstat(file)
        # With a hard link, a name with the prefix could be given to what another program has in the folder.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(file)
            raise PermissionDeniedError(_unable_to_open(key))
        return file

    def _file_name(self, key: str) -> str:
        match = _KEY.fullmatch(key)
        if match is None:
            raise InvalidRequestError(
                "the key of shared memory has up to 255 printable ASCII characters, of which '/' may be in front only"
            )
        if not match[1].startswith(self._prefix):
            raise PermissionDeniedError(
                f"keys of shared memory must begin with '{self._prefix}' on this server (oip_shared_memory_prefix)"
            )
        return match[1]


class Part:
    """A part of a region that is being used: what it holds may be copied, on any thread, until ``release``.

    Attributes:
        region: the name of the region.
        byte_size: of the part.
        begin: where the part begins in ``file``; neither says anything of the region that would be its name.
        file: tells the files of regions apart that are open now.
    """

    __slots__ = ("_open", "begin", "byte_size", "file", "region")

    def __init__(self, known: _OpenRegion, offset: int, byte_size: int) -> None:
        self._open = known
        self.region = known.region.name
        self.begin = known.region.offset + offset
        self.byte_size = byte_size
        self.file = known.identity
        known.holders += 1

    def release(self) -> None:
        """Give it back; once."""
        self._open.holders -= 1
        self._open.close_if_unused()

    def read(self, into: memoryview, offset: int) -> None:
        """Fill ``into`` with what lies in the part from ``offset`` on.

        Raises InvalidRequestError: the region's owner has made it shorter than it was registered.
        """
        at = self.begin + offset
        while into:
            count = os.preadv(self._open.file, [into], at)
            if count == 0:
                raise _outside(self.region)
            into, at = into[count:], at + count

    def write(self, data: memoryview, offset: int) -> None:
        """Put ``data``, bytes, into the part from ``offset`` on.

        Raises:
            InvalidRequestError: the region's owner has made it shorter than it was registered.
            OutOfMemoryError: the system has no memory left for it.
        """
        at = self.begin + offset
        if data and os.fstat(self._open.file).st_size < at + len(data):
            raise _outside(self.region)
        try:
            while data:
                count = os.pwrite(self._open.file, data, at)
                data, at = data[count:], at + count
        except OSError as error:
            # A region may be larger than what there is of memory; its pages are made when they are written first.
            raise OutOfMemoryError(
                f"shared memory region '{_shown(self.region)}' cannot be written to", log_detail=str(error)
            ) from error


class _OpenRegion:
    """A region and its file, which is closed once it is neither registered nor held."""

    __slots__ = ("file", "holders", "identity", "is_registered", "region")

    def __init__(self, region: Region, file: int) -> None:
        self.region = region
        self.file = file
        self.holders = 0
        self.is_registered = True
        found = os.fstat(file)
        self.identity = found.st_dev, found.st_ino

    def let_go(self) -> None:
        self.is_registered = False
        self.close_if_unused()

    def close_if_unused(self) -> None:
        if not self.is_registered and not self.holders:
            os.close(self.file)


def _no_part(region: Region, problem: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"failed to register shared memory region '{_shown(region.name)}': invalid args: it {problem}"
    )


def _outside(name: str) -> InvalidRequestError:
    return InvalidRequestError(f"Invalid offset + byte size for shared memory region: '{_shown(name)}'")


def _unable_to_open(key: str) -> str:
    return f"Unable to open shared memory region: '{_shown(key)}'"


def _shown(text: str) -> str:
    return text[:_LONGEST_SHOWN]
