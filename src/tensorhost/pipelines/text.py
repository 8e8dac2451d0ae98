"""From text to token ids, with the tokenizer.json a model ships.

The tokenizer is never reconfigured after it is read, so that requests with different lengths and paddings share
it: truncation of a text that is too long and padding are done here. The ``tokenizers`` package (extra ``text``) is
imported when a tokenizer is read, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from tensorhost.core.errors import InvalidPreprocessingError, ModelFailedError, RuntimeMissingError
from tensorhost.core.tensors import Array

_FILE = "preprocessing.tokenize.file"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids, attention mask (1 for a token, 0 for padding) and type ids: int64 arrays of shape [texts, length]."""

    ids: Array
    mask: Array
    type_ids: Array


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long rows may be and become, in tokens, special ones included.

    ``most``: longest row allowed, None for any. ``pad_to``: length to pad to, None for the longest row. ``pad``:
    False refuses rows of unequal length. ``truncate``: whether longer rows are cut instead of refused.
    ``max_elements``: most elements of one resulting array.
    """

    most: int | None = None
    pad_to: int | None = None
    pad: bool = True
    truncate: bool = False
    max_elements: int = 2**27


class TextEncoder:
    """A tokenizer, ready to encode. May be used from several threads at once."""

    def __init__(self, tokenizer: Any) -> None:
        """Take over ``tokenizer``, a ``tokenizers.Tokenizer``; its own truncation and padding are switched off."""
        padding = tokenizer.padding or {}
        truncation = tokenizer.truncation or {}
        self._pad_id = int(padding.get("pad_id", _pad_id_of(tokenizer)))
        self._pad_type_id = int(padding.get("pad_type_id", 0))
        self._pad_left = padding.get("direction", "right") == "left"
        self._cut_side = str(truncation.get("direction", "right"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._special = int(tokenizer.num_special_tokens_to_add(False))

    @classmethod
    def load(cls, folder: Path, file: str) -> Self:
        """Read ``file``, a path relative to the model's ``folder`` that does not lead out of it.

        Raises:
            RuntimeMissingError: the ``tokenizers`` package is not installed.
            InvalidPreprocessingError: no such file in the folder.
            ModelFailedError: the file is not a tokenizer.
        """
        try:
            tokenizers = importlib.import_module("tokenizers")
        except ImportError as error:
            raise RuntimeMissingError(
                "This model tokenizes text; that needs the 'tokenizers' package: pip install 'tensorhost[text]'.",
                details={"extra": "text"},
            ) from error
        data = _file_inside(folder, file).read_bytes()
        try:
            return cls(tokenizers.Tokenizer.from_buffer(data))
        except Exception as error:  # the library raises bare Exception for a file it cannot parse
            raise ModelFailedError("The model's tokenizer file cannot be read.", log_detail=str(error)) from error

    def encode(self, texts: Sequence[str], lengths: Lengths) -> Encoded:
        """Ids of each text. No texts give arrays of shape [0, ``pad_to`` or 0].

        Raises:
            InvalidPreprocessingError: a text is longer than allowed, or lengths differ and padding is off.
        """
        rows = self._tokenizer.encode_batch_fast(list(texts)) if texts else []
        most = lengths.most
        if most is not None:
            rows = [row if len(row) <= most else self._cut(texts, at, row, lengths) for at, row in enumerate(rows)]
        longest = max(map(len, rows), default=0)
        if not lengths.pad and any(len(row) != longest for row in rows):
            raise InvalidPreprocessingError(
                "The texts have different numbers of tokens and 'preprocessing.tokenize.padding' is false.",
                details={"field": "preprocessing.tokenize.padding"},
            )
        length = max(longest, lengths.pad_to or 0)
        if len(rows) * length > lengths.max_elements:
            raise InvalidPreprocessingError(
                f"{len(rows)} texts of {length} tokens are more than {lengths.max_elements} elements.",
                details={"expected": lengths.max_elements, "actual": len(rows) * length},
            )
        return Encoded(
            self._matrix([row.ids for row in rows], length, self._pad_id),
            self._matrix([row.attention_mask for row in rows], length, 0),
            self._matrix([row.type_ids for row in rows], length, self._pad_type_id),
        )

    def _cut(self, texts: Sequence[str], at: int, row: Any, lengths: Lengths) -> Any:
        most = lengths.most or 0
        if not lengths.truncate or most < self._special:
            raise InvalidPreprocessingError(
                f"Text {at} has {len(row)} tokens, more than {most}; 'preprocessing.tokenize.truncation' cuts texts.",
                details={"field": "preprocessing.tokenize.truncation", "row": at, "expected": most, "actual": len(row)},
            )
        bare = self._tokenizer.encode(texts[at], add_special_tokens=False)
        bare.truncate(most - self._special, direction=self._cut_side)
        return self._tokenizer.post_process(bare)

    def _matrix(self, rows: Sequence[Sequence[int]], length: int, filler: int) -> Array:
        matrix = np.full((len(rows), length), filler, np.int64)
        for target, row in zip(matrix, rows, strict=True):
            if row:
                target[slice(-len(row), None) if self._pad_left else slice(len(row))] = row
        return matrix


def _pad_id_of(tokenizer: Any) -> int:
    for token in ("[PAD]", "<pad>", "<PAD>"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return 0


def _file_inside(folder: Path, file: str) -> Path:
    root = folder.resolve()
    try:
        path = (root / file).resolve()
        found = path.is_relative_to(root) and path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        raise InvalidPreprocessingError(
            f"'{_FILE}' must name a file in the model's folder, by a path relative to it.", details={"field": _FILE}
        )
    return path


def decode_texts(values: Array, name: str) -> list[str]:
    """Texts of input ``name`` (object array [N] of UTF-8 bytes or str).

    Raises:
        InvalidPreprocessingError: not one axis, or a row is not UTF-8.
    """
    if values.ndim != 1:
        raise InvalidPreprocessingError(
            f"Input '{name}' has texts of {values.ndim} axes; tokenizing takes a list of texts.",
            details={"input": name, "expected": [None], "actual": list(values.shape)},
        )
    texts = []
    for row, value in enumerate(values.tolist()):
        try:
            texts.append(value if isinstance(value, str) else value.decode())
        except (UnicodeDecodeError, AttributeError):
            raise InvalidPreprocessingError(
                f"Row {row} of input '{name}' is not UTF-8 text.", details={"input": name, "row": row}
            ) from None
    return texts
