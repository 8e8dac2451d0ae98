"""Which inputs of a signature a tokenizer feeds, and how long its rows are.

Clients send one input of texts in the place of the ids, mask and type ids. Inputs are found by the names that
model.toml gives, or by the names that exported models usually have; everything is settled when the pipeline is
built, so that a model.toml that does not fit the model is found at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPreprocessingError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, TensorSpec, format_shape
from tensorhost.pipelines.numeric import to_signature_dtype
from tensorhost.pipelines.options import TokenizeOptions
from tensorhost.pipelines.text import Lengths, TextEncoder, decode_texts

_PATH = "preprocessing.tokenize"


@dataclass(frozen=True, slots=True)
class TokenizeStep:
    """Texts of the input ``text_input`` to ``ids`` and, where the signature has them, ``mask`` and ``type_ids``."""

    encoder: TextEncoder
    text_input: str
    ids: TensorSpec
    mask: TensorSpec | None
    type_ids: TensorSpec | None
    lengths: Lengths

    @property
    def fed(self) -> frozenset[str]:
        """Names of the inputs that clients no longer send."""
        return frozenset(spec.name for spec in (self.ids, self.mask, self.type_ids) if spec)

    @property
    def wire_spec(self) -> TensorSpec:
        """What clients send instead: a list of texts."""
        rows = self.ids.shape[0] if self.ids.shape else None
        return TensorSpec(self.text_input, DType.STRING, (rows,))

    def run(self, texts: Array) -> dict[str, Array]:
        """Arrays [N, length] of the signature's dtypes for ``texts``, an object array [N] of UTF-8 bytes.

        Raises:
            InvalidPreprocessingError: not UTF-8, or too long, or an id beyond what the signature's dtype holds.
        """
        encoded = self.encoder.encode(decode_texts(texts, self.text_input), self.lengths)
        produced = ((self.ids, encoded.ids), (self.mask, encoded.mask), (self.type_ids, encoded.type_ids))
        return {spec.name: to_signature_dtype(array, spec.dtype, spec.name) for spec, array in produced if spec}


def bind_tokenizer(
    signature: Signature, options: TokenizeOptions, encoder: TextEncoder | None, max_elements: int
) -> TokenizeStep:
    """The step for ``signature``.

    Raises:
        InvalidPreprocessingError: there is no tokenizer, an input it should feed does not exist or does not take
            ids, or the lengths asked for contradict the signature.
    """
    if encoder is None:
        raise _fault("", "needs a tokenizer file that the model ships")
    ids = _input(signature, options.ids_input, "ids_input", "input_ids") or _only_numeric_input(signature)
    mask = _input(signature, options.mask_input, "mask_input", "attention_mask")
    type_ids = _input(signature, options.type_ids_input, "type_ids_input", "token_type_ids")
    step = TokenizeStep(encoder, options.text_input, ids, mask, type_ids, _lengths(ids, options, max_elements))
    fed = step.fed
    if len(fed) < sum(spec is not None for spec in (ids, mask, type_ids)):
        raise _fault("", "names one input for two purposes")
    if options.text_input in signature.inputs.keys() - fed:
        raise _fault("text_input", f"is '{options.text_input}', which is another input of the model")
    return step


def _fault(key: str, problem: str) -> InvalidPreprocessingError:
    field = f"{_PATH}.{key}" if key else _PATH
    return InvalidPreprocessingError(f"'{field}' {problem}.", details={"field": field})


def _input(signature: Signature, given: str | None, key: str, usual: str) -> TensorSpec | None:
    spec = signature.inputs.get(given or usual)
    if spec is None:
        if given is not None:
            known = ", ".join(f"'{name}'" for name in signature.inputs)
            raise _fault(key, f"is '{given}', but the model's inputs are {known}")
        return None
    takes_ids = spec.dtype.is_integer or spec.dtype.is_floating or (key == "mask_input" and spec.dtype is DType.BOOL)
    if not takes_ids or (spec.shape is not None and len(spec.shape) != 2):
        raise _fault(key, f"is '{spec.name}', which takes {spec.dtype} of shape {format_shape(spec.shape)}")
    return spec


def _only_numeric_input(signature: Signature) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise _fault("ids_input", "must name the input that takes the ids")
    spec = _input(signature, next(iter(signature.inputs)), "ids_input", "")
    assert spec is not None
    return spec


def _lengths(ids: TensorSpec, options: TokenizeOptions, max_elements: int) -> Lengths:
    fixed = ids.shape[1] if ids.shape else None
    if fixed is not None and options.max_length is not None and options.max_length > fixed:
        raise _fault("maxLength", f"is {options.max_length}, but the model takes {fixed} tokens")
    most = options.max_length if options.max_length is not None else fixed
    pad_to = {"fit": fixed, "max_length": fixed or most}.get(options.padding)
    if options.padding == "max_length" and pad_to is None:
        raise _fault("padding", "is 'max_length', but neither maxLength nor the model fixes a length")
    return Lengths(most, pad_to, options.padding != "none", options.truncation, max_elements)
