"""Tensors of requests in shared memory: sizes that agree and those that do not, what is held, and for how long."""

import asyncio
import math
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.codecs.oip import InferRequest, InputTensor, OutputTensor, RequestedOutput
from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidInputShapeError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
)
from tensorhost.frontends.oip import copies
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.frontends.oip.shared_tensors import SharedPart, SharedTensors
from tensorhost.inference import Alone
from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import Part, Region, Regions
from tensorhost.settings import Settings
from tensorhost.telemetry.log_level import LogLevel

f32 = np.float32
PREFIX = "shared-"
KEY = f"{PREFIX}a"


class Desk:
    """A region of 64 bytes, the first of which hold the row [1, 2], in front of the bench."""

    def __init__(self, folder, **settings):
        self.bench = EngineBench(oip_shared_memory=True, **settings)
        self.file = folder / KEY
        self.file.write_bytes(f32([1, 2]).tobytes() + bytes(56))
        self.regions = Regions(PREFIX, folder)
        self.regions.register(Region("r", KEY, 0, 64))
        group = Alone(self.bench.manager, state=ProcessState(self.regions, LogLevel()))
        self.memory = SharedMemory(self.bench.manager.settings, group)
        self.inference = Inference(self.bench.engine, self.memory)

    def infer(self, *, size=8, offset=0, region="r", shape=(1, 2), outputs=()):
        where = {"shared_memory_region": region, "shared_memory_byte_size": size, "shared_memory_offset": offset}
        request = InferRequest(inputs=[InputTensor("x", "FP32", shape, where)], outputs=list(outputs))
        return self.inference.infer(request, "m", None)

    async def ask(self, **fields):
        try:
            return (await self.infer(**fields)).outputs
        finally:
            self.bench.check_idle()


@pytest.fixture
async def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.regions.close()


class Shelf:
    """A region ``r`` of 64 bytes, and ``again``, the last 32 of them; without a model."""

    def __init__(self, folder, **settings):
        self.file = folder / KEY
        self.file.write_bytes(bytes(range(64)))
        self.regions = Regions(PREFIX, folder)
        self.regions.register(Region("r", KEY, 0, 64))
        self.regions.register(Region("again", f"/{KEY}", 32, 32))
        group = SimpleNamespace(state=ProcessState(self.regions, LogLevel()))
        self.memory = SharedMemory(Settings(oip_shared_memory=True, **settings), group)

    def tensors(self, deadline=math.inf, **wanted):
        return SharedTensors(self.memory, "m", {name: SharedPart(*part) for name, part in wanted.items()}, deadline)

    async def write(self, arrays, **wanted):
        with self.tensors(**wanted) as shared:
            await shared.read_inputs([], max_elements=100)
            return await shared.write_outputs([OutputTensor(name, array) for name, array in arrays.items()])

    def open_files(self):
        links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return links.count(self.file)


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path)
    yield made
    made.regions.close()


def lying(size, region="r", offset=0, datatype="UINT8", shape=None):
    """An input of ``size`` bytes in shared memory."""
    where = {"shared_memory_region": region, "shared_memory_byte_size": size, "shared_memory_offset": offset}
    return InputTensor("x", datatype, (size,) if shape is None else shape, where)


def wanted(size, offset=32, **more):
    where = {"shared_memory_region": "r", "shared_memory_byte_size": size, "shared_memory_offset": offset}
    return RequestedOutput("y", where | more)


# -- requests ------------------------------------------------------------------------------------------------------


async def test_inputs_are_read_there(desk):
    [output] = await desk.ask()
    assert output.array.tolist() == [[2, 4]]


async def test_outputs_are_written_there(desk):
    [output] = await desk.ask(outputs=[wanted(16)])
    assert (output.array, output.datatype, output.shape) == (None, "FP32", (1, 2))
    assert desk.file.read_bytes()[32:] == f32([2, 4]).tobytes() + bytes(24)


async def test_an_output_may_go_where_an_input_lies(desk):
    for _ in range(2):
        await desk.ask(outputs=[wanted(8, 0)])
    assert desk.file.read_bytes()[:8] == f32([4, 8]).tobytes()


