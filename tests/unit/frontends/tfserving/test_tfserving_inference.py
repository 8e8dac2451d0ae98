import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import DeadlineExceededError, ErrorCode, ModelFailedError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.inference import Classification, Inference, Method, Regression, Task
from tensorhost.frontends.tfserving.model_spec import AnsweredBy, ModelSpec

pytestmark = pytest.mark.looptime

M = ModelSpec("m")


def spec(name, dtype=DType.FLOAT32, shape=(None,)):
    return TensorSpec(name, dtype, shape)


EXAMPLES = spec("inputs", DType.STRING)
SCORES = Signature("serving_default", {"inputs": EXAMPLES}, {"scores": spec("scores", shape=(None, 2))})
VALUES = Signature("values", {"inputs": EXAMPLES}, {"outputs": spec("outputs")})


def lengths(_runtime, signature, inputs):
    """Scores or values that are the lengths of the Examples; fails where one says so."""
    examples = inputs["inputs"].tolist()
    if b"fail " + signature.encode() in examples:
        raise ModelFailedError("Broken.")
    found = np.float32([len(example) for example in examples])
    return {"scores": np.stack([found, -found], 1)} if signature == SCORES.name else {"outputs": found}


@pytest.fixture
def bench(monkeypatch):
    """An engine over a model that measures Examples."""
    from tests.unit.inference import engine_bench

    monkeypatch.setattr(engine_bench, "ONE", SCORES)
    monkeypatch.setattr(engine_bench, "TWO", VALUES)
    monkeypatch.setattr(engine_bench.DoublingRuntime, "run", lengths)

    def make(**options):
        bench = EngineBench(**options)
        bench.inference = Inference(bench.engine)
        return bench

    return make


def task(signature, method, model="m"):
    return Task(ModelSpec(model, signature=signature), method)


async def predict(inference):
    with await inference.admit(M, math.inf) as admission:
        call = inference.prediction_call(admission, "")
        return await inference.run(admission, call, {"inputs": np.array([b"a"], object)})


BOTH = [task("", Method.CLASSIFY), task("values", Method.REGRESS)]


async def test_a_task_of_each_kind(bench):
    bench = bench()
    classification, regression = await bench.inference.multi_inference(BOTH, [b"a", b"bcd"], math.inf)
    assert isinstance(classification, Classification)
    assert classification.scores.tolist() == [[1, -1], [3, -3]]
    assert classification.labels is None
    assert classification.answered_by == AnsweredBy("m", 1, "serving_default")
    assert isinstance(regression, Regression)
    assert regression.values.tolist() == [1, 3]
    assert regression.answered_by == AnsweredBy("m", 1, "values")
    bench.check_idle()


async def test_when_one_task_fails_the_other_has_ended_before_the_lease_is_back(bench):
    bench = bench(batch_timeout_s=2.0)
    asked = asyncio.ensure_future(bench.inference.multi_inference(BOTH, [b"fail values"], math.inf))
    await asyncio.sleep(0)
    assert bench.servable.leases == 1
    with pytest.raises(ModelFailedError):
        await asked
    bench.check_idle()
    assert bench.counted()[1] == {"MODEL_FAILED": 1}


async def test_a_client_that_leaves_leaves_nothing_behind(bench):
    bench = bench(batch_timeout_s=2.0)
    asked = asyncio.ensure_future(bench.inference.multi_inference(BOTH, [b"a"], math.inf))
    await asyncio.sleep(0.5)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    bench.check_idle()


async def test_a_deadline_is_for_all_tasks_together(bench):
    bench = bench()
    with pytest.raises(DeadlineExceededError):
        await bench.inference.multi_inference(BOTH, [b"a"], asyncio.get_running_loop().time())
    bench.check_idle()


