"""What a request or a model's model.toml may ask of pre- and postprocessing, parsed and checked.

Both sources use the same keys. A request overrides the model's defaults key by key, nested tables included, and
null switches a default off. Some keys name code or files (custom entry points, the tokenizer's file, the inputs it
feeds): those are read from model.toml only, and a request that holds one is refused. In model.toml the keys of two
words may also be written as TOML files write them (``top_k``, ``max_length``).

Options are immutable and hashable, so a built pipeline can be kept under its options. They come from
``from_model`` and ``from_request``; the plain constructors check nothing. What options ask is checked against a
model's signature by the pipelines, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

from tensorhost.codecs.images import Colour, ResizeMethod
from tensorhost.core.errors import InvalidPostprocessingError, InvalidPreprocessingError
from tensorhost.pipelines.option_fields import (
    OptionError,
    choice_reader,
    count_reader,
    read_divisor,
    read_divisors,
    read_flag,
    read_number,
    read_numbers,
    read_text,
)
from tensorhost.pipelines.option_tables import Keys, explain, read_table, refuse

MAX_SIDE = 16_384
MAX_TOKENS = 65_536
MAX_DIGITS = 15
MAX_TOP_K = 2**31 - 1

Padding: TypeAlias = Literal["none", "fit", "longest", "max_length"]


@dataclass(frozen=True, slots=True)
class ResizeOptions:
    """Target size in pixels (None: what the signature says, else unchanged) and how to interpolate."""

    width: int | None = None
    height: int | None = None
    method: ResizeMethod = "bilinear"


@dataclass(frozen=True, slots=True)
class TokenizeOptions:
    """How text becomes ids. Everything but ``max_length``, ``padding``, ``truncation`` comes from model.toml only.

    ``ids_input``, ``mask_input``, ``type_ids_input`` name inputs of the signature, ``text_input`` the input that
    clients send in their place. ``max_length`` counts special tokens too. ``padding``: ``fit`` (written ``true``)
    pads to the length the signature fixes, or else to the longest text; ``max_length`` to the length the signature
    fixes, or else to ``max_length``; ``none`` (written ``false``) wants texts of equal length. Without
    ``truncation`` a text that is too long is an error.
    """

    file: str = "tokenizer.json"
    text_input: str = "text"
    ids_input: str | None = None
    mask_input: str | None = None
    type_ids_input: str | None = None
    max_length: int | None = None
    padding: Padding = "fit"
    truncation: bool = False


@dataclass(frozen=True, slots=True)
class PreprocessingOptions:
    """What is done to inputs before the model sees them. Without arguments: nothing.

    ``normalize`` true with none of ``scale``, ``mean``, ``std`` in force brings each example to [0, 1]; together
    with them it adds nothing to what they do. ``normalize`` false says that none of them applies: the model's
    defaults of ``scale``, ``mean``, ``std`` are dropped, and giving one beside it is a contradiction.
    ``decode`` true wants encoded images only, false refuses them, None takes images and numbers.
    ``entry_point`` is a custom step, ``module:function``.
    """

    decode: bool | None = None
    resize: ResizeOptions | None = None
    colour: Colour = "rgb"
    scale: float | None = None
    normalize: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    tokenize: TokenizeOptions | None = None
    entry_point: str | None = None

    @property
    def min_max(self) -> bool:
        """Whether each example is brought to [0, 1] by its own minimum and maximum."""
        return self.normalize and self.scale is None and self.mean is None and self.std is None

    @property
    def has_numeric_steps(self) -> bool:
        """Whether scale, normalise, mean or std changes numbers."""
        return self.normalize or self.scale is not None or self.mean is not None or self.std is not None

    @classmethod
    def from_model(cls, table: object, *, path: str = "preprocessing") -> Self:
        """Options of a model.toml table, which may name code and files.

        Raises:
            InvalidPreprocessingError: an unknown key, a wrong value or a contradiction; names ``path.key``.
        """
        return cls._read(table, NO_PREPROCESSING, _PREPROCESSING_MODEL, path)

    @classmethod
    def from_request(
        cls, raw: object, defaults: PreprocessingOptions | None = None, *, path: str = "preprocessing"
    ) -> Self:
        """Options of a request over the model's ``defaults``.

        Raises:
            InvalidPreprocessingError: an unknown key, one that only model.toml may set, a wrong value or a
                contradiction; names ``path.key``.
        """
        return cls._read(raw, defaults or NO_PREPROCESSING, _PREPROCESSING_REQUEST, path)

    @classmethod
    def _read(cls, raw: object, defaults: PreprocessingOptions, keys: Keys, path: str) -> Self:
        try:
            values = read_table(raw, defaults, keys)
            if isinstance(raw, dict) and raw.get("normalize") is False:
                _drop_normalisation(raw, values)
        except OptionError as fault:
            message, details = explain(fault, path)
            raise InvalidPreprocessingError(message, details=details) from None
        return cls(**values)


@dataclass(frozen=True, slots=True)
class PostprocessingOptions:
    """What is done to outputs before the client sees them. Without arguments: nothing.

    ``round_digits`` counts decimals. ``entry_point`` is a custom step, ``module:function``. ``softmax`` excludes
    ``sigmoid``; ``argmax`` excludes ``threshold`` and ``topK``.
    """

    softmax: bool = False
    sigmoid: bool = False
    argmax: bool = False
    threshold: float | None = None
    top_k: int | None = None
    round_digits: int | None = None
    entry_point: str | None = None

    @classmethod
    def from_model(cls, table: object, *, path: str = "postprocessing") -> Self:
        """Options of a model.toml table, which may name code.

        Raises:
            InvalidPostprocessingError: an unknown key, a wrong value or a contradiction; names ``path.key``.
        """
        return cls._read(table, NO_POSTPROCESSING, _POSTPROCESSING_MODEL, path)

    @classmethod
    def from_request(
        cls, raw: object, defaults: PostprocessingOptions | None = None, *, path: str = "postprocessing"
    ) -> Self:
        """Options of a request over the model's ``defaults``.

        Raises:
            InvalidPostprocessingError: an unknown key, one that only model.toml may set, a wrong value or a
                contradiction; names ``path.key``.
        """
        return cls._read(raw, defaults or NO_POSTPROCESSING, _POSTPROCESSING_REQUEST, path)

    @classmethod
    def _read(cls, raw: object, defaults: PostprocessingOptions, keys: Keys, path: str) -> Self:
        try:
            options = cls(**read_table(raw, defaults, keys))
        except OptionError as fault:
            message, details = explain(fault, path)
            raise InvalidPostprocessingError(message, details=details) from None
        conflict = _conflict(options)
        if conflict:
            one, other = (f"{path}.{key}" for key in conflict)
            raise InvalidPostprocessingError(
                f"'{one}' and '{other}' cannot go together; null switches a model's default off.",
                details={"field": one, "conflictsWith": other},
            )
        return options


NO_PREPROCESSING = PreprocessingOptions()
NO_POSTPROCESSING = PostprocessingOptions()


def _drop_normalisation(given: dict[str, Any], values: dict[str, Any]) -> None:
    for key in ("scale", "mean", "std"):
        if given.get(key) is not None:
            raise OptionError("null or absent beside normalize: false", given[key], key)
        values[key] = None


def _conflict(options: PostprocessingOptions) -> tuple[str, str] | None:
    if options.softmax and options.sigmoid:
        return "softmax", "sigmoid"
    if options.argmax and options.top_k is not None:
        return "argmax", "topK"
    if options.argmax and options.threshold is not None:
        return "argmax", "threshold"
    return None


def _read_resize(value: Any, current: ResizeOptions | None) -> ResizeOptions:
    return ResizeOptions(**read_table(value, current or ResizeOptions(), _RESIZE))


def _read_padding(value: Any, _current: Any) -> str:
    if isinstance(value, bool):
        return "fit" if value else "none"
    if value == "longest" or value == "max_length":
        return str(value)
    raise OptionError("true, false, 'longest' or 'max_length'", value)


def _tokenize_of_model(value: Any, current: Any) -> TokenizeOptions | None:
    if isinstance(value, bool):
        return TokenizeOptions() if value else None
    return TokenizeOptions(**read_table(value, current or TokenizeOptions(), _TOKENIZE_MODEL))


def _tokenize_of_request(value: Any, current: TokenizeOptions | None) -> TokenizeOptions | None:
    if value is False:
        return None
    if current is None:
        raise OptionError("false or null, since this model names no tokenizer", value)
    changed = current if value is True else TokenizeOptions(**read_table(value, current, _TOKENIZE_REQUEST))
    if current.max_length is not None and (changed.max_length is None or changed.max_length > current.max_length):
        raise OptionError(f"at most the model's {current.max_length}", changed.max_length, "maxLength")
    return changed


def _read_digits(value: Any, _current: Any) -> int | None:
    if isinstance(value, bool):
        return 0 if value else None
    if type(value) is not int or not 0 <= value <= MAX_DIGITS:
        raise OptionError(f"true, false or a whole number of decimals from 0 to {MAX_DIGITS}", value)
    return value


def _read_entry_point(value: Any, _current: Any) -> str:
    module, _, function = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise OptionError("an entry point, 'module:function'", value)
    return f"{module}:{function}"


_side = count_reader(MAX_SIDE)
_tokens = ("max_length", count_reader(MAX_TOKENS))
_top_k = ("top_k", count_reader(MAX_TOP_K))
_entry_point = ("entry_point", _read_entry_point)
_TOKENIZER_NAMES = ("file", "text_input", "ids_input", "mask_input", "type_ids_input")

_RESIZE: Keys = {
    "width": ("width", _side),
    "height": ("height", _side),
    "method": ("method", choice_reader(get_args(ResizeMethod))),
}
_TOKENIZE: Keys = {
    "maxLength": _tokens,
    "padding": ("padding", _read_padding),
    "truncation": ("truncation", read_flag),
}
_TOKENIZE_REQUEST: Keys = {**_TOKENIZE, **{name: (name, refuse) for name in _TOKENIZER_NAMES}}
_TOKENIZE_MODEL: Keys = {**_TOKENIZE, **{name: (name, read_text) for name in _TOKENIZER_NAMES}, "max_length": _tokens}
_PREPROCESSING: Keys = {
    "decode": ("decode", read_flag),
    "resize": ("resize", _read_resize),
    "colour": ("colour", choice_reader(get_args(Colour))),
    "scale": ("scale", read_divisor),
    "normalize": ("normalize", read_flag),
    "mean": ("mean", read_numbers),
    "std": ("std", read_divisors),
    "tokenize": ("tokenize", _tokenize_of_request),
}
_PREPROCESSING_REQUEST: Keys = {**_PREPROCESSING, "entry_point": ("entry_point", refuse)}
_PREPROCESSING_MODEL: Keys = {
    **_PREPROCESSING,
    "tokenize": ("tokenize", _tokenize_of_model),
    "entry_point": _entry_point,
}
_POSTPROCESSING: Keys = {
    "softmax": ("softmax", read_flag),
    "sigmoid": ("sigmoid", read_flag),
    "argmax": ("argmax", read_flag),
    "threshold": ("threshold", read_number),
    "topK": _top_k,
    "round": ("round_digits", _read_digits),
}
_POSTPROCESSING_REQUEST: Keys = {**_POSTPROCESSING, "entry_point": ("entry_point", refuse)}
_POSTPROCESSING_MODEL: Keys = {**_POSTPROCESSING, "top_k": _top_k, "entry_point": _entry_point}
