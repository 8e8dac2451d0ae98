"""Tokenizing with a small tokenizer trained here: against the library's own truncation and padding."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPreprocessingError, ModelFailedError, RuntimeMissingError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.pipelines import PreprocessingOptions, PreprocessingPipeline
from tensorhost.pipelines.text import TextEncoder

TEXTS = ["the cat sat", "a dog", "the dog sat on the cat and the mat"]


@pytest.fixture(scope="module")
def tokenizer_json():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str()


@pytest.fixture
def folder(tmp_path, tokenizer_json):
    model = tmp_path / "model"
    model.mkdir()
    (model / "tokenizer.json").write_text(tokenizer_json)
    (tmp_path / "outside.json").write_text(tokenizer_json)
    return model


def spec(name, dtype=DType.INT64, shape=(None, None)):
    return TensorSpec(name, dtype, shape)


def bert(length=None, dtype=DType.INT64):
    names = ("input_ids", "attention_mask", "token_type_ids")
    return Signature("s", {name: spec(name, dtype, (None, length)) for name in names}, {})


def build(folder, table=None, signature=None):
    options = PreprocessingOptions.from_model({"tokenize": table or {}})
    return PreprocessingPipeline(options, signature or bert(), folder=folder)


def texts(*values):
    array = np.empty(len(values), object)
    array[:] = [value.encode() if isinstance(value, str) else value for value in values]
    return {"text": array}


def reference(tokenizer_json, length=None, pad=True):
    tokenizer = Tokenizer.from_str(tokenizer_json)
    if length:
        tokenizer.enable_truncation(length)
    if pad:
        tokenizer.enable_padding(pad_id=0, length=length)
    return tokenizer.encode_batch(TEXTS)


def test_one_input_of_texts_replaces_ids_mask_and_type_ids(folder, tokenizer_json):
    chain = build(folder)
    assert chain.wire_specs == {"text": TensorSpec("text", DType.STRING, (None,))}
    made = chain.apply(texts(*TEXTS))
    expected = reference(tokenizer_json)
    assert list(made) == ["input_ids", "attention_mask", "token_type_ids"]
    assert made["input_ids"].tolist() == [row.ids for row in expected]
    assert made["attention_mask"].tolist() == [row.attention_mask for row in expected]
    assert made["token_type_ids"].tolist() == [row.type_ids for row in expected]


@pytest.mark.parametrize("length", [2, 3, 5, 20])
def test_truncation_and_padding_agree_with_the_library(folder, tokenizer_json, length):
    made = build(folder, {"max_length": length, "truncation": True, "padding": "max_length"}).apply(texts(*TEXTS))
    assert made["input_ids"].tolist() == [row.ids for row in reference(tokenizer_json, length)]
    fixed = build(folder, {"truncation": True}, bert(length, DType.INT32)).apply(texts(*TEXTS))
    assert fixed["input_ids"].tolist() == made["input_ids"].tolist()
    assert fixed["input_ids"].dtype == np.int32


def test_long_texts_are_slow(folder):
    chain = build(folder)
    assert not chain.is_slow(texts("a dog"))
    assert chain.is_slow(texts("a" * 3000, "b" * 3000))
    assert not chain.is_slow({"unknown": np.ones(1)})


def test_a_request_may_shorten(folder):
    base = build(folder, {"max_length": 6, "truncation": True})
    assert base.apply(texts(*TEXTS))["input_ids"].shape == (3, 6)
    assert base.overridden({"tokenize": {"maxLength": 4}}).apply(texts(*TEXTS))["input_ids"].shape == (3, 4)
    assert base.apply(texts(*TEXTS))["input_ids"].shape == (3, 6)


def test_a_request_may_send_ids_itself(folder):
    chain = build(folder).overridden({"tokenize": False})
    assert list(chain.wire_specs) == ["input_ids", "attention_mask", "token_type_ids"]


def test_nothing_is_cut_silently(folder):
    with pytest.raises(InvalidPreprocessingError, match=r"Text 1 has \d+ tokens, more than 5; .*truncation"):
        build(folder, {"max_length": 5}).apply(texts("a dog", TEXTS[2]))
    with pytest.raises(InvalidPreprocessingError, match="more than 1"):
        build(folder, {"max_length": 1, "truncation": True}).apply(texts("a dog"))


def test_without_padding_lengths_must_agree(folder):
    chain = build(folder, {"padding": False})
    assert chain.apply(texts("the cat", "the dog"))["input_ids"].shape == (2, 4)
    with pytest.raises(InvalidPreprocessingError, match=r"tokenize\.padding' is false"):
        chain.apply(texts("the cat", "the"))


@pytest.mark.parametrize(("length", "width"), [(None, 0), (7, 7)])
def test_no_texts_make_an_empty_batch(folder, length, width):
    assert build(folder, {}, bert(length)).apply(texts())["input_ids"].shape == (0, width)


def test_what_is_no_utf8_is_refused_by_row(folder):
    with pytest.raises(InvalidPreprocessingError, match="Row 1 of input 'text' is not UTF-8"):
        build(folder).apply(texts("a", b"\xff"))
    with pytest.raises(InvalidPreprocessingError, match="Row 0"):
        build(folder).apply(texts(7))
    with pytest.raises(InvalidPreprocessingError, match="takes a list of texts"):
        build(folder).apply({"text": np.array([[b"a"]], object)})


def test_inputs_are_found_by_the_names_given(folder):
    inputs = {"words": spec("words", DType.FLOAT32), "on": spec("on", DType.BOOL), "x": spec("x", DType.FLOAT32)}
    table = {"ids_input": "words", "mask_input": "on", "text_input": "words"}
    options = PreprocessingOptions.from_model({"tokenize": table, "scale": 2})
    chain = PreprocessingPipeline(options, Signature("s", inputs, {}), folder=folder)
    assert list(chain.wire_specs) == ["words", "x"]
    made = chain.apply({"words": texts("a dog")["text"], "x": np.ones((1, 2), np.float32)})
    assert made["words"].dtype == np.float32
    assert (made["words"] == np.round(made["words"])).all()
    assert made["on"].all()
    assert made["x"].tolist() == [[0.5, 0.5]]


def test_a_single_input_needs_no_name(folder):
    chain = build(folder, {}, Signature("s", {"dense_input": spec("dense_input")}, {}))
    assert list(chain.apply(texts("a"))) == ["dense_input"]


@pytest.mark.parametrize(
    ("table", "signature", "told"),
    [
        ({"ids_input": "nope"}, None, r"ids_input' is 'nope', but the model's inputs are 'input_ids'"),
        ({"mask_input": "nope"}, None, r"mask_input' is 'nope'"),
        ({"mask_input": "input_ids"}, None, "one input for two purposes"),
        ({"max_length": 9}, bert(8), r"maxLength' is 9, but the model takes 8"),
        ({"padding": "max_length"}, None, "neither maxLength nor the model fixes a length"),
        ({}, Signature("s", {"a": spec("a"), "b": spec("b")}, {}), "ids_input' must name"),
        ({}, Signature("s", {"a": spec("a", DType.STRING)}, {}), "takes string"),
        ({}, Signature("s", {"a": spec("a", shape=(None,))}, {}), r"of shape \[\?\]"),
        ({"text_input": "x"}, Signature("s", {"input_ids": spec("input_ids"), "x": spec("x")}, {}), "another input"),
    ],
)
def test_a_table_that_does_not_fit_the_model_is_refused_at_once(folder, table, signature, told):
    with pytest.raises(InvalidPreprocessingError, match=told):
        build(folder, table, signature)


@pytest.mark.parametrize("file", ["../outside.json", "missing.json", ".", "link.json", "a\0b", "absolute"])
def test_no_file_outside_the_folder_is_read(folder, file):
    (folder / "link.json").symlink_to(folder.parent / "outside.json")
    name = str(folder.parent / "outside.json") if file == "absolute" else file
    with pytest.raises(InvalidPreprocessingError, match=r"tokenize\.file' must name a file") as caught:
        build(folder, {"file": name})
    assert str(folder.parent) not in caught.value.message


def test_a_broken_tokenizer_fails_the_model(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFailedError, match="tokenizer file cannot be read") as caught:
        build(folder)
    assert caught.value.log_detail


def test_without_a_folder_there_is_no_tokenizer():
    with pytest.raises(InvalidPreprocessingError, match="needs a tokenizer file"):
        build(None)


def test_a_missing_package_names_its_extra(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(RuntimeMissingError, match=r"tensorhost\[text\]"):
        build(folder)


def test_the_files_own_padding_decides_side_and_filler(tokenizer_json):
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_padding(direction="left", pad_id=7, pad_type_id=5)
    tokenizer.enable_truncation(3, direction="left")
    expected = [row.ids for row in Tokenizer.from_str(tokenizer.to_str()).encode_batch(TEXTS)]
    options = PreprocessingOptions.from_model({"tokenize": {"max_length": 3, "truncation": True}})
    chain = PreprocessingPipeline(options, bert(), tokenizer=TextEncoder(tokenizer))
    assert chain.apply(texts(*TEXTS))["input_ids"].tolist() == expected
    loose = chain.overridden({"tokenize": {"maxLength": 3, "truncation": False}}).apply(texts("", "a"))
    assert loose["input_ids"][0, 0] == 7
    assert loose["token_type_ids"][0, 0] == 5
    assert loose["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]


def test_padding_one_long_text_cannot_take_all_memory(tokenizer_json):
    options = PreprocessingOptions.from_model({"tokenize": {}})
    encoder = TextEncoder(Tokenizer.from_str(tokenizer_json))
    chain = PreprocessingPipeline(options, bert(), tokenizer=encoder, max_elements=50)
    assert json.loads(tokenizer_json)["padding"] is None
    with pytest.raises(InvalidPreprocessingError, match="more than 50 elements"):
        chain.apply(texts("a " * 40, "a"))
