"""Which tensors are read and written on the event loop, and which on a thread."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tensor_writing import encode_predict_request
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError
from tensorhost.frontends.http.exchange import OFF_LOOP_ELEMENTS
from tensorhost.frontends.tfserving.services.tensors import read_inputs, write_response
from tensorhost.frontends.unsent_memory import Claim, UnsentMemory

Request: Any = message_class("tensorhost.wire.PredictRequest")
Response: Any = message_class("tensorflow.serving.PredictResponse")
MANY = OFF_LOOP_ELEMENTS + 1
LIMIT = 2**27

FLOATS = np.ones(MANY, np.float32)
HALVES = np.ones(MANY, np.float16)
IDS = np.arange(MANY)
WORDS = np.full(MANY, b"w", object)


@pytest.fixture
def threads(monkeypatch):
    """The names of what was called on threads."""
    called = []
    to_thread = asyncio.to_thread

    async def noted(work, *args, **kwargs):
        called.append(work.__name__)
        return await to_thread(work, *args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    return called


async def read(limit: int = LIMIT, **arrays: Any) -> dict[str, Any]:
    data = encode_predict_request(b"", arrays)
    return await read_inputs(Request.FromString(data).inputs, len(data), limit, Claim(UnsentMemory(LIMIT)))


def claiming(elements: int, data_type: int = 1) -> tuple[Any, int]:
    """A small request whose one tensor states many elements."""
    request = Request()
    tensor = request.inputs["x"]
    tensor.dtype = data_type
    tensor.tensor_shape.append(
        message_class("tensorflow.TensorShapeProto")(dim=[{"size": elements}]).SerializeToString()
    )
    tensor.float_val.append(np.float32(2).tobytes())
    return request.inputs, request.ByteSize()


@pytest.mark.parametrize(
    ("array", "on_a_thread"), [(FLOATS, False), (IDS, True), (WORDS, True), (HALVES, True), (IDS[:-1], False)]
)
async def test_many_numbers_are_read_on_the_loop_where_they_lie_as_in_memory(threads, array, on_a_thread):
    found = await read(x=array, few=np.int64([1, 300]))
    assert found["x"].tolist() == array.tolist()
    assert found["few"].tolist() == [1, 300]
    assert bool(threads) is on_a_thread


async def test_one_slow_input_sends_all_to_a_thread(threads):
    found = await read(x=FLOATS, ids=IDS)
    assert found.keys() == {"x", "ids"}
    assert threads == ["_read"]


async def test_values_that_must_be_made_up_are_made_up_on_a_thread(threads):
    inputs, size = claiming(10 * MANY)
    assert (await read_inputs(inputs, size, LIMIT, Claim(UnsentMemory(LIMIT))))["x"].sum() == 20 * MANY
    assert threads == ["_read"]


@pytest.mark.parametrize("data_type", [1, 7])
async def test_requests_together_are_given_so_much_memory_that_they_did_not_send(data_type):
    memory = UnsentMemory(5 * MANY * (8 if data_type == 7 else 4))
    inputs, size = claiming(3 * MANY, data_type)
    sent = Request.FromString(encode_predict_request(b"", {"x": np.ones(9 * MANY, np.float32)}))
    with Claim(memory) as first, Claim(memory) as second:
        await read_inputs(inputs, size, LIMIT, first)
        with pytest.raises(PayloadTooLargeError, match="max_buffered_body_bytes"):
            await read_inputs(inputs, size, LIMIT, second)
        assert (await read_inputs(sent.inputs, sent.ByteSize(), LIMIT, second))["x"].size == 9 * MANY
    with Claim(memory) as third:
        assert (await read_inputs(inputs, size, LIMIT, third))["x"].size == 3 * MANY
    larger, size = claiming(20 * MANY, data_type)
    with Claim(memory) as alone:
        assert (await read_inputs(larger, size, LIMIT, alone))["x"].size == 20 * MANY


@pytest.mark.parametrize("limit", [1000, MANY])
async def test_the_limit_is_the_settings(limit, threads):
    inputs, size = claiming(limit + 1)
    with pytest.raises(PayloadTooLargeError, match=f"more than {limit} elements"):
        await read_inputs(inputs, size, limit, Claim(UnsentMemory(LIMIT)))


async def test_what_is_no_tensor_is_refused_beside_a_large_one(threads):
    request = Request.FromString(encode_predict_request(b"", {"a": IDS}))
    request.inputs["b"].dtype = 1
    request.inputs["b"].float_val.append(b"abc")
    with pytest.raises(InvalidRequestError, match="tensor parsing error: b"):
        await read_inputs(request.inputs, request.ByteSize(), LIMIT, Claim(UnsentMemory(LIMIT)))


async def test_a_large_tensor_without_a_shape_is_refused_on_the_loop(threads):
    request = Request.FromString(encode_predict_request(b"", {"a": FLOATS, "b": FLOATS}))
    request.inputs["b"].tensor_shape.append(b"\xff")
    with pytest.raises(InvalidRequestError, match="tensor parsing error: b"):
        await read_inputs(request.inputs, request.ByteSize(), LIMIT, Claim(UnsentMemory(LIMIT)))
    assert threads == []


@pytest.mark.parametrize(
    ("array", "as_content", "on_a_thread"),
    [
        (FLOATS, False, False),
        (IDS, False, True),
        (IDS, True, False),
        (WORDS, True, True),
        (IDS[:-1], False, False),
    ],
)
async def test_many_numbers_are_written_on_the_loop_where_they_are_only_copied(threads, array, as_content, on_a_thread):
    data = await write_response(b"", {"y": array}, as_content=as_content)
    assert [dim.size for dim in Response.FromString(data).outputs["y"].tensor_shape.dim] == [len(array)]
    assert threads == (["encode_predict_response"] if on_a_thread else [])
