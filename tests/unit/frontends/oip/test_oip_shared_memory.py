"""Shared memory that clients register: what may be registered, read and written, and what owners do to it meanwhile."""

import os
from pathlib import Path

import numpy as np
import pytest
from ml_dtypes import bfloat16

from tensorhost.core.errors import InvalidRequestError, NotFoundError, OverloadedError, PermissionDeniedError
from tensorhost.frontends.oip import shared_memory
from tensorhost.frontends.oip.faults import UnsupportedError
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.settings import Settings

KEY = "tensorhost_a"


@pytest.fixture
def memory(tmp_path):
    memory = SharedMemory(Settings(oip_shared_memory=True), tmp_path)
    yield memory
    memory.close()


@pytest.fixture
def file(tmp_path):
    file = tmp_path / KEY
    file.write_bytes(bytes(range(64)))
    return file


def test_it_is_off_unless_the_settings_have_it(tmp_path, file):
    memory = SharedMemory(Settings(), tmp_path)
    for ask in (
        lambda: memory.register("r", KEY, 0, 8),
        lambda: memory.unregister("r"),
        memory.status,
        lambda: memory.view("r", 0, 1),
        lambda: memory.write("r", 0, b"x"),
    ):
        with pytest.raises(UnsupportedError, match="oip_shared_memory"):
            ask()


def test_a_system_without_it_says_so(tmp_path):
    with pytest.raises(UnsupportedError, match="no shared memory"):
        SharedMemory(Settings(oip_shared_memory=True), tmp_path / "none").status()


def test_a_part_is_read_and_written_and_nothing_else(memory, file):
    memory.register("r", f"/{KEY}", 16, 32)
    assert bytes(memory.view("r", 0, 32)) == bytes(range(16, 48))
    assert bytes(memory.view("r", 4, 2)) == bytes([20, 21])
    assert bytes(memory.view("r", 32, 0)) == b""
    memory.write("r", 24, np.arange(2, dtype=np.float32))
    expected = bytes(range(40)) + np.arange(2, dtype="<f4").tobytes() + bytes(range(48, 64))
    assert file.read_bytes() == expected


@pytest.mark.parametrize(
    "data",
    [
        b"\1\2\3\4",
        bytearray(b"\1\2\3\4"),
        memoryview(b"\1\2\3\4"),
        np.array([[0x0201, 0x0403]], np.uint16),
        np.array([0x0201, 0x0403], np.uint16).view(bfloat16),
        np.array([[1, 3], [2, 4]], np.uint8).T,
        np.array(0x04030201, np.uint32),
    ],
)
def test_whatever_has_bytes_is_written(memory, file, data):
    memory.register("r", KEY, 0, 64)
    memory.write("r", 8, data)
    assert file.read_bytes()[8:12] == b"\1\2\3\4"


def test_nothing_is_written_for_no_elements(memory, file):
    memory.register("r", KEY, 0, 64)
    memory.write("r", 64, np.empty((0, 3), np.float32))
    memory.write("r", 64, b"")
    assert file.read_bytes() == bytes(range(64))


@pytest.mark.parametrize(("offset", "size"), [(0, 33), (32, 1), (-1, 4), (0, -1), (2**70, 1), (0, 2**70)])
def test_what_lies_outside_a_region_is_refused(memory, file, offset, size):
    memory.register("r", KEY, 16, 32)
    with pytest.raises(InvalidRequestError, match="Invalid offset"):
        memory.view("r", offset, size)
    if 0 <= size < 100:
        with pytest.raises(InvalidRequestError, match="Invalid offset"):
            memory.write("r", offset, bytes(size))
    assert file.read_bytes() == bytes(range(64))


@pytest.mark.parametrize(("offset", "size"), [(0, 65), (64, 1), (1, 64), (-1, 4), (0, 0), (0, -1), (2**70, 1)])
def test_what_lies_outside_the_memory_is_not_registered(memory, file, offset, size):
    with pytest.raises(InvalidRequestError):
        memory.register("r", KEY, offset, size)
    assert memory.status() == []


