"""The shipped models do what the shipped figures say, on the same held-out examples, loaded with TensorFlow alone."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tensorhost.demo import demo_models_path, samples

MEASURED = json.loads((demo_models_path().parent / "measured.json").read_text(encoding="utf-8"))
VERSIONS = ["digits/1", "digits/2", "langid/1", "wine/1"]
TOLERANCE = 0.005
MAX_BYTES = 5_000_000


@pytest.fixture(scope="module")
def tf():
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def signatures(tf):
    """``call(model_version, batch) -> outputs`` for every shipped version, each loaded once."""
    import keras

    root = demo_models_path()
    loaded = {key: tf.saved_model.load(str(root / key)) for key in VERSIONS if not key.startswith("wine")}
    wine = keras.models.load_model(root / "wine" / "1" / "model.keras", safe_mode=True)

    def call(key, batch):
        if key == "wine/1":
            return {name: value.numpy() for name, value in wine({"features": np.asarray(batch, np.float32)}).items()}
        signature = loaded[key].signatures["serving_default"]
        (name, spec), *_ = signature.structured_input_signature[1].items()
        return {out: value.numpy() for out, value in signature(**{name: tf.constant(batch, spec.dtype)}).items()}

    call.loaded = loaded
    call.wine = wine
    return call


def config_of(model):
    return tomllib.loads((demo_models_path() / model / "model.toml").read_text(encoding="utf-8"))


def labels_of(model):
    config = config_of(model)
    if "labels_file" in config:
        return (demo_models_path() / model / config["labels_file"]).read_text(encoding="utf-8").splitlines()
    return config["labels"]


def batch_of(key, rows):
    """Rows as the model takes them: with its preprocessing applied."""
    if key.startswith("langid"):
        return list(rows)
    scale = config_of(key.partition("/")[0]).get("preprocessing", {}).get("scale", 1.0)
    return np.asarray(rows, np.float32) / scale


def answers(signatures, key, rows):
    best = np.argmax(signatures(key, batch_of(key, rows))["probabilities"], axis=-1)
    return [labels_of(key.partition("/")[0])[index] for index in best]


def held_out(key):
    """Inputs and true labels, from the training scripts' own split."""
    if key.startswith("langid"):
        from scripts.train_demo import translations

        phrases = translations.split()[1]
        return [phrase.text for phrase in phrases], [phrase.language for phrase in phrases]
    from scripts.train_demo import digits, wine

    _, _, rows, classes = (digits if key.startswith("digits") else wine).split()
    return rows, [labels_of(key.partition("/")[0])[index] for index in classes]


@pytest.mark.parametrize("key", VERSIONS)
def test_measured_again_on_the_held_out_examples_each_version_is_as_accurate_as_shipped(signatures, key):
    rows, expected = held_out(key)
    assert len(rows) == MEASURED[key]["held_out_examples"]
    accuracy = np.mean(np.equal(answers(signatures, key, rows), expected))
    assert accuracy >= MEASURED[key]["held_out_accuracy"] - TOLERANCE


def test_the_second_digits_version_is_measurably_better():
    assert MEASURED["digits/2"]["held_out_accuracy"] >= 0.99
    assert MEASURED["digits/2"]["held_out_accuracy"] > MEASURED["digits/1"]["held_out_accuracy"] + 0.01


@pytest.mark.parametrize("key", VERSIONS)
def test_samples_are_answered_rightly(signatures, key):
    chosen = samples()[key.partition("/")[0]]
    assert answers(signatures, key, [sample["input"] for sample in chosen]) == [s["expected"] for s in chosen]


def test_samples_come_from_the_held_out_examples():
    for key in ("digits/1", "langid/1", "wine/1"):
        rows, expected = held_out(key)
        pairs = {(json.dumps(np.asarray(row).tolist()), label) for row, label in zip(rows, expected, strict=True)}
        for sample in samples()[key.partition("/")[0]]:
            if key == "wine/1":  # measurements are rounded to four decimals
                assert np.isclose(rows, sample["input"], atol=1e-4).all(axis=1).any()
            else:
                row = np.asarray(sample["input"], None if key == "langid/1" else np.float32).tolist()
                assert (json.dumps(row), sample["expected"]) in pairs


def test_every_class_has_a_sample():
    assert [sample["expected"] for sample in samples()["digits"]] == labels_of("digits")
    assert [sample["expected"] for sample in samples()["wine"]] == labels_of("wine")
    assert len(samples()["langid"]) >= 20
    assert {sample["expected"] for sample in samples()["langid"]} <= set(labels_of("langid"))


@pytest.mark.parametrize("key", VERSIONS)
def test_there_is_one_label_for_each_class(signatures, key):
    row = samples()[key.partition("/")[0]][0]["input"]
    labels = labels_of(key.partition("/")[0])
    assert signatures(key, batch_of(key, [row]))["probabilities"].shape == (1, len(labels))
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("key", VERSIONS)
def test_rows_alone_and_rows_together_agree(signatures, key):
    rows = [sample["input"] for sample in samples()[key.partition("/")[0]]]
    together = signatures(key, batch_of(key, rows))["probabilities"]
    alone = [signatures(key, batch_of(key, [row]))["probabilities"][0] for row in rows]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=-1), 1, atol=1e-5)


