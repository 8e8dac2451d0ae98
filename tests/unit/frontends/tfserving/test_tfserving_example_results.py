import numpy as np
import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.example_results import check_classifies, check_regresses, classes, values
from tensorhost.frontends.tfserving.faults import ServingError

LABELS = np.array([[b"a", b"b"], [b"c", b"d"]], object)
SCORES = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)


def signature(inputs, outputs):
    def specs(names):
        return {name: TensorSpec(name, DType.STRING, (None,)) for name in names}

    return Signature("s", specs(inputs), specs(outputs), "tensorflow/serving/predict")


@pytest.mark.parametrize(
    ("inputs", "outputs", "status", "text"),
    [
        (["inputs", "more"], ["classes"], RpcStatus.INVALID_ARGUMENT, "Expected one input Tensor."),
        ([], ["classes"], RpcStatus.INVALID_ARGUMENT, "Expected one input Tensor."),
        (["inputs"], [], RpcStatus.INVALID_ARGUMENT, "Expected one or two output Tensors, found 0"),
        (["inputs"], ["classes", "scores", "x"], RpcStatus.INVALID_ARGUMENT, "one or two output Tensors, found 3"),
        (["x"], ["classes"], RpcStatus.FAILED_PRECONDITION, "No classification inputs found in SignatureDef: "),
        (["inputs"], ["y"], RpcStatus.FAILED_PRECONDITION, 'contain at least one of "classes" or "scores"'),
    ],
)
def test_which_signatures_do_not_classify(inputs, outputs, status, text):
    with pytest.raises(ServingError) as refused:
        check_classifies(signature(inputs, outputs))
    assert refused.value.status is status
    assert text in refused.value.message


@pytest.mark.parametrize("outputs", [["classes"], ["scores"], ["classes", "scores"], ["scores", "other"]])
def test_which_signatures_classify(outputs):
    check_classifies(signature(["inputs"], outputs))


@pytest.mark.parametrize(
    ("inputs", "outputs", "status"),
    [
        (["inputs", "more"], ["outputs"], RpcStatus.INVALID_ARGUMENT),
        (["inputs"], ["outputs", "more"], RpcStatus.INVALID_ARGUMENT),
        (["x"], ["outputs"], RpcStatus.FAILED_PRECONDITION),
        (["inputs"], ["y"], RpcStatus.FAILED_PRECONDITION),
    ],
)
def test_which_signatures_do_not_regress(inputs, outputs, status):
    with pytest.raises(ServingError) as refused:
        check_regresses(signature(inputs, outputs))
    assert refused.value.status is status


def test_classes_are_labels_scores_or_both():
    labels, scores = classes({"classes": LABELS, "scores": SCORES}, 2)
    assert labels is LABELS
    assert scores is SCORES
    assert classes({"classes": LABELS}, 2) == (LABELS, None)
    assert classes({"scores": SCORES, "other": LABELS}, 2) == (None, SCORES)


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"classes": LABELS[0]}, "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ({"scores": SCORES[0, 0]}, "but got []"),
        ({"classes": SCORES}, "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ({"scores": SCORES.astype(np.float64)}, "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ({"scores": SCORES[:1]}, "Expected scores output batch size of 2. Got: 1"),
        ({"classes": LABELS, "scores": SCORES[:, :1]}, "should match in num_classes. Got 2 vs. 1"),
    ],
)
def test_what_is_no_classification(outputs, text):
    with pytest.raises(ServingError) as refused:
        classes(outputs, 2)
    assert refused.value.status is RpcStatus.INVALID_ARGUMENT
    assert text in refused.value.message


def test_values_come_flat():
    assert values({"outputs": np.float32([1, 2])}, 2).tolist() == [1, 2]
    assert values({"outputs": np.float32([[1], [2]])}, 2).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 2), np.float32), "either [batch_size] or [batch_size, 1] but got [2,2]"),
        (np.zeros((2, 1, 1), np.float32), "but got [2,1,1]"),
        (np.zeros((), np.float32), "but got []"),
        (np.zeros(3, np.float32), "Input batch size did not match output batch size: 2 vs. 3"),
        (np.zeros(2, np.int64), "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
    ],
)
def test_what_is_no_regression(array, text):
    with pytest.raises(ServingError) as refused:
        values({"outputs": array}, 2)
    assert text in refused.value.message
