"""Tensors of requests in shared memory: sizes that agree, and those that do not."""

import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.codecs.oip import InferRequest, InputTensor, RequestedOutput
from tensorhost.core.errors import InvalidInputShapeError, InvalidRequestError, NotFoundError, PayloadTooLargeError
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.frontends.oip.shared_tensors import read_inputs

f32 = np.float32
PREFIX = "shared-"


class Desk:
    """A region of 64 bytes, the first of which hold the row [1, 2], in front of the bench."""

    def __init__(self, folder):
        self.bench = EngineBench(oip_shared_memory=True, oip_shared_memory_prefix=PREFIX)
        self.file = folder / f"{PREFIX}a"
        self.file.write_bytes(f32([1, 2]).tobytes() + bytes(56))
        self.memory = SharedMemory(self.bench.manager.settings, folder)
        self.memory.register("r", f"{PREFIX}a", 0, 64)
        self.inference = Inference(self.bench.engine, self.memory)

    async def ask(self, *, size=8, offset=0, region="r", outputs=()):
        where = {"shared_memory_region": region, "shared_memory_byte_size": size, "shared_memory_offset": offset}
        request = InferRequest(inputs=[InputTensor("x", "FP32", (1, 2), where)], outputs=list(outputs))
        try:
            return (await self.inference.infer(request, "m", None)).outputs
        finally:
            self.bench.check_idle()


@pytest.fixture
async def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.memory.close()


def wanted(size, offset=32):
    where = {"shared_memory_region": "r", "shared_memory_byte_size": size, "shared_memory_offset": offset}
    return RequestedOutput("y", where)


async def test_inputs_are_read_there(desk):
    [output] = await desk.ask()
    assert output.array.tolist() == [[2, 4]]


async def test_outputs_are_written_there(desk):
    [output] = await desk.ask(outputs=[wanted(16)])
    assert (output.array, output.datatype, output.shape) == (None, "FP32", (1, 2))
    assert desk.file.read_bytes()[32:] == f32([2, 4]).tobytes() + bytes(24)


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        (InvalidInputShapeError, {"size": 4}, "'x' for model 'm'. Expected 8, got 4"),
        (InvalidInputShapeError, {"size": 2**62}, "Expected 8, got"),
        (InvalidRequestError, {"offset": 60}, "Invalid offset"),
        (NotFoundError, {"region": "nope"}, "Unable to find shared memory region: 'nope'"),
        (InvalidRequestError, {"outputs": [wanted(4)]}, "output 'y' \\(4 bytes of 'r'\\) should be at least 8"),
        (InvalidRequestError, {"outputs": [wanted(16, 60)]}, "Invalid offset"),
    ],
)
async def test_what_does_not_fit_is_refused_and_written_nowhere(desk, kind, asked, message):
    before = desk.file.read_bytes()
    with pytest.raises(kind, match=message):
        await desk.ask(**asked)
    assert desk.file.read_bytes() == before


@pytest.mark.parametrize(("datatype", "shape", "size"), [("FP32", (2, 3), 24), ("BYTES", (1,), 33)])
def test_nothing_is_copied_that_no_request_may_bring(desk, monkeypatch, datatype, shape, size):
    monkeypatch.setattr(SharedMemory, "view", lambda *_: pytest.fail("memory was taken"))
    where = {"shared_memory_region": "r", "shared_memory_byte_size": size}
    with pytest.raises(PayloadTooLargeError, match="Input 'x' has"):
        read_inputs(desk.memory, "m", [InputTensor("x", datatype, shape, where)], max_elements=5, max_text_bytes=32)
