"""Regions that clients register: what may be registered and held, and what their owners do to them meanwhile."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from tensorhost.core.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    OutOfMemoryError,
    OverloadedError,
    PermissionDeniedError,
)
from tensorhost.inference import regions as regions_module
from tensorhost.inference.regions import Region, Regions

KEY = "tensorhost_a"
ALL = bytes(range(64))


@pytest.fixture
def regions(tmp_path):
    made = Regions("tensorhost_", tmp_path)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path):
    file = tmp_path / KEY
    file.write_bytes(ALL)
    return file


def region(name="r", key=KEY, offset=0, byte_size=64):
    return Region(name, key, offset, byte_size)


def read(regions, name="r", offset=0, byte_size=64):
    part = regions.hold(name, offset, byte_size)
    try:
        into = bytearray(byte_size)
        part.read(memoryview(into), 0)
        return bytes(into)
    finally:
        part.release()


def write(regions, data, name="r", offset=0):
    part = regions.hold(name, offset, len(data))
    try:
        part.write(memoryview(data), 0)
    finally:
        part.release()


def open_files(folder):
    """How many descriptors of this process lead to files in ``folder``; others come and go."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += entry.readlink().is_relative_to(folder)
    return found


def test_a_part_is_read_and_written_and_nothing_else(regions, file):
    regions.register(region(key=f"/{KEY}", offset=16, byte_size=32))
    assert read(regions, byte_size=32) == ALL[16:48]
    assert read(regions, offset=4, byte_size=2) == bytes([20, 21])
    assert read(regions, offset=32, byte_size=0) == b""
    write(regions, b"\0\1\2\3\4\5\6\7", offset=24)
    write(regions, b"", offset=32)
    assert file.read_bytes() == ALL[:40] + bytes(range(8)) + ALL[48:]


def test_a_part_is_copied_in_pieces(regions, file):
    regions.register(region(offset=16, byte_size=32))
    part = regions.hold("r", 8, 16)
    into = bytearray(4)
    part.read(memoryview(into), 12)
    part.write(memoryview(b"ab"), 2)
    part.release()
    assert bytes(into) == ALL[36:40]
    assert file.read_bytes() == ALL[:26] + b"ab" + ALL[28:]


@pytest.mark.parametrize(
    ("offset", "size", "message"),
    [
        (0, 33, r"offset \+ byte size"),
        (32, 1, r"offset \+ byte size"),
        (1, 2**63 - 1, r"offset \+ byte size"),
        (33, 0, "offset for"),
        (2**63 - 1, 2**63 - 1, "offset for"),
    ],
)
def test_what_lies_outside_a_region_is_not_held(regions, file, offset, size, message):
    regions.register(region(offset=16, byte_size=32))
    with pytest.raises(InvalidRequestError, match=f"Invalid {message}"):
        regions.hold("r", offset, size)


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 65), (64, 1), (1, 64), (-1, 4), (0, 0), (0, -1), (2**63, 1), (2**63 - 1, 1), (1, 2**63 - 1), (2**70, 1)],
)
def test_what_lies_outside_the_memory_is_not_registered(regions, file, offset, size):
    before = open_files(file.parent)
    with pytest.raises(InvalidRequestError, match="failed to register shared memory region 'r': invalid args"):
        regions.register(region(offset=offset, byte_size=size))
    assert regions.registered() == []
    assert open_files(file.parent) == before


@pytest.mark.parametrize(
    "key",
    ["", "/", "..", "/..", "../tensorhost_a", "tensorhost_a/../x", "//tensorhost_a", "tensorhost_\0", ".tensorhost_",
     "tensorhost_" + "a" * 300, "tensorhost_a\n", "täglich", "tensorhost_ a"],
)  # fmt: skip
def test_a_key_is_a_name_and_no_path(regions, file, key):
    with pytest.raises(InvalidRequestError, match="key"):
        regions.register(region(key=key))


def test_only_keys_of_the_prefix_are_opened(regions, tmp_path):
    # What perf_analyzer makes of a tensor's name.
    (tmp_path / "_input:0_0_0").write_bytes(bytes(8))
    odd = region(key="/_input:0_0_0", byte_size=8)
    with pytest.raises(PermissionDeniedError, match=r"must begin with 'tensorhost_'.*oip_shared_memory_prefix"):
        regions.register(odd)
    anything = Regions("", tmp_path)
    anything.register(odd)
    assert read(anything, byte_size=8) == bytes(8)
    anything.close()


