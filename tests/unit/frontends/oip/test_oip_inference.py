"""Requests in front of the engine: what is asked of which model, what is refused, what comes back."""

import asyncio
import struct

import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.codecs.oip import InferRequest, InputTensor, RawElements, RequestedOutput
from tensorhost.core.errors import (
    DeadlineExceededError,
    ErrorCode,
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidRequestError,
    MissingInputError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OverloadedError,
    UnknownInputError,
    VersionNotFoundError,
)
from tensorhost.frontends.oip.admitting import parse_version, version_text
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.inference import Alone
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.states import VersionState

f32 = np.float32

pytestmark = pytest.mark.looptime


def given(name="x", shape=(1, 2), datatype="FP32", data=None):
    elements = RawElements(np.arange(1, 1 + np.prod(shape), dtype=f32).tobytes() if data is None else data)
    return InputTensor(name, datatype, tuple(shape), elements=elements)


class Desk:
    """The bench, and the shared semantics in front of it."""

    def __init__(self, **options):
        self.bench = EngineBench(**options)
        settings = self.bench.manager.settings
        group = Alone(self.bench.manager)
        self.inference = Inference(self.bench.engine, SharedMemory(settings, group))
        self.offered = OpenInference(self.bench.engine, settings, group)

    async def ask(self, *inputs, name="m", number=None, **fields):
        request = InferRequest(inputs=list(inputs) or [given()], **fields)
        answer = await self.inference.infer(request, name, number)
        self.bench.check_idle()
        return answer

    async def refusal(self, kind, *inputs, **fields):
        with pytest.raises(kind) as caught:
            await self.ask(*inputs, **fields)
        self.bench.check_idle()
        return caught.value.message

    def errors(self):
        """Failures counted for the model, and for nobody."""
        counters = self.bench.metrics, self.bench.manager.metrics.view().unattributed
        return tuple({code: count for code, count in counter.errors.items() if count} for counter in counters)


async def test_an_answer_says_what_answered_and_repeats_what_is_the_clients():
    answer = await Desk().ask(id="q", parameters={"mine": 1, "priority": 2})
    assert (answer.model_name, answer.model_version, answer.id, answer.parameters) == ("m", "1", "q", {"mine": 1})
    [output] = answer.outputs
    assert (output.name, output.as_binary, output.array.tolist()) == ("y", False, [[2, 4]])


async def test_versions_are_numbers():
    desk = Desk()
    assert (await desk.ask(number=1)).model_version == "1"
    assert await desk.refusal(VersionNotFoundError, number=9) == (
        "Request for unknown model: 'm' version 9 is not found"
    )
    assert await desk.refusal(ModelNotFoundError, name="nope") == "Request for unknown model: 'nope' is not found"
    assert await desk.refusal(ModelNotFoundError, name="nope", number=3) == (
        "Request for unknown model: 'nope' is not found"
    )
    refused = await desk.refusal(ModelNotReadyError, number=0)
    assert refused.startswith("Request for unknown model: 'm' version 0 is not at ready state: ")


async def test_a_version_that_its_policy_leaves_on_disk_is_none():
    # 503 and Retry-After would have clients come back for ever.
    desk = Desk()
    desk.bench.manager.models()["m"].policy = VersionPolicy(latest=1)
    assert await desk.refusal(VersionNotFoundError, number=0) == (
        "Request for unknown model: 'm' version 0 is not found"
    )


@pytest.mark.parametrize(("text", "number"), [("", None), ("1", 1), ("007", 7), (str(2**63 - 1), 2**63 - 1)])
def test_texts_of_versions(text, number):
    assert parse_version(text) == number


@pytest.mark.parametrize("text", ["abc", "-1", "1.0", " 1", "٣", str(2**63), "9" * 100])
def test_texts_that_are_no_version(text):
    with pytest.raises(InvalidRequestError, match="version should be an integral value"):
        parse_version(text)


@pytest.mark.parametrize(("version", "text"), [("3", "3"), ("v3", "3"), ("0003", "3"), ("1.2.0", "1.2.0")])
def test_clients_are_told_numbers_where_there_are_any(version, text):
    assert version_text(version) == text


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        (UnknownInputError, [given("zzz")], "unexpected inference input 'zzz' for model 'm'"),
        (UnknownInputError, [given(), given("extra")], "unexpected inference input 'extra' for model 'm'"),
        (InvalidRequestError, [given(), given()], "input 'x' already exists in request"),
        (
            InvalidInputTypeError,
            [given(datatype="INT64")],
            "inference input 'x' data-type is 'INT64', but model 'm' expects 'FP32'",
        ),
        (
            InvalidInputTypeError,
            [given(datatype="BYTES")],
            "inference input 'x' data-type is 'BYTES', but model 'm' expects 'FP32'",
        ),
        (
            InvalidInputShapeError,
            [given(shape=(1, 5))],
            "unexpected shape for input 'x' for model 'm'. Expected [-1,2], got [1,5].",
        ),
        (InvalidInputShapeError, [given(shape=())], "unexpected shape for input 'x' for model 'm'. Expected [-1,2]"),
        (InvalidInputShapeError, [given(shape=(9, 2))], "inference request batch-size must be <= 8 for 'm'"),
        (InvalidRequestError, [given(data=b"1234567")], "Input 'x' has 7 bytes"),
        (InvalidRequestError, [InputTensor("x", "FP32", (1, 2))], "Input 'x' has no data"),
    ],
)
async def test_inputs_that_do_not_fit_are_named(kind, inputs, message):
    desk = Desk()
    assert (await desk.refusal(kind, *inputs)).startswith(message)
    assert desk.bench.runtime.calls == 0


