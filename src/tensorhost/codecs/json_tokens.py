"""``NaN``, ``Infinity`` and ``-Infinity``, which are no JSON but which clients write all the same.

The fast parser knows no such tokens. Where there are any, numbers that occur nowhere else stand for them, and are
exchanged for what they stand for in the arrays. They are made from a digest of the body, so nobody can aim at them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, nan

import numpy as np

from tensorhost.core.tensors import Array

# Nothing is ever given back, so an unclosed string full of quotes is looked at once, not from each of its quotes.
_NONE_IN_STRINGS = re.compile(rb'(?:[^"]++|"(?:[^"\\NI]++|\\.|N(?!aN)|I(?!nf))*+")*+', re.DOTALL)
_STRINGS_AND_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|(-?(?:NaN|Inf(?:inity)?))', re.DOTALL)
_TOKENS = {
    b"-Infinity": "-Infinity",
    b"Infinity": "Infinity",
    b"-Inf": "-Infinity",
    b"Inf": "Infinity",
    b"-NaN": "NaN",
    b"NaN": "NaN",
}
"""What each token means; one that begins as another does comes before it."""
_NUMBERS = re.compile(r"-?[0-9][0-9.eE+-]*")
_NAMES: Mapping[str, float] = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


@dataclass(frozen=True, slots=True)
class StandIns:
    """Numbers that stand for what JSON has no number for, by its name; and what they are written as."""

    numbers: Mapping[str, float]
    texts: Mapping[str, str]

    def replaced(self, array: Array) -> Array:
        """Doubles in which each stand-in is what it stands for; the array itself where there is none."""
        for name, number in self.numbers.items():
            places = array == number
            if places.any():
                array = np.where(places, _NAMES[name], array)
        return array

    def value_of(self, number: float) -> float:
        """What ``number`` stands for; itself if it stands for nothing."""
        return next((_NAMES[name] for name, stand_in in self.numbers.items() if stand_in == number), number)

    def restored(self, text: str) -> str:
        """JSON text in which each stand-in is its name again."""
        names = {number: name for name, number in self.numbers.items()}

        def name_of(match: re.Match[str]) -> str:
            try:
                return names.get(float(match[0]), match[0])
            except ValueError:
                return match[0]

        return _NUMBERS.sub(name_of, text)


def may_have_tokens(body: bytes) -> bool:
    """Whether ``body`` may hold a token; False is proof."""
    return b"NaN" in body or b"Inf" in body


def stand_ins_for(body: bytes) -> StandIns:
    """The numbers that are to stand for the tokens of ``body``."""
    digest = blake2b(body, digest_size=24).digest()
    # Fractions far below anything a client computes with, of which the digest chooses among 2^29 each, written briefly:
    # there may be millions of them.
    numbers = (int.from_bytes(digest[at : at + 8], "little") % 2**29 + 10**8 for at in (0, 8, 16))
    texts = [f"{number}e-{exponent}" for number, exponent in zip(numbers, (295, 296, 297), strict=True)]
    return StandIns(
        {name: float(text) for name, text in zip(_NAMES, texts, strict=True)}, dict(zip(_NAMES, texts, strict=True))
    )


def replace_tokens(body: bytes, stand_ins: StandIns) -> bytes:
    """``body`` with a number in the place of each token outside strings; whether it is JSON then is another matter."""
    # The spaces keep what is no number from becoming one, such as 1NaN.
    texts = {token: f" {stand_ins.texts[name]} ".encode() for token, name in _TOKENS.items()}
    if _NONE_IN_STRINGS.fullmatch(body):
        for token, text in texts.items():
            body = body.replace(token, text)
        return body
    replaced = bytearray()
    kept_to = 0
    for match in _STRINGS_AND_TOKENS.finditer(body):
        token = match[1]
        if token is not None:
            replaced += body[kept_to : match.start()]
            replaced += texts[token]
            kept_to = match.end()
    return bytes(replaced + body[kept_to:])
