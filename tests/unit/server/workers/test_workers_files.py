"""Open files on their way to another process, which is this one here."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from tensorhost.core.errors import OverloadedError
from tensorhost.server.workers.files import file_sockets, receive_files, send_files

if sys.platform != "linux":  # where there is one worker only
    pytest.skip("there are no such sockets", allow_module_level=True)

_ENDS = 2
"""Descriptors of a pipe that lead to it."""


@pytest.fixture
def line():
    ours, theirs = file_sockets()
    yield ours, theirs
    ours.close()
    theirs.close()


def same_file(first, second):
    return os.path.samestat(os.fstat(first), os.fstat(second))


def times_open(file):
    """How many descriptors of this process lead to what ``file`` leads to."""
    wanted, found = os.fstat(file), 0
    for entry in Path("/proc/self/fd").iterdir():
        # Others come and go in the same process, that of the listing among them.
        with contextlib.suppress(OSError):
            found += os.path.samestat(wanted, os.fstat(int(entry.name)))
    return found


def test_what_is_received_is_the_very_file_whatever_its_name_means_then(line, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"sent")
    sent = os.open(path, os.O_RDWR)
    path.unlink()
    path.write_bytes(b"another")
    send_files(line[0], [sent])
    [received] = receive_files(line[1], 1)
    assert received != sent
    assert same_file(received, sent)
    assert not os.get_inheritable(received)
    os.close(sent)
    assert os.pread(received, 10, 0) == b"sent"
    os.close(received)


@pytest.mark.parametrize("count", [0, 1, 250, 251, 600])
def test_any_number_comes_in_order(line, count):
    pipes = [os.pipe() for _ in range(2)]
    sent = [pipes[number % 2][0] for number in range(count)]
    send_files(line[0], sent)
    received = receive_files(line[1], count)
    assert all(same_file(*pair) for pair in zip(received, sent, strict=True))
    for file in received:
        os.close(file)
    assert [times_open(reader) for reader, _ in pipes] == [_ENDS, _ENDS]
    for file in (*pipes[0], *pipes[1]):
        os.close(file)


def test_files_that_have_not_come_are_not_waited_for_and_none_stays_open(line):
    with pytest.raises(OverloadedError):
        receive_files(line[1], 1)
    pipe = os.pipe()
    send_files(line[0], pipe)
    with pytest.raises(OverloadedError):
        receive_files(line[1], 3)
    assert times_open(pipe[0]) == _ENDS
    for file in pipe:
        os.close(file)


def test_nobody_waits_for_a_reader_that_hangs(line):
    pipe = os.pipe()
    with pytest.raises(BlockingIOError):
        [send_files(line[0], pipe[:1]) for _ in range(10_000)]
    line[1].close()
    with pytest.raises(ConnectionError):
        send_files(line[0], pipe[:1])
    for file in pipe:
        os.close(file)