async def test_an_input_that_is_missing_is_named():
    desk = Desk()
    request = InferRequest(inputs=[])
    with pytest.raises(MissingInputError, match=r"expected 1 inputs but got 0 inputs for model 'm'.*\['x'\]"):
        await desk.inference.infer(request, "m", None)
    desk.bench.check_idle()


async def test_an_unknown_datatype_is_named():
    assert "invalid datatype 'FP99'" in await Desk().refusal(InvalidInputTypeError, given(datatype="FP99"))


async def test_outputs_come_as_they_are_wanted():
    desk = Desk()
    wanted = RequestedOutput("y", {"binary_data": True})
    [output] = (await desk.ask(outputs=[wanted])).outputs
    assert output.as_binary
    [output] = (await desk.ask(parameters={"binary_data_output": True})).outputs
    assert output.as_binary
    refusing = RequestedOutput("y", {"binary_data": False})
    [output] = (await desk.ask(outputs=[refusing], parameters={"binary_data_output": True})).outputs
    assert not output.as_binary
    assert "'zz'" in await desk.refusal(InvalidRequestError, outputs=[RequestedOutput("zz")])
    assert "twice" in await desk.refusal(InvalidRequestError, outputs=[RequestedOutput("y"), RequestedOutput("y")])


async def test_classes_have_the_models_labels():
    desk = Desk(labels=("cat", "dog"))
    [output] = (await desk.ask(outputs=[RequestedOutput("y", {"classification": 1})])).outputs
    assert output.array.tolist() == [[b"4.000000:1:dog"]]


async def test_a_timeout_is_a_deadline():
    desk = Desk()
    desk.bench.servable.queue("serving_default")._busy = True
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await desk.refusal(DeadlineExceededError, parameters={"timeout": 250_000})
    assert loop.time() - begun == pytest.approx(0.25)
    assert desk.errors() == ({ErrorCode.DEADLINE_EXCEEDED: 1}, {})


async def test_the_earlier_of_two_deadlines_counts():
    inference = Desk().inference
    now = asyncio.get_running_loop().time()
    assert inference.deadline(now + 5.0, 1_000_000) == pytest.approx(now + 1.0)
    assert inference.deadline(now + 0.5, 1_000_000) == pytest.approx(now + 0.5)


async def test_each_failure_is_counted_once():
    desk = Desk(failure=ModelFailedError("it broke"))
    await desk.refusal(ModelFailedError, given(data=struct.pack("<2f", -1, 1)))
    await desk.refusal(InvalidRequestError, parameters={"timeout": -1})
    await desk.refusal(VersionNotFoundError, number=9)
    await desk.refusal(ModelNotFoundError, name="nope")
    assert desk.errors() == (
        {ErrorCode.MODEL_FAILED: 1},
        {ErrorCode.INVALID_REQUEST: 1, ErrorCode.VERSION_NOT_FOUND: 1, ErrorCode.MODEL_NOT_FOUND: 1},
    )


async def test_a_full_server_refuses():
    desk = Desk(max_in_flight=1, batch_timeout_s=2.0)
    waiting = asyncio.ensure_future(desk.inference.infer(InferRequest(inputs=[given()]), "m", None))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await desk.inference.infer(InferRequest(inputs=[given()]), "m", None)
    await waiting
    desk.bench.check_idle()


async def test_a_body_may_be_the_only_input():
    desk = Desk()
    request = InferRequest(raw_body=memoryview(struct.pack("<2f", 1, 2)))
    answer = await desk.inference.infer(request, "m", None)
    assert [(output.array.tolist(), output.as_binary) for output in answer.outputs] == [([[2, 4]], True)]
    for size in (0, 7, 12, 16):
        with pytest.raises(InvalidInputShapeError, match=f"Expected 8, got {size}"):
            await desk.inference.infer(InferRequest(raw_body=memoryview(bytes(size))), "m", None)
    desk.bench.check_idle()


async def test_a_model_is_described_as_clients_know_it():
    desk = Desk()
    described = (await desk.offered.model_metadata("m", None, 1e9)).to_json()
    assert described == {
        "name": "m",
        "versions": ["1"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    config = await desk.offered.model_config("m", 1, 1e9)
    assert (config["name"], config["max_batch_size"], config["backend"]) == ("m", 8, "doubling")
    assert config["input"][0] == {
        "name": "x",
        "data_type": "TYPE_FP32",
        "dims": [2],
        "format": "FORMAT_NONE",
        "optional": False,
    }


async def test_readiness_is_of_what_would_be_answered():
    desk = Desk()
    ready = desk.offered.model_ready
    assert (ready("m", None), ready("m", 1), ready("m", 0), ready("m", 9), ready("nope", None)) == (
        (True, True, False, False, False)
    )
    assert desk.offered.model_names() == ["m"]
    model = desk.bench.manager.models()["m"]
    model.lazy = True
    record = model.versions["1"]
    record.state, record.servable = VersionState.NEW, None
    desk.bench.manager._catalog.refresh(model)
    assert ready("m", None)
    assert ready("m", 1)


async def test_a_server_that_drains_is_not_ready():
    desk = Desk()
    desk.bench.manager._settled = True
    assert desk.offered.server_ready()
    desk.offered.begin_drain()
    assert not desk.offered.server_ready()