# Not digits/2: TensorFlow 2.21 on oneDNN refuses no rows in a fused convolution ("input depth must be evenly ...").
@pytest.mark.parametrize("key", ["digits/1", "langid/1", "wine/1"])
def test_no_rows_give_no_rows(tf, signatures, key):
    empty = (
        tf.zeros([0], tf.string)
        if key == "langid/1"
        else np.zeros((0, 13) if key == "wine/1" else (0, 8, 8, 1), np.float32)
    )
    probabilities = signatures(key, empty)["probabilities"]
    assert probabilities.shape == (0, len(labels_of(key.partition("/")[0])))


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_digits_signature_is_one_image_in_and_probabilities_out(tf, signatures, version):
    signature = signatures.loaded[f"digits/{version}"].signatures["serving_default"]
    (image,) = signature.structured_input_signature[1].values()
    assert (image.name, image.dtype, image.shape.as_list()) == ("image", tf.float32, [None, 8, 8, 1])
    assert {name: (out.dtype, out.shape.as_list()) for name, out in signature.structured_outputs.items()} == {
        "probabilities": (tf.float32, [None, 10])
    }


def test_the_language_signature_is_text_in_and_three_outputs(tf, signatures):
    signature = signatures.loaded["langid/1"].signatures["serving_default"]
    (text,) = signature.structured_input_signature[1].values()
    assert (text.name, text.dtype, text.shape.as_list()) == ("text", tf.string, [None])
    count = len(labels_of("langid"))
    assert count == MEASURED["langid/1"]["languages"] >= 20
    assert {name: (out.dtype, out.shape.as_list()) for name, out in signature.structured_outputs.items()} == {
        "language": (tf.string, [None]),
        "confidence": (tf.float32, [None]),
        "probabilities": (tf.float32, [None, count]),
    }


def test_the_wine_model_has_named_ends_and_no_optimiser(signatures):
    assert list(signatures.wine.input) == ["features"]
    assert list(signatures.wine.output) == ["probabilities"]
    assert not signatures.wine.compiled


def test_the_three_language_outputs_agree(signatures):
    texts = [sample["input"] for sample in samples()["langid"]]
    outputs = signatures("langid/1", texts)
    best = outputs["probabilities"].argmax(axis=-1)
    assert [name.decode() for name in outputs["language"]] == [labels_of("langid")[index] for index in best]
    np.testing.assert_array_equal(outputs["confidence"], outputs["probabilities"].max(axis=-1))


@pytest.mark.parametrize(
    "text", [b"", b"   ", b"12345 !?", b"\xff\xfe\x00broken\xc3", "\U0001f600".encode(), b"a" * 200_000, b"x"]
)
def test_any_bytes_get_an_answer_that_is_a_distribution(signatures, text):
    outputs = signatures("langid/1", [text])
    assert np.isfinite(outputs["probabilities"]).all()
    assert outputs["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_text_without_letters_is_nobodys_language(signatures):
    confidences = signatures("langid/1", [b"", b"12345 !?", b"\xff\xfe"])["confidence"]
    np.testing.assert_allclose(confidences, 1 / len(labels_of("langid")), rtol=1e-5)


def test_case_and_punctuation_do_not_matter(signatures):
    plain, loud = signatures("langid/1", ["wo ist der bahnhof", "  WO ist, der BAHNHOF?! 7 "])["probabilities"]
    np.testing.assert_allclose(plain, loud, atol=1e-6)


def test_everyday_phrases_score_as_measured(signatures):
    from scripts.train_demo import langid

    phrases = langid.everyday_phrases()
    said = answers(signatures, "langid/1", [phrase.text for phrase in phrases])
    accuracy = np.mean([answer == phrase.language for answer, phrase in zip(said, phrases, strict=True)])
    assert accuracy >= MEASURED["langid/1"]["everyday_accuracy"] - TOLERANCE
    assert {phrase.language for phrase in phrases} == set(labels_of("langid"))


def test_no_translation_of_a_held_out_message_is_trained_on():
    from scripts.train_demo import translations

    trained, kept_out = translations.split()
    assert not {phrase.text.casefold() for phrase in trained} & {phrase.text.casefold() for phrase in kept_out}
    assert not any(translations.is_held_out(phrase.text) for phrase in trained if phrase.language == "en")
    assert all(translations.is_held_out(phrase.text) for phrase in kept_out if phrase.language == "en")
    assert len(kept_out) > 2000


def test_every_version_has_its_files_and_together_they_are_small():
    root = demo_models_path()
    for key in ("digits/1", "digits/2", "langid/1"):
        assert (root / key / "saved_model.pb").is_file()
        assert (root / key / "variables" / "variables.index").is_file()
    assert (root / "wine" / "1" / "model.keras").is_file()
    files = [path for path in root.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    assert not [path for path in files if path.name == "keras_metadata.pb"]
    for key in VERSIONS:
        assert sum(path.stat().st_size for path in (root / key).rglob("*") if path.is_file()) == MEASURED[key]["bytes"]


def test_the_shipped_files_name_no_folder_of_the_machine_they_were_trained_on():
    checkout = str(Path(__file__).resolve().parents[3]).encode()
    home = str(Path.home()).encode()
    for path in demo_models_path().parent.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            content = path.read_bytes()
            assert checkout not in content
            assert home not in content


def test_labels_of_versions_name_versions_that_exist():
    for name, version in config_of("digits")["version_labels"].items():
        assert (demo_models_path() / "digits" / version).is_dir(), name


def test_importing_the_demo_package_does_not_import_tensorflow():
    program = "import sys, tensorhost.demo as demo; demo.samples(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
