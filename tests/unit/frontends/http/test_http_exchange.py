"""A request's body as it lies, and a reply in pieces, on our own server and on any other that speaks ASGI."""

import gzip

import pytest

from tensorhost.frontends.http.exchange import Exchange, Reply
from tensorhost.settings import Settings

TAIL = (memoryview(b"tensor" * 1000), b"more")
WHOLE = b"{}" + b"tensor" * 1000 + b"more"


class Wire:
    """What an exchange gets, and what it sends."""

    def __init__(self, *pieces, headers=(), extensions=(), **settings):
        self.pieces = list(pieces)
        self.sent = []
        scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
        if extensions:
            scope["extensions"] = {name: {} for name in extensions}
        self.exchange = Exchange(scope, self.receive, self.send, Settings(**settings))

    async def receive(self):
        return {"type": "http.request", "body": self.pieces.pop(0), "more_body": bool(self.pieces)}

    async def send(self, message):
        self.sent.append(message)


async def test_a_body_in_memory_is_bytes_to_whoever_does_not_ask_for_it_in_place():
    memory = memoryview(bytearray(b"abc"))
    assert await Wire(memory).exchange.body() == b"abc"
    assert type(await Wire(memory).exchange.body()) is bytes
    assert await Wire(memory).exchange.body(in_place=True) is memory
    assert type(await Wire(b"ab", b"c").exchange.body(in_place=True)) is bytes


async def test_a_compressed_body_in_memory_is_decompressed():
    packed = memoryview(bytearray(gzip.compress(b"abc")))
    wire = Wire(packed, headers=[(b"content-encoding", b"gzip")])
    assert await wire.exchange.body(in_place=True) == b"abc"


async def test_our_own_server_gets_a_reply_in_pieces_as_they_are():
    wire = Wire(extensions=["tensorhost.whole_response"])
    await wire.exchange.send(Reply(b"{}", tail=TAIL))
    [message] = wire.sent
    assert message["pieces"] == (b"{}", *TAIL)
    assert all(sent is piece for sent, piece in zip(message["pieces"][1:], TAIL, strict=True))
    assert (b"content-length", b"%d" % len(WHOLE)) in message["headers"]
    assert "body" not in message


async def test_another_server_gets_bytes():
    wire = Wire()
    await wire.exchange.send(Reply(b"{}", tail=TAIL))
    start, body = wire.sent
    assert (b"content-length", b"%d" % len(WHOLE)) in start["headers"]
    assert body == {"type": "http.response.body", "body": WHOLE}
    assert type(body["body"]) is bytes


@pytest.mark.parametrize("extensions", [[], ["tensorhost.whole_response"]])
async def test_a_reply_in_pieces_is_compressed_as_one(extensions):
    wire = Wire(headers=[(b"accept-encoding", b"gzip")], extensions=extensions, compress_min_bytes=100)
    await wire.exchange.send(Reply(b"{}", tail=TAIL))
    body = wire.sent[-1]["body"]
    assert gzip.decompress(body) == WHOLE
    assert (b"content-length", b"%d" % len(body)) in wire.sent[0]["headers"]


def test_the_size_of_a_reply_is_that_of_all_its_pieces():
    assert Reply(b"{}", tail=TAIL).size == len(WHOLE)
