"""Options: every key, every wrong value, contradictions, and how a request overrides the model's defaults."""

import math

import pytest

from tensorhost.core.errors import InvalidPostprocessingError, InvalidPreprocessingError
from tensorhost.pipelines import PostprocessingOptions, PreprocessingOptions
from tensorhost.pipelines.options import MAX_TOKENS, ResizeOptions, TokenizeOptions

NUMBER_FAULTS = [True, False, "1", math.nan, math.inf, -math.inf, 10**400, [], {}, [[1.0]]]


def test_reads_every_key_a_request_may_hold():
    options = PreprocessingOptions.from_request(
        {
            "decode": True,
            "resize": {"width": 4, "height": 5, "method": "bicubic"},
            "colour": "bgr",
            "scale": 255,
            "normalize": True,
            "mean": [0.5, 1],
            "std": 2,
        }
    )
    assert options == PreprocessingOptions(
        decode=True,
        resize=ResizeOptions(4, 5, "bicubic"),
        colour="bgr",
        scale=255.0,
        normalize=True,
        mean=(0.5, 1.0),
        std=(2.0,),
    )
    assert isinstance(options.scale, float)
    assert hash(options) == hash(PreprocessingOptions.from_request({"std": 2}, options))


def test_reads_every_postprocessing_key():
    raw = {"softmax": True, "argmax": False, "threshold": 0, "topK": 3, "round": 2}
    expected = PostprocessingOptions(softmax=True, threshold=0.0, top_k=3, round_digits=2)
    assert PostprocessingOptions.from_request(raw) == expected
    assert PostprocessingOptions.from_request({"sigmoid": True, "round": True}) == PostprocessingOptions(
        sigmoid=True, round_digits=0
    )
    assert PostprocessingOptions.from_request({"round": False}) == PostprocessingOptions()


@pytest.mark.parametrize("raw", [[], "x", 3, True])
def test_options_that_are_no_object_are_refused(raw):
    with pytest.raises(InvalidPreprocessingError, match=r"'preprocessing' must be an object, not"):
        PreprocessingOptions.from_request(raw)
    with pytest.raises(InvalidPostprocessingError, match=r"'postprocessing' must be an object, not"):
        PostprocessingOptions.from_request(raw)


@pytest.mark.parametrize("key", ["scale", "mean", "std"])
@pytest.mark.parametrize("value", NUMBER_FAULTS)
def test_what_is_no_finite_number_is_refused(key, value):
    with pytest.raises(InvalidPreprocessingError, match=rf"'preprocessing\.{key}' must be") as caught:
        PreprocessingOptions.from_request({key: value})
    assert caught.value.details["field"] == f"preprocessing.{key}"


@pytest.mark.parametrize("value", [0, 0.0, -0.0])
@pytest.mark.parametrize("key", ["scale", "std"])
def test_zero_divides_nothing(key, value):
    with pytest.raises(InvalidPreprocessingError, match="other than 0"):
        PreprocessingOptions.from_request({key: value})
    with pytest.raises(InvalidPreprocessingError, match=r"preprocessing\.std"):
        PreprocessingOptions.from_request({"std": [1, value]})


