"""Schemas of what a request may ask of pre- and postprocessing.

The readers of ``pipelines`` are functions and cannot be turned into a schema; a test compares this with them, value by
value and key by key.
"""

from __future__ import annotations

from typing import get_args

from tensorhost.codecs.images import Colour, ResizeMethod
from tensorhost.frontends.native.openapi.schemas import (
    FLAG,
    NUMBER,
    Schema,
    accepted,
    described,
    listing,
    nullable,
    one_of,
)
from tensorhost.pipelines.options import MAX_DIGITS, MAX_SIDE, MAX_TOKENS, MAX_TOP_K

_DIVISOR: Schema = {"type": "number", "not": {"const": 0}}


def _up_to(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _one_or_many(schema: Schema) -> Schema:
    return {"anyOf": [schema, listing(schema, minItems=1), {"type": "null"}]}


_RESIZE = accepted(
    {
        "width": nullable(described(_up_to(MAX_SIDE), "Pixels; default: the signature's.")),
        "height": nullable(described(_up_to(MAX_SIDE), "Pixels; default: the signature's.")),
        "method": nullable(described(one_of(get_args(ResizeMethod)), "How to interpolate.")),
    }
)

_TOKENIZE = accepted(
    {
        "maxLength": nullable(described(_up_to(MAX_TOKENS), "Most tokens of a text, special ones included.")),
        "padding": described(
            {"enum": [True, False, "longest", "max_length", None]},
            "`true` pads to the length the signature fixes, or else to the longest text.",
        ),
        "truncation": nullable(described(FLAG, "Whether a text that is too long is cut instead of refused.")),
    }
)

PREPROCESSING = described(
    accepted(
        {
            "decode": nullable(described(FLAG, "Images: `true` takes encoded ones only, `false` none.")),
            "resize": nullable(described(_RESIZE, "Images: the size to bring them to.")),
            "colour": nullable(described(one_of(get_args(Colour)), "Images: order of the channels.")),
            "scale": nullable(described(_DIVISOR, "Values are divided by this.")),
            "normalize": nullable(
                described(
                    FLAG,
                    "Alone: each example to 0…1 by its own minimum and maximum. `false` drops the model's `scale`, "
                    "`mean` and `std`, and excludes them.",
                )
            ),
            "mean": described(_one_or_many(NUMBER), "Subtracted along the last axis; one number or one per element."),
            "std": described(_one_or_many(_DIVISOR), "Divisors along the last axis; one number or one per element."),
            "tokenize": described(
                {"anyOf": [_TOKENIZE, FLAG, {"type": "null"}]},
                "Texts: changes to the model's tokenizer; an error, except `false`, for a model without one.",
            ),
        }
    ),
    "What is done to inputs first, in the order of the keys here. A model may have defaults; null switches one off.",
)

POSTPROCESSING = described(
    accepted(
        {
            "softmax": nullable(described(FLAG, "Along the last axis; excludes `sigmoid`.")),
            "sigmoid": nullable(described(FLAG, "Of every value; excludes `softmax`.")),
            "argmax": nullable(described(FLAG, "Index of the largest value; excludes `threshold` and `topK`.")),
            "threshold": nullable(described(NUMBER, "Values below become 0; with labels, they are left out.")),
            "topK": nullable(described(_up_to(MAX_TOP_K), "The best so many, with their labels.")),
            "round": described(
                {"anyOf": [FLAG, {"type": "integer", "minimum": 0, "maximum": MAX_DIGITS}, {"type": "null"}]},
                "Decimals to round to; `true` is none.",
            ),
        }
    ),
    "What is done to outputs before they are sent. A model may have defaults; null switches one off.",
)
