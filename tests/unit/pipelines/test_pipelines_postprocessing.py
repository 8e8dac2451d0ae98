"""The postprocessing chain: order, which outputs, labels, refusals before the model runs, custom steps."""

import numpy as np
import orjson
import pytest
from scipy import special

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPostprocessingError, ModelFailedError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.pipelines import PostprocessingOptions, PostprocessingPipeline

LABELS = ("ant", "bee", "cow")
SCORES = np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]], np.float32)
SCORES.flags.writeable = False


def signature(**outputs):
    specs = {name: TensorSpec(name, dtype, shape) for name, (dtype, shape) in outputs.items()}
    return Signature("s", {}, specs)


PLAIN = signature(y=(DType.FLOAT32, (None, 3)))


def apply(raw, outputs=None, sig=PLAIN, **kwargs):
    chain = PostprocessingPipeline(PostprocessingOptions.from_model(raw), sig, **kwargs)
    return chain.apply({"y": SCORES} if outputs is None else outputs)


def test_without_steps_the_mapping_itself_comes_back():
    outputs = {"y": SCORES}
    assert apply({}, outputs, labels=LABELS) is outputs


def test_softmax_then_top_k_then_round():
    (first, second) = apply({"softmax": True, "topK": 2, "round": 3}, labels=LABELS)["y"]
    expected = special.softmax(SCORES.astype(float), axis=-1)
    assert first == [
        {"label": "bee", "index": 1, "score": round(expected[0, 1], 3)},
        {"label": "cow", "index": 2, "score": round(expected[0, 2], 3)},
    ]
    assert [entry["label"] for entry in second] == ["ant", "cow"]
    assert orjson.loads(orjson.dumps(first)) == first


def test_sigmoid_then_threshold_then_round():
    made = apply({"sigmoid": True, "threshold": 0.6, "round": 1})["y"]
    expected = special.expit(SCORES.astype(float))
    np.testing.assert_allclose(made, np.round(np.where(expected < 0.6, 0, expected), 1), rtol=1e-6)


def test_argmax_answers_indices():
    made = apply({"softmax": True, "argmax": True, "round": True}, labels=LABELS)["y"]
    assert made.dtype == np.int64
    assert made.tolist() == [1, 0]


def test_threshold_zeroes_and_with_labels_drops():
    assert apply({"threshold": 0.4})["y"].tolist() == [[0, SCORES[0, 1], 0], [SCORES[1, 0], 0, SCORES[1, 2]]]
    assert apply({"threshold": 0.4}, labels=LABELS)["y"] == [
        [{"label": "bee", "index": 1, "score": 0.7}],
        [{"label": "ant", "index": 0, "score": 0.4}, {"label": "cow", "index": 2, "score": 0.4}],
    ]
    assert apply({"threshold": 0.4, "topK": 1}, labels=LABELS)["y"][1] == [{"label": "ant", "index": 0, "score": 0.4}]


def test_top_k_without_labels_has_no_label_and_more_than_there_are_gives_all():
    assert apply({"topK": 9})["y"][0] == [
        {"index": 1, "score": 0.7},
        {"index": 2, "score": 0.2},
        {"index": 0, "score": 0.1},
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"topK": 1}, []),
        ({"threshold": 1}, []),
        ({"softmax": True}, None),
        ({"argmax": True}, None),
        ({"round": 2}, None),
    ],
)
def test_empty_batches_pass_every_step(raw, expected):
    made = apply(raw, {"y": SCORES[:0]}, labels=LABELS)["y"]
    assert made == [] if expected == [] else len(made) == 0


def test_other_outputs_pass_untouched_and_labels_choose_among_several():
    sig = signature(
        boxes=(DType.FLOAT32, (None, 4)),
        y=(DType.FLOAT32, (None, None)),
        ids=(DType.INT64, (None,)),
        t=(DType.STRING, None),
    )
    outputs = {
        "boxes": np.full((2, 4), 0.26, np.float32),
        "y": SCORES,
        "ids": np.array([5, 6]),
        "t": np.array([b"a"], object),
    }
    made = apply({"topK": 1, "round": 1}, outputs, sig, labels=LABELS)
    assert list(made) == ["boxes", "y", "ids", "t"]
    np.testing.assert_array_equal(made["boxes"], np.full((2, 4), 0.3, np.float32))
    assert made["y"][0] == [{"label": "bee", "index": 1, "score": 0.7}]
    assert made["ids"] is outputs["ids"]
    assert made["t"] is outputs["t"]
    kept = apply({"threshold": 0.5}, outputs, sig, labels=LABELS)
    assert kept["boxes"] is outputs["boxes"]