@pytest.mark.parametrize("item", [True, None, "1", math.nan])
def test_each_item_of_a_list_is_checked(item):
    with pytest.raises(InvalidPreprocessingError, match=r"'preprocessing\.mean' must be a finite number or"):
        PreprocessingOptions.from_request({"mean": [1.0, item]})


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"normalise": True}, "preprocessing.normalise"),
        ({"normalize": 1}, "preprocessing.normalize"),
        ({"decode": "yes"}, "preprocessing.decode"),
        ({"colour": "cmyk"}, "preprocessing.colour"),
        ({"resize": 3}, "preprocessing.resize"),
        ({"resize": {"width": 0}}, "preprocessing.resize.width"),
        ({"resize": {"width": True}}, "preprocessing.resize.width"),
        ({"resize": {"height": 2.0}}, "preprocessing.resize.height"),
        ({"resize": {"height": 10**9}}, "preprocessing.resize.height"),
        ({"resize": {"method": "magic"}}, "preprocessing.resize.method"),
        ({"resize": {"depth": 1}}, "preprocessing.resize.depth"),
        ({"tokenize": True}, "preprocessing.tokenize"),
        ({"tokenize": {"maxLength": 3}}, "preprocessing.tokenize"),
        ({"normalize": False, "mean": 1}, "preprocessing.mean"),
        ({"normalize": False, "scale": 2.0}, "preprocessing.scale"),
        ({3: 1}, "preprocessing.3"),
    ],
)
def test_the_error_names_the_full_path(raw, field):
    with pytest.raises(InvalidPreprocessingError) as caught:
        PreprocessingOptions.from_request(raw)
    assert caught.value.details["field"] == field
    assert f"'{field}'" in caught.value.message


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"softMax": True}, "postprocessing.softMax"),
        ({"softmax": 1}, "postprocessing.softmax"),
        ({"sigmoid": "true"}, "postprocessing.sigmoid"),
        ({"threshold": True}, "postprocessing.threshold"),
        ({"threshold": math.nan}, "postprocessing.threshold"),
        ({"topK": 0}, "postprocessing.topK"),
        ({"topK": True}, "postprocessing.topK"),
        ({"topK": 2.0}, "postprocessing.topK"),
        ({"top_k": 2}, "postprocessing.top_k"),
        ({"round": -1}, "postprocessing.round"),
        ({"round": 16}, "postprocessing.round"),
        ({"round": 1.5}, "postprocessing.round"),
        ({"softmax": True, "sigmoid": True}, "postprocessing.softmax"),
        ({"argmax": True, "topK": 1}, "postprocessing.argmax"),
        ({"argmax": True, "threshold": 0.0}, "postprocessing.argmax"),
    ],
)
def test_postprocessing_errors_name_the_full_path(raw, field):
    with pytest.raises(InvalidPostprocessingError) as caught:
        PostprocessingOptions.from_request(raw)
    assert caught.value.details["field"] == field


def test_the_path_can_say_where_in_a_batch():
    with pytest.raises(InvalidPreprocessingError, match=r"'batch\[2\]\.preprocessing\.scale'"):
        PreprocessingOptions.from_request({"scale": 0}, path="batch[2].preprocessing")


@pytest.mark.parametrize("value", ["os:system", None, 3])
def test_a_request_names_no_code(value):
    for kind, error in (
        (PreprocessingOptions, InvalidPreprocessingError),
        (PostprocessingOptions, InvalidPostprocessingError),
    ):
        with pytest.raises(error, match=r"entry_point' is set in the model's model\.toml"):
            kind.from_request({"entry_point": value})


@pytest.mark.parametrize("key", ["file", "text_input", "ids_input", "mask_input", "type_ids_input"])
@pytest.mark.parametrize("value", ["../secret", None])
def test_a_request_names_no_file_and_no_inputs(key, value):
    defaults = PreprocessingOptions.from_model({"tokenize": {"file": "t.json"}})
    with pytest.raises(InvalidPreprocessingError, match=rf"'preprocessing\.tokenize\.{key}' is set in"):
        PreprocessingOptions.from_request({"tokenize": {key: value}}, defaults)


def test_model_toml_names_code_and_files_in_its_own_spelling():
    table = {"entry_point": "a.b:run", "tokenize": {"file": "t.json", "ids_input": "ids", "max_length": 9}}
    options = PreprocessingOptions.from_model(table)
    assert options.entry_point == "a.b:run"
    assert options.tokenize == TokenizeOptions(file="t.json", ids_input="ids", max_length=9)
    assert PreprocessingOptions.from_model({"tokenize": True}).tokenize == TokenizeOptions()
    assert PreprocessingOptions.from_model({"tokenize": False}).tokenize is None
    assert PostprocessingOptions.from_model({"top_k": 2, "entry_point": "a:b"}).top_k == 2


@pytest.mark.parametrize("value", ["module", "module:", ":run", "a b:run", "a:b:c", "a..b:c", "a:b.c", 3, True])
def test_an_entry_point_has_one_form(value):
    with pytest.raises(InvalidPreprocessingError, match="'module:function'"):
        PreprocessingOptions.from_model({"entry_point": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("padding", "left"), ("padding", 1), ("truncation", 1), ("maxLength", 0), ("max_length", MAX_TOKENS + 1)],
)
def test_wrong_tokenize_values(key, value):
    with pytest.raises(InvalidPreprocessingError, match=rf"'preprocessing\.tokenize\.{key}' must be"):
        PreprocessingOptions.from_model({"tokenize": {key: value}})


