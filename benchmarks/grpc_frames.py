"""HTTP/2 frames as far as the load generator for gRPC needs them, and how much may be sent when. Pure.

A server gives windows, one for each call and one for the connection: so many bytes of data it takes in before it asks
for more. ``Outgoing`` keeps within them, so that a message may be of any size.
"""

from __future__ import annotations

import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UNASKED_BYTES = 65_535
"""Every window before anything is said about it (RFC 9113, 6.9.2)."""

HEAD_BYTES = 9
Pieces = list[bytes | memoryview]

_INITIAL_WINDOW, _MAX_FRAME = 4, 5
_SETTING_BYTES = 6
_HEAD = struct.Struct(">BHBBI")


def head(kind: int, flags: int, stream: int, size: int) -> bytes:
    """What stands before a frame's ``size`` bytes of payload."""
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return head(kind, flags, stream, len(payload)) + payload


def request_headers(host: str, path: str) -> bytes:
    """The headers of a call, of kinds that no table remembers, so that a request's bytes never change."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": host}
    fields |= {"te": "trailers", "content-type": "application/grpc"}
    return b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in fields.items()
    )


def window_settings(window_bytes: int) -> bytes:
    """The payload of SETTINGS that gives the other side so much for each call."""
    return struct.pack(">HI", _INITIAL_WINDOW, window_bytes)


class Outgoing:
    """The calls of one connection that are being sent, all with the same headers and message.

    Each method returns what may go out now, in pieces: large messages are not copied.
    """

    def __init__(self, headers: bytes, message: bytes) -> None:
        self._headers = headers
        self._whole = message
        self._message = memoryview(message)
        self._frame_bytes = 16_384
        self._call_room = UNASKED_BYTES
        self._room = UNASKED_BYTES
        self._unsent: dict[int, tuple[int, int]] = {}  # by stream: sent so far, room of its own window

    def begin(self, stream: int) -> Pieces:
        """A new call: its headers, and of its message what has room."""
        size = len(self._message)
        if size <= min(self._room, self._call_room, self._frame_bytes):
            self._room -= size
            return [frame(HEADERS, END_HEADERS, stream, self._headers) + frame(DATA, END_STREAM, stream, self._whole)]
        self._unsent[stream] = (0, self._call_room)
        return [frame(HEADERS, END_HEADERS, stream, self._headers), *self._send(stream)]

    def widen(self, stream: int, size: int) -> Pieces:
        """The server takes ``size`` bytes more: of one call, or of the connection where ``stream`` is 0."""
        if not stream:
            self._room += size
            return self._send_all()
        if stream not in self._unsent:
            return []
        sent, room = self._unsent[stream]
        self._unsent[stream] = (sent, room + size)
        return self._send(stream)

    def settle(self, settings: bytes) -> Pieces:
        """The server's SETTINGS: another size of frames, another window for each call, those under way included."""
        for at in range(0, len(settings), _SETTING_BYTES):
            name, value = struct.unpack_from(">HI", settings, at)
            if name == _MAX_FRAME:
                self._frame_bytes = value
            elif name == _INITIAL_WINDOW:
                more, self._call_room = value - self._call_room, value
                self._unsent = {stream: (sent, room + more) for stream, (sent, room) in self._unsent.items()}
        return self._send_all()

    def forget(self, stream: int) -> None:
        """The call is over, whether or not all of it was sent."""
        self._unsent.pop(stream, None)

    def _send_all(self) -> Pieces:
        return [piece for stream in list(self._unsent) for piece in self._send(stream)]

    def _send(self, stream: int) -> Pieces:
        sent, room = self._unsent[stream]
        end, out = len(self._message), Pieces()
        while sent < end and (size := min(end - sent, room, self._room, self._frame_bytes)) > 0:
            last = END_STREAM if sent + size == end else 0
            out += (head(DATA, last, stream, size), self._message[sent : sent + size])
            sent, room, self._room = sent + size, room - size, self._room - size
        if sent == end:
            del self._unsent[stream]
        else:
            self._unsent[stream] = (sent, room)
        return out