async def test_no_rows_take_no_bytes(desk):
    [output] = await desk.ask(shape=(0, 2), size=0, offset=64, outputs=[wanted(0, 64)])
    assert (output.array, output.datatype, output.shape) == (None, "FP32", (0, 2))


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        (InvalidInputShapeError, {"size": 4}, "'x' for model 'm'. Expected 8, got 4"),
        (InvalidInputShapeError, {"size": 2**62}, "Expected 8, got"),
        (InvalidRequestError, {"offset": 60}, "Invalid offset"),
        (InvalidRequestError, {"offset": 2**63 - 1}, "Invalid offset"),
        (InvalidRequestError, {"offset": 2**63}, "'shared_memory_offset' must be a number of bytes"),
        (InvalidRequestError, {"offset": -1}, "'shared_memory_offset' must be a number of bytes"),
        (NotFoundError, {"region": "nope"}, "Unable to find shared memory region: 'nope'"),
        (InvalidRequestError, {"outputs": [wanted(16, 60)]}, "Invalid offset"),
        (InvalidRequestError, {"outputs": [wanted(2**63 - 1)]}, "Invalid offset"),
        (
            InvalidRequestError,
            {"outputs": [wanted(16, classification=1)]},
            "Output can't set both 'shared_memory_region' and 'classification'",
        ),
        (
            InvalidRequestError,
            {"outputs": [wanted(16, binary_data=True)]},
            "Output can't set both 'shared_memory_region' and 'binary_data'",
        ),
    ],
)
async def test_what_cannot_be_is_refused_before_the_model_is_asked(desk, kind, asked, message):
    before = desk.file.read_bytes()
    with pytest.raises(kind, match=message):
        await desk.ask(**asked)
    assert desk.bench.runtime.calls == 0
    assert desk.file.read_bytes() == before


async def test_an_output_that_does_not_fit_is_written_nowhere(desk):
    before = desk.file.read_bytes()
    with pytest.raises(InvalidRequestError, match="output 'y' \\(4 bytes of 'r'\\) should be at least 8"):
        await desk.ask(outputs=[wanted(4)])
    assert desk.file.read_bytes() == before


@pytest.mark.looptime
@pytest.mark.parametrize("client_leaves", [False, True])
async def test_a_request_that_waits_keeps_its_regions_and_one_that_has_left_writes_nothing(tmp_path, client_leaves):
    desk = Desk(tmp_path, batch_timeout_s=2.0)
    before = desk.file.read_bytes()
    asked = asyncio.ensure_future(desk.infer(outputs=[wanted(8)]))
    await asyncio.sleep(1)
    desk.regions.unregister("")
    if client_leaves:
        asked.cancel()
    await asyncio.wait([asked])
    desk.bench.check_idle()
    assert asked.cancelled() is client_leaves
    assert desk.file.read_bytes()[32:40] == (before[32:40] if client_leaves else f32([2, 4]).tobytes())


# -- inputs --------------------------------------------------------------------------------------------------------


async def test_what_was_read_stays_what_it_was(shelf):
    tensor = lying(4)
    with shelf.tensors() as shared:
        await shared.read_inputs([tensor], max_elements=4)
    shelf.file.write_bytes(bytes(64))
    array = tensor.decode(max_elements=4)
    assert array.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("datatype", "shape", "size"), [("FP32", (2, 3), 24), ("BYTES", (1,), 33)])
async def test_nothing_is_copied_that_no_request_may_bring(tmp_path, datatype, shape, size):
    shelf = Shelf(tmp_path, max_body_bytes=32)
    with pytest.raises(PayloadTooLargeError, match="Input 'x' has"), shelf.tensors() as shared:
        await shared.read_inputs([lying(size, datatype=datatype, shape=shape)], max_elements=5)
    assert shelf.memory.copied.take(10**9)  # nothing had been taken
    shelf.regions.close()


async def test_requests_together_copy_so_much_at_a_time(tmp_path):
    shelf = Shelf(tmp_path, max_buffered_body_bytes=40)

    async def ask(shared, size):
        await shared.read_inputs([lying(size)], max_elements=64)

    with shelf.tensors() as first, shelf.tensors() as second:
        await ask(first, 24)
        with pytest.raises(OverloadedError, match="max_buffered_body_bytes"):
            await ask(second, 24)
    with shelf.tensors() as alone, shelf.tensors(y=("r", 0, 4)) as writes:
        await ask(alone, 64)
        await writes.read_inputs([], max_elements=64)  # what takes nothing is not refused
        await writes.write_outputs([OutputTensor("y", np.zeros(4, np.uint8))])
    with shelf.tensors() as third:
        await ask(third, 24)
    shelf.regions.close()


# -- outputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0x0201, 0x0403]], np.uint16),
        np.array([0x0201, 0x0403], np.uint16).view(ml_dtypes.bfloat16),
        np.array([[1, 3], [2, 4]], np.uint8).T,
        np.array(0x04030201, np.uint32),
    ],
)
async def test_whatever_has_bytes_is_written(shelf, array):
    await shelf.write({"y": array}, y=("r", 8, 4))
    assert shelf.file.read_bytes() == bytes(range(8)) + b"\1\2\3\4" + bytes(range(12, 64))


async def test_texts_are_written_with_their_lengths_and_must_fit(shelf):
    texts = np.array([b"ab", b""], object)
    [output] = await shelf.write({"y": texts}, y=("r", 8, 10))
    assert (output.array, output.datatype, output.shape) == (None, "BYTES", (2,))
    assert shelf.file.read_bytes()[8:18] == b"\2\0\0\0ab\0\0\0\0"
    before = shelf.file.read_bytes()
    with pytest.raises(InvalidRequestError, match="should be at least 10 bytes"):
        await shelf.write({"x": np.zeros(4, np.uint8), "y": texts}, x=("r", 0, 4), y=("r", 8, 9))
    assert shelf.file.read_bytes() == before