def test_links_pipes_and_folders_are_not_followed(regions, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    (tmp_path / "tensorhost_link").symlink_to(secret)
    (tmp_path / "tensorhost_other_name").hardlink_to(secret)
    os.mkfifo(tmp_path / "tensorhost_pipe")
    (tmp_path / "tensorhost_folder").mkdir()
    before = open_files(tmp_path)
    for key in ("tensorhost_link", "tensorhost_other_name", "tensorhost_pipe", "tensorhost_folder"):
        with pytest.raises(PermissionDeniedError):
            regions.register(region(key=key))
    with pytest.raises(NotFoundError, match="Unable to open shared memory region: 'tensorhost_none'"):
        regions.register(region(key="tensorhost_none"))
    assert open_files(tmp_path) == before


def test_an_owner_who_shortens_a_region_harms_nobody(regions, file):
    regions.register(region())
    os.truncate(file, 16)
    assert len(read(regions, byte_size=16)) == 16
    with pytest.raises(InvalidRequestError, match="Invalid offset"):
        read(regions)
    with pytest.raises(InvalidRequestError, match="Invalid offset"):
        write(regions, bytes(8), offset=32)
    assert file.stat().st_size == 16


def test_memory_that_there_is_no_more_of_is_said(regions, file, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    regions.register(region())
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutOfMemoryError, match="'r' cannot be written to"):
        write(regions, bytes(8))


def test_names_are_taken_once_and_given_back(regions, file):
    regions.register(region("b", byte_size=8))
    regions.register(region("a", offset=8, byte_size=8))  # the same memory by two names
    for again in (region("b", byte_size=8), region("b", byte_size=16), region("b", "tensorhost_none")):
        with pytest.raises(AlreadyExistsError, match="shared memory region 'b' already in manager"):
            regions.register(again)
    assert regions.registered() == [region("a", offset=8, byte_size=8), region("b", byte_size=8)]
    assert regions.find("b") == region("b", byte_size=8)
    assert len(regions.registered_files()) == 2
    regions.unregister("b")
    regions.unregister("b")
    with pytest.raises(NotFoundError, match="Unable to find system shared memory region: 'b'"):
        regions.find("b")
    with pytest.raises(NotFoundError, match="Unable to find shared memory region: 'b'"):
        regions.hold("b", 0, 1)
    regions.unregister("")
    assert regions.registered() == []


def test_a_name_that_is_registered_again_means_the_memory_that_is_there_then(regions, file, tmp_path):
    regions.register(region())
    file.unlink()
    file.write_bytes(bytes(64))
    regions.unregister("r")
    regions.register(region())
    assert read(regions) == bytes(64)


@pytest.mark.parametrize("forget", [lambda regions: regions.unregister("r"), lambda regions: regions.close()])
def test_what_is_held_stays_open_until_it_is_given_back(regions, file, forget):
    before = open_files(file.parent)
    regions.register(region())
    first, second = regions.hold("r", 0, 8), regions.hold("r", 8, 8)
    forget(regions)
    with pytest.raises(NotFoundError):
        regions.hold("r", 0, 8)
    regions.register(region(byte_size=8))  # under the same name, and another region all the same
    first.release()
    into = bytearray(8)
    second.read(memoryview(into), 0)
    assert bytes(into) == ALL[8:16]
    second.release()
    assert open_files(file.parent) == before + 1
    regions.unregister("r")
    assert open_files(file.parent) == before


def test_files_are_told_apart_whatever_their_regions_are_called(regions, file, tmp_path):
    (tmp_path / "tensorhost_b").write_bytes(ALL)
    regions.register(region("first"))
    regions.register(region("second", offset=16, byte_size=8))
    regions.register(region("other", "tensorhost_b"))
    first, second, other = (regions.hold(name, 4, 4) for name in ("first", "second", "other"))
    assert first.file == second.file != other.file
    assert (first.begin, second.begin, other.begin) == (4, 20, 4)
    for part in (first, second, other):
        part.release()


def test_no_file_stays_open(regions, file):
    before = open_files(file.parent)
    regions.register(region(byte_size=8))
    with pytest.raises(InvalidRequestError):
        regions.register(region("s", byte_size=65))
    regions.close()
    assert open_files(file.parent) == before


def test_what_another_process_opened_is_adopted(regions, file):
    regions.adopt(region(key="of-the-other", byte_size=8), os.open(file, os.O_RDWR))
    assert regions.registered() == [region(key="of-the-other", byte_size=8)]
    assert read(regions, byte_size=8) == ALL[:8]


def test_regions_and_their_names_have_limits(regions, file, monkeypatch):
    for name in ("", "x" * 257, "new\nline", "\ud800"):
        with pytest.raises(InvalidRequestError, match="1 to 256"):
            regions.register(region(name))
    monkeypatch.setattr(regions_module, "MOST_REGIONS", 1)
    regions.register(region("x" * 256))
    with pytest.raises(OverloadedError, match="the most"):
        regions.register(region("s"))


def test_a_process_with_too_many_files_is_overloaded_and_not_forbidden(regions, file, monkeypatch):
    def too_many(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", too_many)
    with pytest.raises(OverloadedError, match="Unable to open"):
        regions.register(region())


def test_a_system_without_shared_memory_has_none(tmp_path):
    assert Regions("", tmp_path).available()
    assert not Regions("", tmp_path / "none").available()
