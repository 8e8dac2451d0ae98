import asyncio
import math
import time

import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.errors import DeadlineExceededError, InvalidRequestError, PayloadTooLargeError
from tensorhost.frontends.rpc import Role, RpcContext
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.inference import Inference
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.frontends.tfserving.services import tensors
from tensorhost.frontends.tfserving.services.prediction_service import PredictionService
from tensorhost.frontends.tfserving.serving_metrics import ServingMetrics

pytestmark = pytest.mark.looptime

Request = message_class("tensorflow.serving.PredictRequest")
Response = message_class("tensorflow.serving.PredictResponse")
DT_FLOAT = 1


class Served:
    """The service over an engine whose model doubles ``x`` of shape [-1, 2]."""

    def __init__(self, **settings):
        self.bench = EngineBench(**settings)
        manager = self.bench.manager
        self.service = PredictionService(
            Inference(self.bench.engine),
            ServingMetrics(manager),
            RequestLog(manager, manager.settings),
            manager.settings,
        )

    async def predict(self, request, **context):
        return Response.FromString(await self.service.predict(request.SerializeToString(), RpcContext(**context)))


def request(*values, model="m", **spec):
    made = Request(model_spec={"name": model, **spec})
    tensor = made.inputs["x"]
    tensor.dtype = DT_FLOAT
    for size in (len(values) // 2, 2):
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend(values)
    return made


async def test_outputs_are_lists_unless_the_settings_say_content():
    for as_content in (False, True):
        served = Served(tfserving_tensor_content=as_content)
        output = (await served.predict(request(1.0, 2.0))).outputs["y"]
        assert (output.dtype, [dim.size for dim in output.tensor_shape.dim]) == (DT_FLOAT, [1, 2])
        assert list(output.float_val) == ([] if as_content else [2.0, 4.0])
        assert output.tensor_content == (np.float32([2, 4]).tobytes() if as_content else b"")
        served.bench.check_idle()


async def test_calls_are_counted_by_the_model_they_name_if_there_is_one():
    served = Served()
    await served.predict(request(1.0, 2.0))
    for model in ("m", "invented"):
        with pytest.raises(Exception):  # noqa: B017 - whatever it is, it is counted
            await served.predict(request(1.0, 2.0, model=model, signature_name="foo"))
    requests = served.bench.manager.metrics.serving_calls.requests
    assert requests[("m", "OK")] == requests[("m", "FAILED_PRECONDITION")] == 1
    assert sum(requests.values()) == 3
    assert all("invented" not in key for key in requests)


async def test_a_deadline_that_has_passed():
    served = Served()
    with pytest.raises(DeadlineExceededError):
        await served.predict(request(1.0, 2.0), deadline=asyncio.get_running_loop().time())
    served.bench.check_idle()


@pytest.mark.parametrize(
    ("timeout_s", "status"), [(math.inf, "CANCELLED"), (100.0, "CANCELLED"), (0.01, "DEADLINE_EXCEEDED")]
)
async def test_a_call_that_its_transport_gives_up_is_counted_by_the_reason(timeout_s, status):
    served = Served(batch_timeout_s=2.0)
    asked = asyncio.ensure_future(served.predict(request(1.0, 2.0), deadline=time.monotonic() + timeout_s))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert served.bench.manager.metrics.serving_calls.requests == {("m", status): 1}
    served.bench.check_idle()


async def test_a_tensor_over_the_limit_is_refused_before_it_is_made():
    served = Served(max_tensor_elements=3)
    with pytest.raises(PayloadTooLargeError):
        await served.predict(request(1.0, 2.0, 3.0, 4.0))
    served.bench.check_idle()


async def test_inputs_that_the_signature_does_not_have_are_not_decoded(monkeypatch):
    served, hostile = Served(), request(1.0, 2.0)
    for number in range(1000):
        tensor = hostile.inputs[str(number)]
        tensor.dtype = DT_FLOAT
        tensor.tensor_shape.dim.add(size=2**15)
    monkeypatch.setattr(tensors, "decode_tensor", lambda *_args, **_options: pytest.fail("it was decoded"))
    with pytest.raises(ServingError, match="1001!=1"):
        await served.predict(hostile)
    served.bench.check_idle()


async def test_bytes_that_are_no_request_reach_no_model():
    served = Served()
    for call in (served.service.predict, served.service.classify, served.service.multi_inference):
        with pytest.raises(InvalidRequestError):
            await call(b"\xff", RpcContext())
    assert not served.bench.manager.metrics.serving_calls.requests


async def test_asking_is_for_everybody():
    assert {rpc.role for rpc in Served().service.rpcs()} == {Role.INFER}
