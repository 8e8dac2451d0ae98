import struct
from collections import defaultdict

import pytest
from benchmarks.grpc_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    SETTINGS,
    UNASKED_BYTES,
    Outgoing,
    frame,
    request_headers,
    window_settings,
)
from hypothesis import given
from hypothesis import strategies as st

MESSAGE = bytes(range(256)) * 1024  # 256 KiB: four windows, sixteen frames
FRAME_BYTES = 16_384


def frames(pieces):
    """Kind, flags, stream and payload of each frame."""
    data, at, found = b"".join(pieces), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
        found.append((kind, flags, stream, data[at + HEAD_BYTES : at + HEAD_BYTES + size]))
        at += HEAD_BYTES + size
    assert at == len(data)
    return found


def sent(pieces):
    return sum(len(payload) for kind, _, _, payload in frames(pieces) if kind == DATA)


def setting(name, value):
    return struct.pack(">HI", name, value)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_536, 2**24 - 1])
def test_a_frame_says_its_length(size):
    assert frames([frame(SETTINGS, 1, 7, b"x" * size)]) == [(SETTINGS, 1, 7, b"x" * size)]


def test_headers_are_written_in_full_each_time():
    headers = request_headers("127.0.0.1", "/a.B/C")
    assert headers.startswith(b"\0\x07:method\x04POST")
    assert b"\0\x05:path\x06/a.B/C" in headers
    assert headers.endswith(b"\0\x0ccontent-type\x10application/grpc")


def test_a_small_call_goes_out_at_once():
    first, second = frames(Outgoing(b"head", b"body").begin(5))
    assert first == (HEADERS, END_HEADERS, 5, b"head")
    assert second == (DATA, END_STREAM, 5, b"body")


def test_a_large_message_waits_for_the_window_of_its_call_and_of_the_connection():
    outgoing = Outgoing(b"", MESSAGE)
    assert sent(outgoing.begin(1)) == UNASKED_BYTES
    assert outgoing.widen(1, len(MESSAGE)) == [], "the connection has no room"
    assert sent(outgoing.widen(0, 1000)) == 1000
    assert sent(outgoing.widen(0, len(MESSAGE))) == len(MESSAGE) - UNASKED_BYTES - 1000
    assert outgoing.widen(1, 10) == [], "nothing is left to send"


def test_room_on_the_connection_goes_to_every_call_that_waits():
    outgoing = Outgoing(b"", MESSAGE)
    outgoing.begin(1)
    assert sent(outgoing.begin(3)) == 0
    outgoing.widen(1, 500)
    streams = [stream for _, _, stream, _ in frames(outgoing.widen(0, len(MESSAGE)))]
    assert set(streams) == {1, 3}


def test_settings_change_the_size_of_frames_and_the_windows_of_calls_under_way():
    outgoing = Outgoing(b"", MESSAGE)
    outgoing.begin(1)
    assert outgoing.widen(0, len(MESSAGE)) == []
    more = outgoing.settle(setting(5, 32_768) + setting(3, 100) + window_settings(len(MESSAGE)))
    assert max(len(payload) for *_, payload in frames(more)) == 32_768
    assert sent(more) == len(MESSAGE) - UNASKED_BYTES


def test_a_window_may_shrink_below_what_was_sent():
    outgoing = Outgoing(b"", MESSAGE)
    outgoing.begin(1)
    outgoing.widen(0, len(MESSAGE))
    assert outgoing.settle(window_settings(1000)) == []
    assert outgoing.widen(1, UNASKED_BYTES - 1000) == []
    assert sent(outgoing.widen(1, 10)) == 10


def test_a_call_that_is_over_sends_no_more():
    outgoing = Outgoing(b"", MESSAGE)
    outgoing.begin(1)
    outgoing.forget(1)
    outgoing.forget(99)
    assert outgoing.widen(0, len(MESSAGE)) == []


@given(st.lists(st.tuples(st.sampled_from([0, 1, 3]), st.integers(1, 100_000)), max_size=40))
def test_whatever_room_comes_no_more_is_sent_and_every_message_arrives_whole(updates):
    outgoing = Outgoing(b"h", MESSAGE)
    rooms = defaultdict(lambda: UNASKED_BYTES)
    received, ended = defaultdict(bytes), set()

    def take(pieces):
        for kind, flags, stream, payload in frames(pieces):
            if kind == DATA:
                assert stream not in ended
                assert len(payload) <= FRAME_BYTES
                received[stream] += payload
                rooms[stream] -= len(payload)
                rooms[0] -= len(payload)
                ended.update({stream} if flags & END_STREAM else ())
        assert min(rooms.values(), default=0) >= 0

    take(outgoing.begin(1))
    take(outgoing.begin(3))
    for stream, size in updates:
        rooms[stream] += size
        take(outgoing.widen(stream, size))
    for stream in (0, 1, 3):
        rooms[stream] += 2 * len(MESSAGE)
        take(outgoing.widen(stream, 2 * len(MESSAGE)))
    assert received == {1: MESSAGE, 3: MESSAGE}
    assert ended == {1, 3}
