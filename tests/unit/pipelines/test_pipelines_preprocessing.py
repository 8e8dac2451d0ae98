"""The preprocessing chain: order, which inputs, wire specs, ownership, custom steps, variants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidPreprocessingError,
    InvalidRequestError,
    MissingInputError,
    ModelFailedError,
    UnknownInputError,
)
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.pipelines import PreprocessingOptions, PreprocessingPipeline


def signature(**inputs):
    specs = {name: TensorSpec(name, dtype, shape) for name, (dtype, shape) in inputs.items()}
    return Signature("serving_default", specs, {"y": TensorSpec("y", DType.FLOAT32, (None, 2))})


PLAIN = signature(x=(DType.FLOAT32, (None, 3)))


def pipeline(raw, sig=PLAIN, **kwargs):
    return PreprocessingPipeline(PreprocessingOptions.from_model(raw), sig, **kwargs)


def test_without_steps_the_arrays_pass_untouched():
    tensors = {"x": np.ones((2, 3), np.float32)}
    assert pipeline({}).apply(tensors) is tensors
    assert pipeline({}).wire_specs == PLAIN.inputs
    assert pipeline({}).overridden(None).overridden({}).apply(tensors) is tensors


def test_without_steps_strings_pass_untouched():
    tensors = {"t": np.array([b"a", b"b"], object)}
    assert pipeline({}, signature(t=(DType.STRING, (None,)))).apply(tensors) is tensors


@given(st.floats(0.5, 300), st.floats(-3, 3), st.floats(0.1, 4))
def test_steps_run_in_their_order(divisor, mean, std):
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    made = pipeline({"std": std, "mean": mean, "scale": divisor}).apply({"x": x})["x"]
    np.testing.assert_allclose(made, (x.astype(np.float64) / divisor - mean) / std, rtol=1e-4, atol=1e-4)
    assert made.dtype == np.float32


def test_normalize_alone_is_min_max_and_with_scale_is_only_scale():
    x = np.array([[0, 5, 10], [7, 7, 7]], np.float32)
    assert pipeline({"normalize": True}).apply({"x": x})["x"].tolist() == [[0, 0.5, 1], [0, 0, 0]]
    assert pipeline({"normalize": True, "scale": 2}).apply({"x": x})["x"].tolist() == (x / 2).tolist()


@pytest.mark.parametrize("raw", [{"scale": 2}, {"normalize": True}, {"mean": [1, 2, 3], "std": [1, 2, 3]}])
def test_empty_batches_pass_every_numeric_step(raw):
    assert pipeline(raw).apply({"x": np.empty((0, 3), np.float32)})["x"].shape == (0, 3)


def test_only_owned_arrays_are_written_to():
    x = np.array([[2, 4, 6]], np.float32)
    chain = pipeline({"scale": 2, "mean": 1})
    first = chain.apply({"x": x})["x"]
    assert x.tolist() == [[2, 4, 6]]
    assert chain.apply({"x": x}, owned=True)["x"] is x
    assert x.tolist() == first.tolist() == [[0, 1, 2]]
    frozen = np.frombuffer(np.array([2, 4, 6], np.float32).tobytes(), np.float32).reshape(1, 3)
    assert chain.apply({"x": frozen}, owned=True)["x"].tolist() == [[0, 1, 2]]
    assert frozen.tolist() == [[2, 4, 6]]


def test_integer_inputs_take_fractions_when_steps_make_them_whole():
    sig = signature(x=(DType.INT32, (None, 2)))
    chain = pipeline({"scale": 0.5}, sig)
    assert chain.wire_specs["x"].dtype is DType.FLOAT64
    made = chain.apply({"x": np.array([[3.5, 1]])})["x"]
    assert made.dtype == np.int32
    assert made.tolist() == [[7, 2]]
    with pytest.raises(InvalidPreprocessingError, match=r"input 'x' holds 0\.5, which int32"):
        chain.apply({"x": np.array([[0.25, 1]])})


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16, DType.FLOAT64])
def test_floats_keep_the_signatures_dtype_on_the_wire_and_after(dtype):
    sig = signature(x=(dtype, (None, 3)))
    chain = pipeline({"scale": 4}, sig)
    assert chain.wire_specs["x"] == sig.inputs["x"]
    made = chain.apply({"x": np.array([[1, 2, 3]]).astype(dtype.numpy)})["x"]
    assert made.dtype == dtype.numpy
    assert made.astype(float).tolist() == [[0.25, 0.5, 0.75]]


def test_numeric_steps_apply_to_floating_inputs_before_integer_ones():
    sig = signature(ids=(DType.INT64, (None, 2)), x=(DType.FLOAT32, (None, 2)), flag=(DType.BOOL, (None,)))
    chain = pipeline({"scale": 2}, sig)
    assert chain.wire_specs["ids"].dtype is DType.INT64
    tensors = {"ids": np.array([[7, 9]]), "x": np.ones((1, 2), np.float32), "flag": np.array([True])}
    made = chain.apply(tensors)
    assert list(made) == ["ids", "x", "flag"]
    assert made["ids"].tolist() == [[7, 9]]
    assert made["x"].tolist() == [[0.5, 0.5]]
    with pytest.raises(InvalidPreprocessingError, match="fits no input"):
        pipeline({"scale": 2}, signature(t=(DType.STRING, (None,))))


@pytest.mark.parametrize("key", ["mean", "std"])
def test_mean_and_std_must_fit_the_last_axis(key):
    with pytest.raises(InvalidPreprocessingError, match=rf"'preprocessing\.{key}' has 2 numbers, but .* has 3"):
        pipeline({key: [1, 2]})
    unknown = pipeline({key: [1, 2]}, signature(x=(DType.FLOAT32, None)))
    with pytest.raises(InvalidPreprocessingError, match="has 2 numbers"):
        unknown.apply({"x": np.ones((1, 3), np.float32)})
    with pytest.raises(InvalidPreprocessingError, match="has 2 numbers"):
        pipeline({key: [1, 2]}, signature(x=(DType.FLOAT32, ())))
    assert unknown.apply({"x": np.ones((1, 2), np.float32)})["x"].shape == (1, 2)


@pytest.mark.parametrize("raw", [{"scale": 1e-60}, {"std": 1e-60}, {"scale": 1e60}, {"mean": 1e60}])
def test_constants_beyond_the_working_type_are_refused(raw):
    with pytest.raises(InvalidPreprocessingError, match="beyond the range of float32"):
        pipeline(raw)
    pipeline(raw, signature(x=(DType.FLOAT64, (None, 3))))


def test_overflow_is_no_warning_and_underflow_neither():
    made = pipeline({"scale": 1e-30}).apply({"x": np.array([[1e30, 1, 0]], np.float32)})["x"]
    assert made[0, 0] == np.inf
    pipeline({"scale": 1e30}).apply({"x": np.array([[1e-30, 1, 0]], np.float32)})


def test_names_and_the_result_are_checked():
    chain = pipeline({"scale": 2})
    with pytest.raises(MissingInputError):
        chain.apply({})
    with pytest.raises(UnknownInputError):
        chain.apply({"x": np.ones((1, 3), np.float32), "z": np.ones(1)})
    with pytest.raises(InvalidInputShapeError):
        chain.apply({"x": np.ones((1, 4), np.float32)})


def test_variants_are_built_once_and_leave_the_default_alone():
    base = pipeline({"scale": 2})
    variant = base.overridden({"scale": 4})
    assert base.overridden({"scale": 4.0}) is variant
    assert base.overridden({"scale": 2}) is base
    x = np.full((1, 3), 8, np.float32)
    assert variant.apply({"x": x})["x"][0, 0] == 2
    assert base.apply({"x": x})["x"][0, 0] == 4
    with pytest.raises(InvalidPreprocessingError, match=r"batch\[1\]"):
        base.overridden({"scale": 0}, path="batch[1].preprocessing")


def test_slow_is_told_from_kinds_and_sizes():
    images = signature(x=(DType.FLOAT32, (None, 2, 2, 3)))
    pixels, encoded = {"x": np.ones((1, 2, 2, 3), np.float32)}, {"x": np.array([b"file"], object)}
    large = {"x": np.broadcast_to(np.float32(1), (400_000, 3))}
    assert not pipeline({}, images).is_slow(pixels)
    assert pipeline({}, images).is_slow(encoded)
    assert pipeline({"resize": {}}, images).is_slow(pixels)
    assert not pipeline({"scale": 2}, images).is_slow(pixels)
    assert pipeline({"scale": 2}).is_slow(large)
    assert not pipeline({}).is_slow(large)
    assert pipeline({}, custom=doubled).is_slow(pixels)
    assert not pipeline({}, signature(t=(DType.STRING, (None,)))).is_slow({"t": np.array([b"a" * 9999], object)})


def doubled(tensors):
    return {"x": tensors["x"] * 2}


def test_custom_steps_run_last_and_survive_overrides():
    base = pipeline({"scale": 2, "entry_point": f"{__name__}:doubled"}, custom=doubled)
    x = np.full((1, 3), 8, np.float32)
    assert base.apply({"x": x})["x"].tolist() == [[8, 8, 8]]
    assert base.overridden({"scale": None}).apply({"x": x})["x"].tolist() == [[16, 16, 16]]
    assert x.tolist() == [[8, 8, 8]]


def test_an_entry_point_is_imported(tmp_path, monkeypatch):
    (tmp_path / "shift_by_one.py").write_text("def run(tensors):\n    return {k: v + 1 for k, v in tensors.items()}\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = pipeline({"entry_point": "shift_by_one:run"}).apply({"x": np.zeros((1, 3), np.float32)})
    assert made["x"].tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("entry", ["no_such_module_anywhere:run", "math:no_such_function", "math:pi"])
def test_an_entry_point_that_leads_nowhere_fails_the_model(entry):
    with pytest.raises(ModelFailedError) as caught:
        pipeline({"entry_point": entry})
    assert entry in caught.value.log_detail
    assert entry not in caught.value.message


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda tensors: _raise(ValueError("secret path")), "failed"),
        (lambda tensors: None, "something else"),
        (lambda tensors: {"x": [1]}, "something else"),
        (lambda tensors: {1: tensors["x"]}, "something else"),
        (lambda tensors: {"x": np.array(["2020-01-01"], "M8[D]")}, "something else"),
        (lambda tensors: {"z": tensors["x"]}, "does not take"),
        (lambda tensors: {"x": tensors["x"].astype(np.int8)}, "does not take"),
        (lambda tensors: {"x": tensors["x"][0]}, "does not take"),
        (lambda tensors: tensors["x"].fill(0), "failed"),
    ],
)
def test_a_custom_step_that_misbehaves_fails_the_model(function, told):
    chain = pipeline({}, custom=function)
    x = np.ones((1, 3), np.float32)
    with pytest.raises(ModelFailedError, match=told) as caught:
        chain.apply({"x": x}, owned=True)
    assert "secret" not in caught.value.message
    assert caught.value.log_detail
    assert x.tolist() == [[1, 1, 1]]


def test_a_custom_step_may_refuse_a_request():
    chain = pipeline({}, custom=lambda tensors: _raise(InvalidRequestError("Not today.")))
    with pytest.raises(InvalidRequestError, match="Not today"):
        chain.apply({"x": np.ones((1, 3), np.float32)})
