"""Images: layouts, decoding into a signature's shape and dtype, resizing numbers against Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputShapeError, InvalidInputTypeError, InvalidPreprocessingError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.pipelines import PreprocessingOptions, PreprocessingPipeline
from tensorhost.pipelines.images import image_layout

RED, BLUE = (250, 0, 10), (0, 30, 240)


def png(colour=RED, size=(4, 3)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def boxed(*images):
    array = np.empty(len(images), object)
    array[:] = images
    return array


def scalar(image):
    array = np.empty((), object)
    array[()] = image
    return array


def pipeline(shape, raw=None, dtype=DType.FLOAT32, **kwargs):
    sig = Signature("s", {"x": TensorSpec("x", dtype, shape)}, {})
    return PreprocessingPipeline(PreprocessingOptions.from_model(raw or {}), sig, **kwargs)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((None, 8, 9, 3), (True, True, 8, 9, 3)),
        ((None, None, None, None), (True, True, None, None, None)),
        ((8, 9, 1), (False, True, 8, 9, 1)),
        ((None, 8, 9), (True, False, 8, 9, 1)),
        ((None, None, None), (True, False, None, None, 1)),
        ((None, 3, 8, 9), None),
        ((None, 8), None),
        ((), None),
        (None, None),
    ],
)
def test_layouts(shape, layout):
    found = image_layout(TensorSpec("x", DType.FLOAT32, shape))
    parts = found and (found.batched, found.has_channels, found.height, found.width, found.channels)
    assert parts == layout
    assert image_layout(TensorSpec("x", DType.STRING, shape)) is None


@pytest.mark.parametrize(
    ("dtype", "raw", "expected"),
    [(DType.UINT8, {}, 250), (DType.FLOAT32, {}, 250.0), (DType.FLOAT16, {"scale": 2}, 125)],
)
def test_decodes_to_the_signatures_shape_and_dtype(dtype, raw, expected):
    made = pipeline((None, 5, 6, 3), raw, dtype).apply({"x": boxed(png(), png(BLUE))})["x"]
    assert made.dtype == dtype.numpy
    assert made.shape == (2, 5, 6, 3)
    assert (made[0, ..., 0] == expected).all()
    assert (made[1, ..., 0] == 0).all()


def test_one_image_and_images_without_channels():
    assert pipeline((5, 6, 3)).apply({"x": scalar(png())})["x"].shape == (5, 6, 3)
    assert pipeline((None, 5, 6)).apply({"x": boxed(png())})["x"].shape == (1, 5, 6)
    assert pipeline((None, None, None, 3)).apply({"x": boxed(png())})["x"].shape == (1, 3, 4, 3)


@pytest.mark.parametrize(("colour", "first"), [("rgb", 250), ("bgr", 10), ("gray", 76)])
def test_colour_orders(colour, first):
    made = pipeline((None, 2, 2, 3), {"colour": colour}).apply({"x": boxed(png())})["x"]
    assert made[0, 0, 0, 0] == first
    if colour == "gray":
        assert (made == first).all()
        with_alpha = pipeline((None, 2, 2, 4), {"colour": "gray"}).apply({"x": boxed(png())})["x"]
        assert with_alpha[0, 0, 0].tolist() == [76, 76, 76, 255]


def test_images_of_different_sizes_need_a_resize():
    small, large = png(size=(2, 2)), png(size=(4, 4))
    with pytest.raises(InvalidPreprocessingError, match=r"differ in size.*preprocessing\.resize"):
        pipeline((None, None, None, 3)).apply({"x": boxed(small, large)})
    chain = pipeline((None, None, None, 3), {"resize": {"width": 3, "height": 2}})
    assert chain.apply({"x": boxed(small, large)})["x"].shape == (2, 2, 3, 3)


def test_a_resize_must_agree_with_the_signature():
    with pytest.raises(InvalidPreprocessingError, match=r"resize\.width' is 7, but the model takes 6"):
        pipeline((None, 5, 6, 3), {"resize": {"width": 7, "height": 5}})
    with pytest.raises(InvalidPreprocessingError, match=r"'preprocessing\.resize' fits no input"):
        pipeline((None, 5), {"resize": {"width": 7}})
    with pytest.raises(InvalidPreprocessingError, match=r"'preprocessing\.decode' fits no input"):
        pipeline((None, 5), {"decode": True})


def test_decode_can_be_demanded_or_refused():
    with pytest.raises(InvalidPreprocessingError, match="must come as encoded images"):
        pipeline((None, 5, 6, 3), {"decode": True}).apply({"x": np.ones((1, 5, 6, 3), np.float32)})
    empty = np.ones((0, 5, 6, 3), np.float32)
    assert pipeline((None, 5, 6, 3), {"decode": True}).apply({"x": empty})["x"].shape == (0, 5, 6, 3)
    with pytest.raises(InvalidPreprocessingError, match=r"'preprocessing\.decode' is false"):
        pipeline((None, 5, 6, 3), {"decode": False}).apply({"x": boxed(png())})


def test_what_is_no_image_is_refused_by_input_and_row():
    chain = pipeline((None, 5, 6, 3))
    with pytest.raises(InvalidInputTypeError, match="Image 1 of input 'x'") as caught:
        chain.apply({"x": boxed(png(), b"no image")})
    assert caught.value.details["row"] == 1
    with pytest.raises(InvalidInputTypeError, match="not text"):
        chain.apply({"x": boxed("text")})
    with pytest.raises(InvalidInputTypeError, match=r"takes float32 of shape \[\?, 5\], not images"):
        pipeline((None, 5)).apply({"x": boxed(png())})


@pytest.mark.parametrize(("shape", "images"), [((None, 5, 6, 3), scalar(png())), ((5, 6, 3), boxed(png()))])
def test_one_image_per_row(shape, images):
    with pytest.raises(InvalidInputShapeError, match="encoded images of shape"):
        pipeline(shape).apply({"x": images})
    with pytest.raises(InvalidInputShapeError, match=r"expected \[2\]"):
        pipeline((2, 5, 6, 3)).apply({"x": boxed(png())})


def test_no_images_make_an_empty_batch():
    assert pipeline((None, 5, 6, 3)).apply({"x": boxed()})["x"].shape == (0, 5, 6, 3)
    assert pipeline((None, 5, 6)).apply({"x": boxed()})["x"].shape == (0, 5, 6)


def test_sizes_are_checked_before_memory_is_taken():
    chain = pipeline((None, None, None, 3), {"resize": {"width": 16384, "height": 16384}})
    with pytest.raises(InvalidPreprocessingError, match="more than 134217728"):
        chain.apply({"x": boxed(png())})
    with pytest.raises(InvalidPreprocessingError, match="more than 134217728"):
        chain.apply({"x": np.ones((1, 2, 2, 3), np.float32)})
    with pytest.raises(InvalidPreprocessingError, match="would have 72 elements, more than 71"):
        pipeline((None, None, None, 3), max_elements=71).apply({"x": boxed(png(), png())})


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
def test_numbers_are_resized_as_pillow_does(method):
    x = np.random.default_rng(1).normal(size=(2, 7, 5, 3)).astype(np.float32)
    chain = pipeline((None, 4, 6, 3), {"resize": {"method": method}})
    assert chain.wire_specs["x"].shape == (None, None, None, 3)
    made = chain.apply({"x": x})["x"]
    resampling = getattr(Image.Resampling, method.upper())
    for row, channel in np.ndindex(2, 3):
        plane = Image.fromarray(x[row, :, :, channel].copy()).resize((6, 4), resampling)
        np.testing.assert_array_equal(made[row, :, :, channel], np.asarray(plane))


def test_numbers_of_the_right_size_are_not_touched_and_sides_left_open_stay():
    x = np.ones((1, 4, 6, 3), np.float32)
    assert pipeline((None, 4, 6, 3), {"resize": {}}).apply({"x": x})["x"] is x
    assert pipeline((None, None, None, 3), {"resize": {"width": 2}}).apply({"x": x})["x"].shape == (1, 4, 2, 3)
    assert pipeline((4, 2, 3), {"resize": {}}).apply({"x": x[0]})["x"].shape == (4, 2, 3)
    assert pipeline((None, 2, 2), {"resize": {}}).apply({"x": x[..., 0]})["x"].shape == (1, 2, 2)
    assert pipeline((None, 2, 2, 3), {"resize": {}}).apply({"x": x[:0]})["x"].shape == (0, 2, 2, 3)
    with pytest.raises(InvalidPreprocessingError, match="cannot resize"):
        pipeline((None, 4, 6, 3), {"resize": {}}).apply({"x": x[:, :0]})


def test_integers_come_out_of_a_resize_rounded_and_in_range():
    x = np.zeros((1, 1, 8, 1), np.uint8)
    x[..., 4:, :] = 255
    plane = np.asarray(Image.fromarray(x[0, :, :, 0].astype(np.float32)).resize((40, 1), Image.Resampling.LANCZOS))
    assert plane.min() < 0
    assert plane.max() > 255
    made = pipeline((None, 1, 40, 1), {"resize": {"method": "lanczos"}}, DType.UINT8).apply({"x": x})["x"]
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made[0, :, :, 0], np.clip(np.rint(plane), 0, 255))


def test_a_resized_integer_input_is_scaled_after_rounding():
    x = np.array([[[[0.0], [1.0], [2.0], [3.0]]]])
    made = pipeline((None, 1, 2, 1), {"resize": {"method": "box"}, "scale": 0.5}, DType.INT32).apply({"x": x})["x"]
    assert made.dtype == np.int32
    assert made.ravel().tolist() == [0, 4]


def test_channelless_inputs_are_images_only_where_nothing_else_is():
    inputs = {
        "pixels": TensorSpec("pixels", DType.FLOAT32, (None, 2, 2, 3)),
        "track": TensorSpec("track", DType.FLOAT32, (None, 10, 5)),
    }
    chain = PreprocessingPipeline(
        PreprocessingOptions.from_request({"resize": {"width": 2}, "decode": True}), Signature("s", inputs, {})
    )
    made = chain.apply({"pixels": boxed(png()), "track": np.ones((1, 10, 5), np.float32)})
    assert made["pixels"].shape == (1, 2, 2, 3)
    assert made["track"].shape == (1, 10, 5)
    assert chain.wire_specs["track"].shape == (None, 10, 5)
    assert chain.wire_specs["pixels"].shape == (None, None, None, 3)