async def test_many_texts_are_put_together_on_a_thread(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.file.write_bytes(bytes(2**16))
    shelf.regions.register(Region("large", KEY, 0, 2**16))
    await shelf.write({"y": np.array([b"a"] * 5000, object)}, y=("large", 0, 2**16))
    assert shelf.file.read_bytes().rstrip(b"\0") == b"\1\0\0\0a" * 5000
    shelf.regions.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("r", 0, 8), ("r", 7, 8)),
        (("r", 0, 8), ("r", 0, 8)),
        (("again", 0, 8), ("r", 36, 8)),
        (("r", 30, 8), ("again", 0, 8)),
    ],
)
async def test_outputs_may_not_lie_over_each_other(shelf, first, second):
    before = shelf.file.read_bytes()
    ones = np.ones(8, np.uint8)
    with pytest.raises(InvalidRequestError, match=r"outputs '.' and '.' would be written to the same bytes"):
        await shelf.write({"a": ones, "b": ones}, a=first, b=second)
    assert shelf.file.read_bytes() == before


async def test_parts_may_overlap_where_what_is_written_does_not(shelf):
    ones = np.ones(8, np.uint8)
    arrays = {"a": ones, "b": ones * 2, "none": ones[:0], "here": ones * 3}
    outputs = await shelf.write(arrays, a=("r", 0, 64), b=("r", 8, 8), none=("r", 4, 8))
    assert [output.name for output in outputs] == list(arrays)
    assert [output.array is None for output in outputs] == [True, True, True, False]
    assert shelf.file.read_bytes() == b"\1" * 8 + b"\2" * 8 + bytes(range(16, 64))


async def test_a_region_that_became_shorter_is_not_written_to(shelf):
    os.truncate(shelf.file, 4)
    with pytest.raises(InvalidRequestError, match="Invalid offset"):
        await shelf.write({"y": np.ones(8, np.uint8)}, y=("r", 0, 8))
    assert shelf.file.read_bytes() == bytes(range(4))


# -- what ends meanwhile -------------------------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch):
    """Every copy is made on a thread, which waits for the gate first."""
    monkeypatch.setattr(copies, "OFF_LOOP_BYTES", 0)
    monkeypatch.setattr(copies, "_PIECE_BYTES", 8)
    opened, reached = threading.Event(), threading.Event()

    def gated(copy):
        def wait(self, data, offset):
            reached.set()
            assert opened.wait(30)
            copy(self, data, offset)

        return wait

    for name in ("read", "write"):
        monkeypatch.setattr(Part, name, gated(getattr(Part, name)))
    opened.reached = reached
    return opened


async def threads_have_ended():
    """Return when no thread copies, and what follows from that has been done."""
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_what_is_unregistered_during_a_copy_is_copied_and_then_closed(shelf, gate):
    tensor = lying(16, offset=8)
    with shelf.tensors(y=("r", 0, 8)) as shared:
        reading = asyncio.ensure_future(shared.read_inputs([tensor], max_elements=16))
        await asyncio.to_thread(gate.reached.wait, 30)
        shelf.regions.unregister("")
        with pytest.raises(NotFoundError):
            shelf.memory.hold("r", 0, 1)
        gate.set()
        await reading
        await shared.write_outputs([OutputTensor("y", np.zeros(8, np.uint8))])
    assert tensor.decode(max_elements=16).tolist() == list(range(8, 24))
    assert shelf.file.read_bytes() == bytes(8) + bytes(range(8, 64))
    assert shelf.open_files() == 0


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_memory_and_files_are_held_until_no_thread_uses_them(tmp_path, gate, how):
    shelf = Shelf(tmp_path, max_buffered_body_bytes=64)
    deadline = math.inf if how == "cancelled" else asyncio.get_running_loop().time()

    async def ask():
        with shelf.tensors(deadline) as shared:
            await shared.read_inputs([lying(64)], max_elements=64)

    asked = asyncio.ensure_future(ask())
    await asyncio.to_thread(gate.reached.wait, 30)
    if how == "cancelled":
        asked.cancel()
    with pytest.raises((asyncio.CancelledError, DeadlineExceededError)):
        await asked
    shelf.regions.close()
    assert shelf.open_files() == 1
    assert not shelf.memory.copied.take(1)
    gate.set()
    await threads_have_ended()
    assert shelf.open_files() == 0
    assert shelf.memory.copied.take(64)


async def test_a_client_that_leaves_while_its_outputs_are_written_ends_that(shelf, gate):
    asked = asyncio.ensure_future(shelf.write({"y": np.full(64, 255, np.uint8)}, y=("r", 0, 64)))
    await asyncio.to_thread(gate.reached.wait, 30)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    gate.set()
    shelf.regions.close()
    await threads_have_ended()
    assert shelf.open_files() == 0
    assert shelf.file.read_bytes() == b"\xff" * 8 + bytes(range(8, 64))
