"""What the server answers, against numpy and against TensorFlow called directly on the same SavedModel."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from native_models import BIAS, WEIGHTS, WORDS
from native_server import b64
from PIL import Image

from tensorhost.demo import samples

X = np.array([[1.0, 2.0, 3.0], [-4.0, 0.5, 6.0], [7.0, 7.0, 7.0]], np.float32)


def linear(x):
    return np.asarray(x, np.float64) @ WEIGHTS.astype(np.float64) + BIAS


def softmax(x):
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def close(answer, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(np.asarray(answer["predictions"], np.float64), expected, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def direct(tf, repository):
    """Call a signature of a model of the repository with TensorFlow itself."""
    loaded = {}

    def call(model, version="1", signature="serving_default", **inputs):
        key = (model, version)
        if key not in loaded:
            loaded[key] = tf.saved_model.load(str(repository / model / version))
        outputs = loaded[key].signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return call


# -- against TensorFlow -----------------------------------------------------------------------------------------------


def test_one_input_one_output(server, direct):
    close(server.predict("linear", X.tolist()), direct("linear", x=X)["y"])


def test_one_input_by_name(server, direct):
    close(server.predict("linear", {"x": X.tolist()}), direct("linear", x=X)["y"])


def test_several_inputs_and_outputs_by_name(server, direct):
    a, b = X[:, :2], X[:, 1:]
    answer = server.predict("pair", {"b": b.tolist(), "a": a.tolist()})["predictions"]
    expected = direct("pair", a=a, b=b)
    assert set(answer) == {"sum", "product"}
    for name in answer:
        np.testing.assert_allclose(answer[name], expected[name], rtol=1e-5)


def test_another_signature(server):
    assert server.predict("pair", [[1, -2]], signatureName="negate")["predictions"] == [[-1.0, 2.0]]


def test_unknown_dimensions(server, direct):
    for x in ([[1.0, 2.0, 3.0, 4.0]], [[0.5], [0.25]]):
        close(server.predict("shapes", x), direct("shapes", x=np.array(x, np.float32))["sums"])


@pytest.mark.parametrize("x", [1.5, [1.5], [[1.5, 2.5]], [[[[1.5]]]]])
def test_any_rank(server, x):
    assert server.predict("shapes", x, signatureName="any_rank")["predictions"] == (np.array(x) * 2).tolist()


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_demo_digits(server, direct, version):
    images = np.array([sample["input"] for sample in samples()["digits"]], np.float32)
    (scores,) = direct("digits", version, **{_input_name(server, "digits"): images / np.float32(16)}).values()
    answer = server.predict("digits", images.tolist(), modelVersion=version, postprocessing={"topK": None})
    close(answer, scores)
    assert answer["modelVersion"] == version
    best = server.predict("digits", images.tolist(), modelVersion=version, postprocessing={"topK": 2})["predictions"]
    for entries, row in zip(best, scores, strict=True):
        order = np.argsort(-row)[:2]
        assert [entry["index"] for entry in entries] == order.tolist()
        assert [entry["label"] for entry in entries] == [str(index) for index in order]
        np.testing.assert_allclose([entry["score"] for entry in entries], row[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["digits", "wine"])
def test_the_demo_samples_get_their_labels(server, model):
    chosen = samples()[model]
    answer = server.predict(model, [sample["input"] for sample in chosen], postprocessing={"topK": 1})
    assert [row[0]["label"] for row in answer["predictions"]] == [sample["expected"] for sample in chosen]


def test_the_demo_texts_get_their_languages(server):
    chosen = samples()["langid"]
    answer = server.predict("langid", [sample["input"] for sample in chosen])["predictions"]
    assert answer["language"] == [sample["expected"] for sample in chosen]


def test_labels_choose_versions(server):
    image = [samples()["digits"][0]["input"]]
    assert server.predict("digits", image)["modelVersion"] == "2"
    assert server.predict("digits", image, modelVersion="stable")["modelVersion"] == "2"
    assert server.predict("digits", image, modelVersion="baseline")["modelVersion"] == "1"


def _input_name(server, model):
    return server.get(f"/models/{model}").json["inputs"][0]["name"]


# -- dtypes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("bool", [True, False, True]),
        ("uint8", [0, 1, 255]),
        ("int8", [-128, 0, 127]),
        ("int32", [-(2**31), 0, 2**31 - 1]),
        ("int64", [-(2**63), -(2**53) - 1, 2**53 + 1, 2**63 - 1]),
        ("float16", [0.5, -1.25, 65504.0]),
        ("bfloat16", [0.5, -1.25, 256.0]),
        ("float32", [0.1, -1e30, 16777216.0]),
        ("float64", [0.1, 1e300, 5e-324, 0.30000000000000004]),
    ],
)
def test_every_dtype_passes_unchanged(server, dtype, values):
    answer = server.request("POST", "/predict", {"modelName": "echo", "signatureName": dtype, "inputs": values})
    assert answer.status == 200, answer.body
    returned = answer.json["predictions"]
    assert [type(value) for value in returned] == [type(value) for value in values]
    if dtype == "float32":
        assert np.array(returned, np.float32).tolist() == np.array(values, np.float32).tolist()
        assert b"0.1," in answer.body
    else:
        assert returned == values


def test_whole_numbers_in_any_spelling_are_integers(server):
    body = b'{"modelName":"echo","signatureName":"int32","inputs":[3.0, 3e0, 30E-1, -0.0]}'
    assert server.request("POST", "/predict", body).json["predictions"] == [3, 3, 3, 0]


def test_strings_and_bytes(server):
    inputs = ["", 'añ\n"x"', "日本", b64(b"plain"), b64(b"\xff\x00")]
    expected = ["", 'añ\n"x"' * 2, "日本日本", "plainplain", b64(b"\xff\x00\xff\x00")]
    assert server.predict("echo", inputs)["predictions"] == expected


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        ("linear", [], []),
        ("echo", [], []),
        ("shapes", [], []),
        ("pair", {"a": [], "b": []}, {"sum": [], "product": []}),
        ("fragile", [], []),
        ("custom", [], {"y": [], "sum": []}),
    ],
)
def test_no_rows_are_answered_with_no_rows(server, model, inputs, expected):
    assert server.predict(model, inputs)["predictions"] == expected


def test_what_json_cannot_carry_becomes_null(server):
    answer = server.predict("shapes", [[3e38, 3e38], [1.0, 1.0]])
    assert answer["predictions"] == [None, 2.0]


# -- preprocessing ----------------------------------------------------------------------------------------------------

MEAN, STD = [1.0, 2.0, 3.0], [2.0, 4.0, 8.0]
LOW, HIGH = X.min(axis=1, keepdims=True), X.max(axis=1, keepdims=True)
MIN_MAX = (X - LOW) / np.where(HIGH > LOW, HIGH - LOW, 1)


@pytest.mark.parametrize(
    ("options", "prepared"),
    [
        ({}, X),
        ({"scale": 255.0}, X / 255),
        ({"normalize": True}, MIN_MAX),
        ({"normalize": False}, X),
        ({"mean": MEAN}, X - MEAN),
        ({"mean": [0.5], "std": [0.25]}, (X - 0.5) / 0.25),
        ({"mean": MEAN, "std": STD}, (X - MEAN) / STD),
        ({"normalize": True, "scale": 255.0, "mean": MEAN, "std": STD}, (X / 255 - MEAN) / STD),
        ({"std": STD, "mean": MEAN, "scale": 10}, (X / 10 - MEAN) / STD),
    ],
)
def test_numeric_preprocessing(server, options, prepared):
    close(server.predict("linear", X.tolist(), preprocessing=options), linear(prepared))


def test_a_constant_example_becomes_zero(server):
    close(server.predict("linear", [[7, 7, 7]], preprocessing={"normalize": True}), linear([[0, 0, 0]]))


def test_defaults_of_the_model_are_overridden_key_by_key(server):
    image = np.array([samples()["digits"][3]["input"]])
    plain = server.predict("digits", image.tolist(), postprocessing={"topK": None})
    scaled = server.predict("digits", (image / 16).tolist(), preprocessing={"scale": 1}, postprocessing={"topK": None})
    np.testing.assert_allclose(plain["predictions"], scaled["predictions"], rtol=1e-5, atol=1e-6)


def test_tokens(server):
    answer = server.predict("tokens", {"text": ["The cat sat", "the dog sat on the mat"]})["predictions"]
    ids = [
        [WORDS["the"], WORDS["cat"], WORDS["sat"], 0, 0, 0],
        [WORDS["the"], WORDS["[UNK]"], WORDS["sat"], WORDS["on"], WORDS["the"], WORDS["mat"]],
    ]
    assert answer == {"ids": ids, "known": [sum(row) for row in ids]}
    short = server.predict("tokens", ["the cat sat"], preprocessing={"tokenize": {"maxLength": 2, "truncation": True}})
    assert short["predictions"]["ids"] == [[WORDS["the"], WORDS["cat"]]]
    error = server.refuse("tokens", ["the cat sat on the mat the cat"])
    assert error["code"] == "INVALID_PREPROCESSING"
    assert server.refuse("tokens", ["the"], preprocessing={"tokenize": {"maxLength": 7}})["code"] == error["code"]


def test_custom_steps(server):
    answer = server.predict("custom", [[1, 2], [3, 4]])["predictions"]
    assert answer == {"y": [[3.0, 5.0], [7.0, 9.0]], "sum": [8.0, 16.0]}


# -- postprocessing ---------------------------------------------------------------------------------------------------

Y = linear(X)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"softmax": True}, softmax(Y)),
        ({"sigmoid": True}, 1 / (1 + np.exp(-Y))),
        ({"argmax": True}, Y.argmax(axis=-1)),
        ({"threshold": 0.5}, np.where(Y < 0.5, 0, Y)),
        ({"softmax": True, "threshold": 0.3}, np.where(softmax(Y) < 0.3, 0, softmax(Y))),
        ({"round": 1}, np.round(Y.astype(np.float32), 1)),
        ({"round": True}, np.round(Y)),
        ({"softmax": True, "argmax": True}, Y.argmax(axis=-1)),
    ],
)
def test_postprocessing(server, options, expected):
    close(server.predict("linear", X.tolist(), postprocessing=options), expected)


def test_softmax_of_large_numbers_is_finite(server):
    answer = server.predict("linear", [[1e4, 0, 0], [-1e4, 0, 0]], postprocessing={"softmax": True})
    np.testing.assert_allclose(np.sum(answer["predictions"], axis=1), 1, rtol=1e-5)


def test_top_k_without_labels(server):
    answer = server.predict("linear", X.tolist(), postprocessing={"softmax": True, "topK": 2})["predictions"]
    for entries, row in zip(answer, softmax(Y), strict=True):
        order = np.argsort(-row)[:2]
        assert [entry["index"] for entry in entries] == order.tolist()
        np.testing.assert_allclose([entry["score"] for entry in entries], row[order], rtol=1e-5)


def test_threshold_with_labels_drops_entries(server):
    image = [samples()["digits"][5]["input"]]
    (entries,) = server.predict("digits", image, postprocessing={"topK": None, "threshold": 0.5})["predictions"]
    assert [entry["label"] for entry in entries] == ["5"]
    (none,) = server.predict("digits", image, postprocessing={"topK": None, "threshold": 2})["predictions"]
    assert none == []


# -- images -----------------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(5).integers(0, 256, (4, 6, 3), np.uint8)


def encoded(file_format, pixels=PIXELS, **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, file_format, **options)
    return out.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_images_of_every_format(server, file_format):
    data = encoded(file_format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    answer = server.predict("image", [b64(data), b64(data)])
    assert np.abs(np.array(answer["predictions"]) - expected[None]).max() <= 1


def test_images_are_prepared_in_the_order_of_the_steps(server):
    answer = server.predict(
        "image",
        [b64(encoded("PNG"))],
        preprocessing={"colour": "bgr", "scale": 255, "mean": [0.1, 0.2, 0.3], "std": [2]},
    )
    expected = (PIXELS[..., ::-1].astype(np.float32) / 255 - np.array([0.1, 0.2, 0.3])) / 2
    close(answer, expected[None], atol=1e-6)


def test_images_are_resized_to_the_signature_or_as_asked(server):
    large = np.repeat(np.repeat(PIXELS, 3, axis=0), 3, axis=1)
    answer = server.predict("image", [b64(encoded("PNG", large))], preprocessing={"resize": {"method": "nearest"}})
    close(answer, PIXELS[None])
    asked = server.predict(
        "image",
        [b64(encoded("PNG"))],
        signatureName="raw",
        preprocessing={"resize": {"width": 12, "height": 8, "method": "nearest"}},
    )
    close(asked, np.repeat(np.repeat(PIXELS, 2, axis=0), 2, axis=1)[None])


def test_raw_pixels_keep_their_size(server):
    close(server.predict("image", PIXELS[None].tolist(), signatureName="raw"), PIXELS[None])
    close(server.predict("image", [b64(encoded("PNG"))], signatureName="raw"), PIXELS[None])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no image", "INVALID_INPUT_TYPE"),
        (encoded("PNG")[:60], "INVALID_INPUT_TYPE"),
        (encoded("TIFF"), "INVALID_INPUT_TYPE"),
        (b"", "INVALID_INPUT_TYPE"),
    ],
)
def test_images_that_cannot_be_read_are_refused(server, data, code):
    error = server.refuse("image", [b64(data)])
    assert error["code"] == code, error
    assert "'image'" in error["message"]


def test_an_image_that_claims_a_huge_size_is_refused_before_it_is_decoded(server):
    data = encoded("PNG")
    head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    claimed = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    answer = server.request("POST", "/predict", {"modelName": "image", "inputs": [b64(claimed)]})
    assert answer.status in (400, 413)
    assert answer.error["code"] in ("PAYLOAD_TOO_LARGE", "INVALID_INPUT_TYPE", "INVALID_PREPROCESSING")


def test_an_image_for_a_model_that_takes_none(server):
    assert server.refuse("linear", [b64(encoded("PNG"))])["code"] == "INVALID_INPUT_TYPE"


def test_numbers_are_written_with_their_own_precision(server):
    body = server.request("POST", "/predict", {"modelName": "linear", "inputs": [[1, 2, 3]]}).body
    assert b"[[0.1,3.05,6.3,-2.4]]" in body
    assert json.loads(body)["predictions"][0][0] == 0.1