@pytest.mark.parametrize(
    "key",
    ["", "/", "..", "/..", "../tensorhost_a", "tensorhost_a/../x", "//tensorhost_a", "tensorhost_\0", ".tensorhost_",
     "tensorhost_" + "a" * 300, "tensorhost_a\n", "täglich"],
)  # fmt: skip
def test_a_key_is_a_name_and_no_path(memory, file, key):
    with pytest.raises(InvalidRequestError, match="key"):
        memory.register("r", key, 0, 8)


def test_only_keys_of_the_prefix_are_opened(tmp_path, file):
    (tmp_path / "other").write_bytes(bytes(8))
    memory = SharedMemory(Settings(oip_shared_memory=True), tmp_path)
    with pytest.raises(PermissionDeniedError, match="must begin with 'tensorhost_'"):
        memory.register("r", "other", 0, 8)
    anything = SharedMemory(Settings(oip_shared_memory=True, oip_shared_memory_prefix=""), tmp_path)
    anything.register("r", "other", 0, 8)
    anything.close()


def test_links_pipes_and_folders_are_not_followed(memory, tmp_path, file):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    (tmp_path / "tensorhost_link").symlink_to(secret)
    os.mkfifo(tmp_path / "tensorhost_pipe")
    (tmp_path / "tensorhost_folder").mkdir()
    for key in ("tensorhost_link", "tensorhost_pipe", "tensorhost_folder"):
        with pytest.raises(PermissionDeniedError):
            memory.register("r", key, 0, 8)
    with pytest.raises(NotFoundError, match="Unable to open shared memory region: 'tensorhost_none'"):
        memory.register("r", "tensorhost_none", 0, 8)


def test_an_owner_who_shortens_a_region_harms_nobody(memory, file):
    memory.register("r", KEY, 0, 64)
    os.truncate(file, 16)
    assert len(memory.view("r", 0, 16)) == 16
    with pytest.raises(InvalidRequestError, match="Invalid offset"):
        memory.view("r", 0, 64)
    with pytest.raises(InvalidRequestError, match="Invalid offset"):
        memory.write("r", 32, bytes(8))
    assert file.stat().st_size == 16


def test_what_was_read_stays_what_it_was(memory, file):
    memory.register("r", KEY, 0, 64)
    before = memory.view("r", 0, 4)
    file.write_bytes(bytes(64))
    assert bytes(before) == bytes([0, 1, 2, 3])
    before[0] = 9  # the caller's own
    assert file.read_bytes() == bytes(64)


def test_names_are_taken_once_and_given_back(memory, file):
    memory.register("b", KEY, 0, 8)
    memory.register("a", KEY, 8, 8)
    memory.register("b", KEY, 0, 8)
    with pytest.raises(InvalidRequestError, match="shared memory region 'b' already in manager"):
        memory.register("b", KEY, 0, 16)
    assert memory.status() == [
        {"name": "a", "key": KEY, "offset": 8, "byte_size": 8},
        {"name": "b", "key": KEY, "offset": 0, "byte_size": 8},
    ]
    assert memory.status("b") == [{"name": "b", "key": KEY, "offset": 0, "byte_size": 8}]
    memory.unregister("b")
    memory.unregister("b")
    for ask in (lambda: memory.status("b"), lambda: memory.view("b", 0, 1), lambda: memory.write("b", 0, b"x")):
        with pytest.raises(NotFoundError, match="Unable to find shared memory region: 'b'"):
            ask()
    memory.unregister("")
    assert memory.status() == []


def test_no_file_stays_open(memory, file):
    before = len(list(Path("/proc/self/fd").iterdir()))
    memory.register("r", KEY, 0, 8)
    for bad in ((KEY, 0, 65), ("tensorhost_none", 0, 1)):
        with pytest.raises((InvalidRequestError, NotFoundError)):
            memory.register("s", *bad)
    memory.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_regions_and_their_names_have_limits(memory, file, monkeypatch):
    for name in ("", "x" * 257):
        with pytest.raises(InvalidRequestError, match="1 to 256"):
            memory.register(name, KEY, 0, 8)
    monkeypatch.setattr(shared_memory, "_MOST_REGIONS", 1)
    memory.register("r", KEY, 0, 8)
    with pytest.raises(OverloadedError, match="the most"):
        memory.register("s", KEY, 0, 8)


def test_several_workers_cannot_share_what_one_was_told():
    with pytest.raises(ValueError, match="workers = 1"):
        Settings(oip_shared_memory=True, workers=2)
