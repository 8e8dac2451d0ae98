"""Memory for large bodies: where it lies, what it becomes, and that announcing a body takes none."""

from pathlib import Path

import numpy as np
import pytest

from tensorhost.core.tensors import aligned_bytes
from tensorhost.server.bodies import ReservedBody, first_tensor

KINDS = pytest.mark.parametrize("tensors_at", [None, 0, 131], ids=["text", "raw", "tensors"])


def address_of(octets):
    return np.frombuffer(octets, np.uint8).ctypes.data


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@KINDS
def test_a_body_that_comes_in_pieces_is_whole_and_was_never_moved(tensors_at):
    content = np.random.default_rng(0).bytes(100_000)
    body = ReservedBody(len(content), tensors_at)
    began = address_of(body.room)
    for start, end in ((0, 1), (1, 70_000), (70_000, 100_000)):
        room = body.room
        assert len(room) == len(content) - start
        room[: end - start] = content[start:end]
        body.fill(end - start)
        del room
    taken = body.take()
    assert taken == content
    assert address_of(taken) == began


def test_text_becomes_bytes_and_tensors_writable_memory():
    assert type(ReservedBody(3, None).take()) is bytes
    tensors = ReservedBody(3, 0).take()
    assert type(tensors) is memoryview
    assert not tensors.readonly


@pytest.mark.parametrize("at", [0, 1, 4, 63, 64, 65, 131, 999, 1000])
def test_the_byte_asked_for_lies_on_a_border(at):
    octets = aligned_bytes(1000, at)
    assert len(octets) == 1000
    assert (address_of(octets) + at) % 64 == 0
    assert (address_of(ReservedBody(1000, at).room) + at) % 64 == 0


@KINDS
def test_what_no_byte_has_come_for_takes_no_memory(tensors_at):
    before = resident_bytes()
    bodies = [ReservedBody(64 * 2**20, tensors_at) for _ in range(16)]
    for body in bodies:
        body.room[0] = 1
    assert resident_bytes() - before < 64 * 2**20


@KINDS
def test_a_body_may_be_dropped_while_the_event_loop_reads_to_it(tensors_at):
    body = ReservedBody(10, tensors_at)
    room = body.room
    del body
    room[:] = b"0123456789"
    assert bytes(room) == b"0123456789"


@pytest.mark.parametrize(
    ("headers", "at"),
    [
        ([(b"inference-header-content-length", b"131")], 131),
        ([(b"inference-header-content-length", b"0")], 0),
        ([(b"inference-header-content-length", b"99999")], 1000),
        ([(b"host", b"h")], None),
        ([(b"inference-header-content-length", b"")], None),
        ([(b"inference-header-content-length", b"-1")], None),
        ([(b"inference-header-content-length", b" 1")], None),
        ([(b"inference-header-content-length", b"\xb2")], None),
        ([(b"inference-header-content-length", b"9" * 5000)], None),
        ([(b"inference-header-content-length", b"131"), (b"content-encoding", b"gzip")], None),
    ],
)
def test_where_tensors_begin_is_read_from_the_head(headers, at):
    assert first_tensor(headers, 1000) == at