@pytest.mark.parametrize(
    ("raw", "sig", "labels", "told"),
    [
        ({"softmax": True}, signature(y=(DType.INT64, (None, 3))), (), r"'postprocessing\.softmax' fits no output"),
        ({"round": 1}, signature(y=(DType.STRING, (None, 3))), (), r"'postprocessing\.round' fits no output"),
        ({"argmax": True}, signature(y=(DType.FLOAT32, ())), (), "with a class axis"),
        ({"topK": 1}, PLAIN, ("a", "b"), "whose last axis has 2 elements, one per label"),
        ({"threshold": 1}, PLAIN, ("a", "b"), "whose last axis has 2 elements"),
        ({"topK": 1}, signature(y=(DType.FLOAT32, (None, 0))), (), "class axis"),
    ],
)
def test_what_fits_no_output_is_refused_before_the_model_runs(raw, sig, labels, told):
    with pytest.raises(InvalidPostprocessingError, match=told):
        PostprocessingPipeline(PostprocessingOptions.from_request(raw), sig, labels=labels)


def test_what_only_the_arrays_show_is_refused_then():
    sig = signature(y=(DType.FLOAT32, None))
    with pytest.raises(InvalidPostprocessingError, match="fits no output"):
        apply({"topK": 1}, {"y": np.zeros((2, 5), np.float32)}, sig, labels=LABELS)
    with pytest.raises(InvalidPostprocessingError, match="fits no output"):
        apply({"argmax": True}, {"y": np.zeros((2, 0), np.float32)}, sig)
    with pytest.raises(InvalidPostprocessingError, match="fits no output"):
        apply({"softmax": True}, {"y": np.zeros((), np.float32)}, sig)
    assert apply({"sigmoid": True}, {"y": np.zeros((), np.float32)}, sig)["y"] == 0.5


def test_variants_are_built_once():
    base = PostprocessingPipeline(PostprocessingOptions.from_model({"softmax": True}), PLAIN, labels=LABELS)
    variant = base.overridden({"topK": 1})
    assert base.overridden({"topK": 1}) is variant
    assert base.overridden(None) is base.overridden({}) is base.overridden({"softmax": True}) is base
    assert variant.apply({"y": SCORES})["y"][0][0]["label"] == "bee"
    with pytest.raises(InvalidPostprocessingError, match=r"'batch\[0\]\.postprocessing\.topK'"):
        base.overridden({"topK": 0}, path="batch[0].postprocessing")


def test_custom_steps_run_first_and_may_rename(tmp_path, monkeypatch):
    (tmp_path / "negate_scores.py").write_text("def run(outputs):\n    return {'scores': -outputs['y']}\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = apply({"entry_point": "negate_scores:run", "argmax": True})
    assert list(made) == ["scores"]
    assert made["scores"].tolist() == [0, 1]


def test_a_custom_step_cannot_write_to_a_shared_batch():
    outputs = {"y": np.ones((1, 3), np.float32)}
    with pytest.raises(ModelFailedError, match="custom step failed"):
        apply({}, outputs, custom=lambda tensors: tensors["y"].fill(0))
    assert outputs["y"].all()
    with pytest.raises(ModelFailedError):
        apply({"entry_point": "no_such_module_anywhere:run"})


@pytest.mark.parametrize("raw", [{"argmax": True}, {"softmax": True}, {"topK": 1}])
def test_one_number_per_row_has_no_class_axis_and_rows_never_mix(raw):
    sig = signature(probabilities=(DType.FLOAT32, (None, 3)), confidence=(DType.FLOAT32, (None,)))
    outputs = {
        "probabilities": np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32),
        "confidence": np.array([0.7, 0.5], np.float32),
    }
    answers = apply(raw, outputs, sig)
    np.testing.assert_array_equal(answers["confidence"], outputs["confidence"])
    assert len(answers["probabilities"]) == 2


def test_an_output_of_one_number_per_row_alone_gives_class_steps_nothing_to_do():
    with pytest.raises(InvalidPostprocessingError, match="no floating output with a class axis"):
        apply({"argmax": True}, {"confidence": np.ones(2, np.float32)}, signature(confidence=(DType.FLOAT32, (None,))))


@pytest.mark.parametrize(
    ("raw", "rows", "slow"), [({}, 10_000, False), ({"topK": 1}, 10, False), ({"topK": 1}, 10_000, True)]
)
def test_steps_over_many_numbers_are_for_a_thread(raw, rows, slow):
    chain = PostprocessingPipeline(PostprocessingOptions.from_model(raw), PLAIN)
    assert chain.is_slow({"y": np.zeros((rows, 3), np.float32)}) is slow
