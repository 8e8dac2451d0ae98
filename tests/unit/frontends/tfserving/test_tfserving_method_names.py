"""Which method a signature was made for, where that is checked."""

from __future__ import annotations

import pytest

from tensorhost.core.signatures import Signature
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.method_names import CLASSIFY, PREDICT, REGRESS, check_method_name


def signature(method):
    return Signature("s", {}, {}, method)


@pytest.mark.parametrize("recorded", [PREDICT, CLASSIFY, REGRESS, ""])
def test_predict_may_be_asked_of_all_three(recorded):
    check_method_name(signature(recorded), PREDICT)


@pytest.mark.parametrize("method", [CLASSIFY, REGRESS])
def test_the_others_only_of_their_own(method):
    check_method_name(signature(method), method)
    check_method_name(signature(""), method)


@pytest.mark.parametrize(
    ("recorded", "method", "status", "text"),
    [
        (
            "mine",
            PREDICT,
            RpcStatus.INTERNAL,
            (
                "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
                "tensorflow/serving/classify, tensorflow/serving/regress}. Was: mine"
            ),
        ),
        (
            PREDICT,
            CLASSIFY,
            RpcStatus.INVALID_ARGUMENT,
            (
                "Expected classification signature method_name to be tensorflow/serving/classify. "
                "Was: tensorflow/serving/predict"
            ),
        ),
        (
            CLASSIFY,
            REGRESS,
            RpcStatus.INVALID_ARGUMENT,
            (
                "Expected regression signature method_name to be tensorflow/serving/regress. "
                "Was: tensorflow/serving/classify"
            ),
        ),
    ],
)
def test_another_method_is_refused_in_tensorflow_servings_words(recorded, method, status, text):
    with pytest.raises(ServingError) as refused:
        check_method_name(signature(recorded), method)
    assert (refused.value.status, refused.value.message) == (status, text)