def test_a_request_overrides_key_by_key():
    defaults = PreprocessingOptions.from_model({"scale": 2.0, "mean": 1.0, "resize": {"width": 3, "height": 4}})
    options = PreprocessingOptions.from_request({"scale": 4, "resize": {"height": 9}}, defaults)
    assert (options.scale, options.mean) == (4.0, (1.0,))
    assert options.resize == ResizeOptions(width=3, height=9)


def test_null_switches_a_default_off():
    defaults = PreprocessingOptions.from_model(
        {"scale": 2.0, "resize": {"width": 3, "height": 4}, "colour": "gray", "tokenize": {"max_length": 5}}
    )
    options = PreprocessingOptions.from_request(
        {"scale": None, "resize": {"width": None}, "colour": None, "tokenize": None}, defaults
    )
    assert options == PreprocessingOptions(resize=ResizeOptions(height=4))
    post = PostprocessingOptions.from_model({"softmax": True, "topK": 3, "threshold": 0.5, "round": 1})
    nulls = {"softmax": None, "topK": None, "threshold": None, "round": None}
    assert PostprocessingOptions.from_request(nulls, post) == PostprocessingOptions()


def test_an_override_may_contradict_the_defaults():
    defaults = PostprocessingOptions.from_model({"topK": 3})
    with pytest.raises(InvalidPostprocessingError, match="null switches"):
        PostprocessingOptions.from_request({"argmax": True}, defaults)
    assert PostprocessingOptions.from_request({"argmax": True, "topK": None}, defaults).argmax


def test_tokenize_is_overridden_within_the_models_limit():
    defaults = PreprocessingOptions.from_model({"tokenize": {"max_length": 8, "truncation": True}})
    shorter = PreprocessingOptions.from_request({"tokenize": {"maxLength": 4, "padding": False}}, defaults)
    assert shorter.tokenize == TokenizeOptions(max_length=4, truncation=True, padding="none")
    assert PreprocessingOptions.from_request({"tokenize": True}, defaults) == defaults
    assert PreprocessingOptions.from_request({"tokenize": False}, defaults).tokenize is None
    for longer in (9, None):
        with pytest.raises(InvalidPreprocessingError, match=r"tokenize\.maxLength' must be at most the model's 8"):
            PreprocessingOptions.from_request({"tokenize": {"maxLength": longer}}, defaults)


def test_normalize_false_drops_the_models_normalisation():
    defaults = PreprocessingOptions.from_model({"scale": 2.0, "mean": 1.0, "std": 3.0, "colour": "gray"})
    assert PreprocessingOptions.from_request({"normalize": False}, defaults) == PreprocessingOptions(colour="gray")
    assert PreprocessingOptions.from_request({"normalize": False, "mean": None}, defaults).std is None


@pytest.mark.parametrize(
    ("raw", "min_max", "numeric"),
    [
        ({}, False, False),
        ({"normalize": True}, True, True),
        ({"normalize": True, "scale": 2}, False, True),
        ({"normalize": True, "mean": 2}, False, True),
        ({"normalize": True, "std": 2}, False, True),
        ({"mean": 2}, False, True),
        ({"normalize": False}, False, False),
    ],
)
def test_normalize_alone_is_min_max(raw, min_max, numeric):
    options = PreprocessingOptions.from_request(raw)
    assert (options.min_max, options.has_numeric_steps) == (min_max, numeric)


def test_messages_show_what_came_without_its_python_type():
    shown = {
        None: "a finite number or a non-empty list of them, not null",
        "a" * 99: "not text '" + "a" * 40 + "'",
        2**70: None,
    }
    with pytest.raises(InvalidPreprocessingError) as caught:
        PreprocessingOptions.from_request({"mean": [None]})
    assert shown[None] in caught.value.message
    with pytest.raises(InvalidPreprocessingError) as caught:
        PreprocessingOptions.from_request({"mean": "a" * 99})
    assert caught.value.message.endswith(shown["a" * 99] + ".")
    with pytest.raises(InvalidPreprocessingError, match="an integer of more than 64 bits"):
        PreprocessingOptions.from_request({"resize": {"width": 2**70}})
    with pytest.raises(InvalidPreprocessingError, match="something else"):
        PreprocessingOptions.from_model({"scale": object()})
