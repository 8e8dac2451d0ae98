"""Classify, Regress and MultiInference over gRPC, by the real stubs, on models of TensorFlow 1 and 2."""

import grpc
import pytest
from serving_clients import ServingClient, example
from serving_models import CLASSES

INVALID, UNMET = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def client(serving_server):
    with ServingClient(serving_server.grpc_address) as client:
        yield client


def classes(response):
    """Labels and scores, example by example."""
    return [[(each.label, each.score) for each in found.classes] for found in response.result.classifications]


def values(response):
    return [each.value for each in response.result.regressions]


def refusal(call, *args, **options):
    with pytest.raises(grpc.RpcError) as refused:
        call(*args, **options)
    return refused.value.code(), refused.value.details()


def test_classes_with_labels_and_scores(client):
    response = client.classify("examples", example(x=[1.0, 2.0]), example(x=[0.5, 0.25]))
    assert classes(response) == [
        list(zip(CLASSES, scores, strict=True)) for scores in ([1.0, 2.0, 3.0], [0.5, 0.25, 0.75])
    ]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("examples", 1, "serving_default")


def test_classes_with_labels_or_scores_alone(client):
    only = client.classify("examples", example(x=[1.0, 2.0]), signature="classes_only")
    assert classes(only) == [[(label, 0.0) for label in CLASSES]]
    assert classes(client.classify("half_plus_two", example(x=[3.0]), signature="classify_x_to_y")) == [[("", 3.5)]]


def test_a_value_for_each_example(client):
    given = example(x=[1.0, 0.0], id=[5]), example(x=[2.0, 0.0])
    assert values(client.regress("examples", *given, signature="regress")) == [6.0, 9.0]
    assert values(client.regress("half_plus_two", example(x=[3.0]), signature="regress_x_to_y")) == [3.5]


def test_the_context_is_part_of_every_example_that_does_not_say_otherwise(client):
    given = example(), example(x=[10.0]), example(x2=[4.0])
    response = client.regress("half_plus_two", *given, context=example(x=[2.0]), signature="regress_x_to_y")
    assert values(response) == [3.0, 7.0, 3.0]


def test_thousands_of_examples(client):
    given = [example(x=[float(number), 0.0], id=[0]) for number in range(5000)]
    assert values(client.regress("examples", *given, signature="regress")) == list(range(5000))


def test_several_questions_about_the_same_examples(client):
    tasks = [("half_plus_two", "regress_x_to_y", "regress"), ("half_plus_two", "classify_x_to_y", "classify")]
    response = client.multi_inference(*tasks, examples=(example(x=[1.0]), example(x=[2.0])))
    regression, classification = response.results
    assert [each.value for each in regression.regression_result.regressions] == [2.5, 3.0]
    found = classification.classification_result.classifications
    assert [[each.score for each in row.classes] for row in found] == [[2.5], [3.0]]
    for result, (model, signature, _) in zip(response.results, tasks, strict=True):
        spec = result.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == (model, 123, signature)


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_faults_of_classify_and_regress(client, method):
    ask = getattr(client, method)
    one = example(x=[1.0])
    assert refusal(ask, "foo", one) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(foo)",
    )
    assert refusal(ask, "examples", one, signature="foo") == (INVALID, "No signature was found with the name: foo")
    fitting = {"classify": "classify_x_to_y", "regress": "regress_x_to_y"}[method]
    assert refusal(ask, "half_plus_two", signature=fitting) == (INVALID, "Input is empty.")
    code, text = refusal(ask, "half_plus_two", one)
    assert code is UNMET
    assert " inputs found in SignatureDef: " in text
    code, text = refusal(ask, "half_plus_two", example(), signature=fitting)
    assert code is INVALID
    assert "x" in text


def test_faults_of_multi_inference(client):
    one = (example(x=[1.0]),)
    good = ("half_plus_two", "regress_x_to_y", "regress")
    for tasks, expected in {
        (good, good): (INVALID, "Duplicate evaluation of signature: regress_x_to_y"),
        (good, ("examples", "regress", "regress")): (
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (good, ("half_plus_two", "foo", "regress")): (INVALID, "Requested signature not found in model graph: foo"),
        (good, ("half_plus_two", "classify_x_to_y", "predict")): (
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (("foo", "a", "regress"),): (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(foo)"),
    }.items():
        assert refusal(client.multi_inference, *tasks, examples=one) == expected
    assert refusal(client.multi_inference, good, examples=()) == (INVALID, "Input is empty.")
    assert refusal(client.multi_inference, examples=one)[0] is INVALID
