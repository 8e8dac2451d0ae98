"""Sentences in many languages, from the translations inside the ``django`` wheel (BSD-3-Clause).

A message is held out in every language at once: no translation of a held-out message is ever trained on, and a held-out
text that also occurs as the translation of a trained message is dropped.
"""

from __future__ import annotations

import gettext
import hashlib
import html
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import django
from django.conf.global_settings import LANGUAGES

LOCALES: Mapping[str, tuple[str, ...]] = {
    "ar": ("ar", "ar_DZ"),
    "bg": ("bg",),
    "cs": ("cs",),
    "da": ("da",),
    "de": ("de",),
    "el": ("el",),
    "es": ("es", "es_AR", "es_CO", "es_MX", "es_VE"),
    "fa": ("fa",),
    "fi": ("fi",),
    "fr": ("fr",),
    "he": ("he",),
    "hi": ("hi",),
    "hu": ("hu",),
    "id": ("id",),
    "it": ("it",),
    "ja": ("ja",),
    "ko": ("ko",),
    "nb": ("nb",),
    "nl": ("nl",),
    "pl": ("pl",),
    "pt": ("pt", "pt_BR"),
    "ro": ("ro",),
    "ru": ("ru",),
    "sv": ("sv",),
    "th": ("th",),
    "tr": ("tr",),
    "uk": ("uk",),
    "vi": ("vi",),
    "zh": ("zh_Hans", "zh_Hant"),
}
"""Django locales by language code. English (``en``) is the messages themselves."""

HELD_OUT_PERCENT = 11
_OTHER_SCRIPTS = frozenset({"ar", "bg", "el", "fa", "he", "hi", "ja", "ko", "ru", "th", "uk", "zh"})
_LANGUAGE_NAMES = frozenset(name for _, name in LANGUAGES)
_PLACEHOLDER = re.compile(
    r"%\([^)]*\)[a-z]?|%[-0-9.]*[a-z%]|\{+[^{}]*\}+|<[^<>]*>|https?:\S+|\S+@\S+|`[^`]*`|\S*[_/\\]\S*"
)
_ACRONYM = re.compile(r"\b\w*(?:[A-Z]\w*[A-Z]|\d)\w*")
_LATIN_WORD = re.compile(r"[A-Za-z]+")
_DENSE_SCRIPT = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SPACE = re.compile(r"\s+")


class Phrase(NamedTuple):
    """A text and the code of its language."""

    text: str
    language: str


def languages() -> list[str]:
    """Language codes in the order of the model's outputs."""
    return sorted([*LOCALES, "en"])


def clean(text: str, language: str = "en") -> str:
    """``text`` in ``language`` without what is in no language: placeholders, markup, addresses, acronyms, digits.

    In a language that is not written in Latin letters, words in Latin letters are foreign and go too.
    """
    text = _PLACEHOLDER.sub(" ", html.unescape(text)).replace("&", "").replace("\u200e", "").replace("\u200f", "")
    text = _ACRONYM.sub(" ", text)
    if language in _OTHER_SCRIPTS:
        text = _LATIN_WORD.sub(" ", text)
    return _SPACE.sub(" ", text).strip(" .:;,!?-–—*'\"“”«»()[]…")


def is_held_out(message: str) -> bool:
    """Whether the English ``message`` belongs to the held-out part; wording decides, not case or placeholders."""
    digest = hashlib.sha256(clean(message).casefold().encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT


def _messages(locale: str) -> Iterator[tuple[str, str]]:
    """English message and translation, for every catalogue of ``locale``; plural forms count one by one.

    Names of languages are left out: many languages spell them alike, so they say little about the one they are in.
    """
    root = Path(django.__file__).parent
    for path in sorted(root.glob(f"**/locale/{locale}/LC_MESSAGES/*.mo")):
        with path.open("rb") as file:
            catalogue: Mapping[object, str] = vars(gettext.GNUTranslations(file))["_catalog"]
        for key, translation in catalogue.items():
            message = key[0] if isinstance(key, tuple) else str(key)
            message = message.rpartition("\x04")[2]
            if message and message not in _LANGUAGE_NAMES:  # the empty message is the catalogue's own header
                yield message, translation


def _texts() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Cleaned texts by language: those to train on and those of held-out messages."""
    parts: tuple[dict[str, set[str]], dict[str, set[str]]] = defaultdict(set), defaultdict(set)
    for language, locales in LOCALES.items():
        for message, translation in (pair for locale in locales for pair in _messages(locale)):
            english, text = clean(message), clean(translation, language)
            part = parts[is_held_out(message)]
            if has_words(english):
                part["en"].add(english)
            if has_words(text) and text.casefold() != english.casefold():
                part[language].add(text)
    return parts


def is_dense(text: str) -> bool:
    """Whether ``text`` is in a script whose letters are syllables or words, or that writes words without spaces."""
    return _DENSE_SCRIPT.search(text) is not None


def has_words(text: str) -> bool:
    """Whether ``text`` says enough to tell its language: four letters, or two in a dense script."""
    return sum(letter.isalpha() for letter in text) >= (2 if is_dense(text) else 4)


def split() -> tuple[list[Phrase], list[Phrase]]:
    """Training and held-out phrases, sorted. A text that two languages share says nothing and is in neither."""
    train, held_out = _texts()
    owners: dict[str, set[str]] = defaultdict(set)
    for part in (train, held_out):
        for language, texts in part.items():
            for text in texts:
                owners[text.casefold()].add(language)
    trained = {text.casefold() for texts in train.values() for text in texts}
    keep_train = [
        Phrase(text, code) for code, texts in train.items() for text in texts if len(owners[text.casefold()]) == 1
    ]
    keep_held_out = [
        Phrase(text, code)
        for code, texts in held_out.items()
        for text in texts
        if len(owners[text.casefold()]) == 1 and text.casefold() not in trained
    ]
    return sorted(keep_train), sorted(keep_held_out)
