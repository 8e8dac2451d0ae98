import math

import numpy as np
import pytest

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.errors import ModelFailedError, OverloadedError
from tensorhost.frontends.rpc import RpcContext, RpcStatus
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.inference import Classification, Regression
from tensorhost.frontends.tfserving.model_spec import AnsweredBy, ModelSpec
from tensorhost.frontends.tfserving.monitoring import counters
from tensorhost.frontends.tfserving.services.counted import Counted
from tensorhost.frontends.tfserving.services.responses import write_classification, write_regression
from tensorhost.frontends.tfserving.services.specs import encoded_spec, read_spec, write_spec
from tensorhost.frontends.tfserving.serving_metrics import Entrypoint, ServingMetrics
from tensorhost.models.manager import ModelManager

PredictRequest = message_class("tensorflow.serving.PredictRequest")
Spec = message_class("tensorflow.serving.ModelSpec")
Result = message_class("tensorflow.serving.ClassificationResult")
Values = message_class("tensorflow.serving.RegressionResult")
BY = AnsweredBy("m", 1, "s")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "m"}, ModelSpec("m")),
        ({"name": "m", "version": {"value": 7}, "signature_name": "s"}, ModelSpec("m", 7, None, "s")),
        ({"name": "m", "version": {}}, ModelSpec("m", 0)),
        ({"name": "m", "version_label": "l"}, ModelSpec("m", None, "l")),
        ({"name": "m", "version_label": ""}, ModelSpec("m", None, "")),
    ],
)
def test_what_a_request_asks_for(fields, expected):
    assert read_spec(PredictRequest(model_spec=fields)) == expected


@pytest.mark.parametrize(
    ("request_", "text"),
    [(PredictRequest(), "Missing ModelSpec"), (PredictRequest(model_spec={}), "ModelSpec has no name specified.")],
)
def test_a_request_that_asks_for_nothing(request_, text):
    with pytest.raises(ServingError) as refused:
        read_spec(request_)
    assert (refused.value.status, refused.value.message) == (RpcStatus.INVALID_ARGUMENT, text)


@pytest.mark.parametrize("version", [0, 1, 2**63 - 1, None])
def test_what_answered(version):
    spec = Spec()
    write_spec(spec, AnsweredBy("m", version, "s"))
    assert Spec.FromString(encoded_spec(AnsweredBy("m", version, "s"))) == spec
    assert (spec.name, spec.signature_name, spec.version_label) == ("m", "s", "")
    assert spec.HasField("version") == (version is not None)
    assert spec.version.value == (version or 0)


def test_classes_as_messages():
    labels = np.array([[b"a", "é".encode()]], object)
    scores = np.float32([[0.5, 0.0]])
    for given, expected in {
        (True, True): [("a", 0.5), ("é", 0.0)],
        (True, False): [("a", 0.0), ("é", 0.0)],
        (False, True): [("", 0.5), ("", 0.0)],
    }.items():
        result = Result()
        answer = Classification(labels if given[0] else None, scores if given[1] else None, BY)
        write_classification(answer, result)
        [found] = result.classifications
        assert [(each.label, each.score) for each in found.classes] == expected


def test_no_classes_are_still_an_answer_for_each_example():
    result = Result()
    write_classification(Classification(None, np.zeros((2, 0), np.float32), BY), result)
    assert [len(found.classes) for found in result.classifications] == [0, 0]


def test_a_label_that_is_no_text_is_the_models_fault():
    with pytest.raises(ModelFailedError):
        write_classification(Classification(np.array([[b"\xff"]], object), None, BY), Result())


def test_values_as_messages():
    result = Values()
    write_regression(Regression(np.float32([1.5, -math.inf, 0]), BY), result)
    assert [each.value for each in result.regressions] == [1.5, -math.inf, 0]


def test_a_call_is_counted_however_it_ends():
    manager = ModelManager()
    counters = manager.metrics.serving_calls

    def count(error=None):
        with Counted(ServingMetrics(manager), "", "Predict", RpcContext()):
            if error is not None:
                raise error

    count()
    for error in (OverloadedError("Full."), KeyError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            count(error)
    assert counters.requests == {("", "OK"): 1, ("", "UNAVAILABLE"): 1, ("", "INTERNAL"): 1, ("", "CANCELLED"): 1}
    [(key, histogram)] = counters.latency.items()
    assert key == ("", "Predict", "GRPC")
    assert histogram.count == 1


def test_counters_are_added_up_over_their_rows():
    manager = ModelManager()
    manager.metrics.record_load("failed")
    manager.metrics.record_load("succeeded")
    manager.metrics.record_load("succeeded")
    for status in (RpcStatus.OK, RpcStatus.NOT_FOUND):
        ServingMetrics(manager).record("", "Predict", Entrypoint.GRPC, status, 1.0)
    found = counters(manager.metrics.view())
    assert found[":tensorflow:cc:saved_model:load_attempt_count"] == 3
    assert found[":tensorflow:serving:request_count"] == 2
    assert not any("latency" in name and "serving" in name for name in found)
