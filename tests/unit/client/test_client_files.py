"""Files as values of a request: read where they stand, or one clear error before anything is sent."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from scripted_server import reply

from tensorhost.client import AsyncClient, InvalidRequestError, PayloadTooLargeError, encoding, files
from tensorhost.client.files import read_file


@pytest.fixture
def picture(tmp_path) -> Path:
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG\x00")
    return file


PNG = {"b64": base64.b64encode(b"\x89PNG\x00").decode()}


def test_a_path_is_its_bytes_wherever_it_stands(server, client, picture):
    server.otherwise = reply({"predictions": []})
    for inputs, sent in [
        ([picture], [PNG]),
        (picture, PNG),
        ({"image": [[picture], (picture,)]}, {"image": [[PNG], [PNG]]}),
        (np.array([picture, "text"], dtype=object), [PNG, "text"]),
    ]:
        client.predict("m", inputs)
        assert server.asked[-1].body["inputs"] == sent


def test_links_are_followed(tmp_path, picture):
    (tmp_path / "link").symlink_to(picture)
    assert read_file(tmp_path / "link") == picture.read_bytes()


def test_an_empty_file_is_no_bytes(tmp_path):
    (tmp_path / "empty").touch()
    assert read_file(tmp_path / "empty") == b""


@pytest.fixture(params=["missing", "folder", "pipe", "device", "nul", "loop", "long", "below a file"])
def hostile(request, tmp_path, picture) -> Path:
    path = {
        "device": Path("/dev/zero"),
        "nul": Path("a\0b"),
        "long": tmp_path / ("x" * 5000),
        "below a file": picture / "x",
    }.get(request.param, tmp_path / request.param)
    if request.param == "folder":
        path.mkdir()
    elif request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "loop":
        path.symlink_to(path)
    return path


def test_what_is_no_file_is_refused_and_nothing_is_sent(server, client, hostile):
    with pytest.raises(InvalidRequestError, match=r"cannot be read|is not a file") as caught:
        client.predict("m", [hostile])
    assert str(hostile) in caught.value.message
    assert (caught.value.details, caught.value.http_status) == ({"path": str(hostile)}, None)
    assert server.asked == []


def test_a_refused_file_is_not_left_open(hostile):
    def next_descriptor():
        descriptor = os.dup(0)
        os.close(descriptor)
        return descriptor

    before = next_descriptor()
    with pytest.raises(InvalidRequestError):
        read_file(hostile)
    assert next_descriptor() == before


def test_a_file_of_absurd_size_is_refused_unread(tmp_path):
    file = tmp_path / "huge"
    with file.open("wb") as opened:
        opened.truncate(files.MOST_FILE_BYTES + 1)
    with pytest.raises(PayloadTooLargeError, match="larger than"):
        read_file(file)


async def test_files_are_read_beside_the_event_loop(server, picture, monkeypatch):
    threads = []

    def read(path):
        threads.append(threading.current_thread())
        return read_file(path)

    monkeypatch.setattr(encoding, "read_file", read)
    server.otherwise = reply({"predictions": []})
    async with AsyncClient(server.url, signature_dtypes=False) as client:
        await client.predict("m", [picture])
        await client.predict("m", [[1.0]])
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    await asyncio.get_running_loop().shutdown_default_executor()