@pytest.mark.parametrize(
    ("tasks", "status", "text"),
    [
        ([], RpcStatus.INVALID_ARGUMENT, "contains no tasks"),
        ([BOTH[0], task("serving_default", Method.CLASSIFY)], RpcStatus.INVALID_ARGUMENT, "Duplicate evaluation"),
        ([BOTH[0], task("values", Method.REGRESS, "n")], RpcStatus.INVALID_ARGUMENT, "the same model name"),
        ([task("foo", Method.REGRESS)], RpcStatus.INVALID_ARGUMENT, "not found in model graph: foo"),
        ([task("values", "tensorflow/serving/predict")], RpcStatus.UNIMPLEMENTED, "method_name: tensorflow/serving/p"),
        ([task("values", Method.CLASSIFY)], RpcStatus.FAILED_PRECONDITION, 'at least one of "classes" or "scores"'),
        ([task("", Method.REGRESS)], RpcStatus.FAILED_PRECONDITION, "No regression outputs found"),
    ],
)
async def test_tasks_that_cannot_be_asked(bench, tasks, status, text):
    bench = bench()
    with pytest.raises(ServingError) as refused:
        await bench.inference.multi_inference(tasks, [b"a"], math.inf)
    assert refused.value.status is status
    assert text in refused.value.message
    bench.check_idle()


async def test_faults_inside_are_counted_under_their_codes(bench):
    bench = bench()
    for call in (bench.inference.classify, bench.inference.regress):
        with pytest.raises(ServingError):
            await call(ModelSpec("m", signature="foo"), [b"a"], math.inf)
    with pytest.raises(ServingError):
        await bench.inference.classify(M, [], math.inf)
    assert bench.metrics.errors[ErrorCode.SIGNATURE_NOT_FOUND] == 2
    assert bench.metrics.errors[ErrorCode.INVALID_REQUEST] == 1
    bench.check_idle()


async def test_runtime_and_examples_are_counted(bench):
    bench = bench()
    await bench.inference.classify(M, [b"a", b"b"], math.inf)
    await bench.inference.regress(ModelSpec("m", signature="values"), [b"a"], math.inf)
    await predict(bench.inference)
    calls = bench.manager.metrics.serving_calls
    assert {key: histogram.count for key, histogram in calls.runtime.items()} == {
        ("m", "Classify"): 1,
        ("m", "Regress"): 1,
        ("m", "Predict"): 1,
    }
    assert calls.examples["m"].count == 2


async def test_a_request_without_a_deadline_gets_the_servers(bench):
    assert bench().inference.deadline(math.inf) == math.inf
    bench = bench(request_timeout_s=3.0)
    assert bench.inference.deadline(math.inf) == pytest.approx(asyncio.get_running_loop().time() + 3.0)
    assert bench.inference.deadline(1.5) == 1.5


async def ask_everything(inference):
    """What each method says of a signature that was recorded as another's; None where it answers."""
    asked = [
        lambda: inference.classify(M, [b"a"], math.inf),
        lambda: inference.regress(ModelSpec("m", signature="values"), [b"a"], math.inf),
        lambda: inference.multi_inference(BOTH[:1], [b"a"], math.inf),
        lambda: inference.multi_inference(BOTH[1:], [b"a"], math.inf),
        lambda: predict(inference),
    ]
    said = []
    for ask in asked:
        try:
            await ask()
            said.append(None)
        except ServingError as error:
            said.append(error.message)
    return said


async def test_method_names_are_checked_by_every_method_where_that_is_asked_for(bench, monkeypatch):
    from tests.unit.inference import engine_bench

    made = bench(tfserving_method_names=True)
    assert await ask_everything(made.inference) == [None] * 5
    for name in ("ONE", "TWO"):
        monkeypatch.setattr(engine_bench, name, replace(getattr(engine_bench, name), method_name="mine"))
    assert await ask_everything(bench().inference) == [None] * 5
    said = await ask_everything(bench(tfserving_method_names=True).inference)
    kinds = ["classification", "regression", "classification", "regression", "prediction"]
    assert [text.split()[1] for text in said] == kinds
    assert all(text.endswith("Was: mine") for text in said)
