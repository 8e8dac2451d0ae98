"""Which language a text is in: one linear layer over hashed character 1- to 4-grams, strings in and strings out.

Everything a client would have to do (lower case, n-grams, hashing) is in the graph. Snippets of the training phrases
are trained on too, since people type two words where translators write a sentence. The recipe was chosen on training
messages set aside; held-out messages are only measured on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from scripts.train_demo import everyday, translations
from scripts.train_demo.artefacts import (
    MODELS,
    Stopwatch,
    Trained,
    first_right_per_class,
    make_reproducible,
    parameter_count,
    save_signature,
    total_bytes,
)
from scripts.train_demo.translations import Phrase
from sklearn.linear_model import LogisticRegression

SEED = 20
BUCKETS = 32_768
WIDTHS = (1, 2, 3, 4)
READ_CHARACTERS = 1000
SNIPPETS_PER_PHRASE = 20
REGULARISATION = 0.3
CHUNK = 4096
TEXT = tf.TensorSpec([None], tf.string, name="text")


def words_of(text: tf.Tensor) -> tf.Tensor:
    """Each text in lower case with one space for whatever is not letters; empty where there are none.

    Bytes that are not UTF-8 are spaces too, and characters after the first ``READ_CHARACTERS`` are not read.
    """
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace", replacement_char=ord(" "))
    text = tf.strings.lower(tf.strings.substr(text, 0, READ_CHARACTERS, unit="UTF8_CHAR"), encoding="utf-8")
    return tf.strings.strip(tf.strings.regex_replace(text, r"[^\p{L}\p{M}]+", " "))


def hashed_ngrams(words: tf.Tensor) -> tf.RaggedTensor:
    """Bucket of every n-gram of each text, a space before and after it; [rows, (n-grams)], int64."""
    characters = tf.strings.unicode_split(tf.strings.join([" ", words, " "]), "UTF-8")
    return tf.strings.to_hash_bucket_fast(tf.strings.ngrams(characters, WIDTHS, separator=""), BUCKETS)


class LanguageIdentifier(tf.Module):
    """Adds up one row of scores per n-gram; a text without letters gets every language alike.

    The table is kept in float16, which halves it; sums are float32.
    """

    def __init__(self, table: NDArray[np.float32], bias: NDArray[np.float32], languages: Sequence[str]) -> None:
        super().__init__()
        self.table = tf.Variable(table.astype(np.float16), trainable=False, name="table")
        self.bias = tf.Variable(bias.astype(np.float32), trainable=False, name="bias")
        self.languages = tuple(languages)

    @tf.function(input_signature=[TEXT])
    def serve(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        words = words_of(text)
        ngrams = hashed_ngrams(words)
        scores = tf.cast(tf.gather(self.table, ngrams.flat_values), tf.float32)
        rows = tf.shape(text, out_type=tf.int64)[0]
        totals = tf.math.unsorted_segment_sum(scores, ngrams.value_rowids(), rows)
        has_letters = tf.expand_dims(tf.not_equal(words, ""), axis=-1)
        logits = tf.where(has_letters, totals + self.bias, tf.zeros_like(totals))
        probabilities = tf.nn.softmax(logits, name="probabilities")
        best = tf.argmax(probabilities, axis=-1)
        return {
            "language": tf.gather(tf.constant(self.languages), best, name="language"),
            "confidence": tf.reduce_max(probabilities, axis=-1, name="confidence"),
            "probabilities": probabilities,
        }


def snippets(phrases: Sequence[Phrase], rng: random.Random) -> list[Phrase]:
    """Random pieces of the phrases: one to four words, or two to eight characters where words have no spaces.

    A piece that occurs in two languages is left out.
    """
    pieces: list[Phrase] = []
    owners: dict[str, set[str]] = defaultdict(set)
    for text, language in phrases:
        owners[text.casefold()].add(language)
        for _ in range(SNIPPETS_PER_PHRASE):
            piece = Phrase(_piece(text, rng), language)
            if piece.text != text and translations.has_words(piece.text):
                pieces.append(piece)
                owners[piece.text.casefold()].add(language)
    return [piece for piece in pieces if len(owners[piece.text.casefold()]) == 1]


def _piece(text: str, rng: random.Random) -> str:
    units, glue = (text.split(), " ") if " " in text else (list(text), "")
    length = rng.choice((1, 2, 2, 3, 3, 4)) if glue else rng.randint(2, 8) if translations.is_dense(text) else len(text)
    start = rng.randrange(max(1, len(units) - length + 1))
    return glue.join(units[start : start + length])


def ngram_counts(texts: Sequence[str]) -> csr_matrix:
    """How often each bucket occurs in each text; sparse float32 [texts, BUCKETS]."""
    parts = []
    for start in range(0, len(texts), CHUNK):
        ngrams = hashed_ngrams(words_of(tf.constant(texts[start : start + CHUNK])))
        columns, ends = ngrams.flat_values.numpy(), ngrams.row_splits.numpy()
        part = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(ends) - 1, BUCKETS))
        part.sum_duplicates()
        parts.append(part)
    return vstack(parts, format="csr")


def fit(phrases: Sequence[Phrase], languages: list[str]) -> LanguageIdentifier:
    """Multinomial logistic regression on the phrases and their snippets."""
    examples = [*phrases, *snippets(phrases, random.Random(SEED))]
    classes = [languages.index(phrase.language) for phrase in examples]
    regression = LogisticRegression(C=REGULARISATION, max_iter=200, tol=1e-3)
    regression.fit(ngram_counts([phrase.text for phrase in examples]), classes)
    return LanguageIdentifier(regression.coef_.T, regression.intercept_, languages)


def hits(model: Any, phrases: Sequence[Phrase]) -> NDArray[np.bool_]:
    """Whether the model names the language of each phrase."""
    answers = model.serve(tf.constant([phrase.text for phrase in phrases]))["language"].numpy()
    return np.array([answer.decode() == phrase.language for answer, phrase in zip(answers, phrases, strict=True)])


def everyday_phrases() -> list[Phrase]:
    """The hand-written phrases with their languages."""
    return [Phrase(text, language) for language, texts in everyday.PHRASES.items() for text in texts]


def _reads_well(text: str) -> bool:
    """Whether ``text`` makes a good sample: a short sentence, without the brackets a removed placeholder leaves."""
    return (8 if translations.is_dense(text) else 20) <= len(text) <= 60 and not set(text) & set("()（）“”「」")


def train() -> Trained:
    """Train, export with ``labels.txt`` beside it, and measure."""
    make_reproducible(SEED)
    languages = translations.languages()
    phrases, held_out = translations.split()
    watch = Stopwatch()
    with watch.timing():
        model = fit(phrases, languages)
    target = MODELS / "langid" / "1"
    save_signature(model, model.serve, target)
    (target.parent / "labels.txt").write_text("\n".join(languages) + "\n", encoding="utf-8")
    right = hits(model, held_out)
    longer = [len(phrase.text.split()) >= 3 or translations.is_dense(phrase.text) for phrase in held_out]
    measured = {
        "langid/1": {
            "languages": len(languages),
            "training_examples": len(phrases),
            "held_out_examples": len(held_out),
            "held_out_accuracy": round(float(right.mean()), 5),
            "held_out_three_words_examples": int(np.sum(longer)),
            "held_out_three_words_accuracy": round(float(right[longer].mean()), 5),
            "everyday_examples": len(everyday_phrases()),
            "everyday_accuracy": round(float(hits(model, everyday_phrases()).mean()), 5),
            "parameters": parameter_count(model.variables),
            "bytes": total_bytes(target),
            "seed": SEED,
            "training_s": round(watch.seconds, 1),
        }
    }
    samples = first_right_per_class(
        [phrase.language for phrase in held_out],
        [phrase.text for phrase in held_out],
        right.tolist(),
        keep=_reads_well,
    )
    return Trained(measured, samples)
